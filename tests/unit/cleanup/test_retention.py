"""What may leave the database, and when cleanup runs."""

import re
from datetime import UTC, datetime
from importlib.resources import files

import pytest

from dosestream.db.retention import DARK
from dosestream.kafka.topics import DAY_MS
from dosestream.kafka.wanted import topic_limits
from dosestream.reconcile.retention import DAY_US, RECENT, Limits, Standing, before, why_kept
from dosestream.settings import RetentionSettings, SettingsError, parse
from services.cleanup.service import next_run

LIMITS = Limits(facts=1000, unsettled=100)


@pytest.mark.parametrize(
    ("standing", "limits", "why"),
    [
        (Standing(999), LIMITS, None),
        (Standing(1000), LIMITS, RECENT),
        (Standing(99, nameless=True), LIMITS, "no identifier leads to it"),
        (Standing(99, dirty=True), LIMITS, "to be derived again"),
        (Standing(99, missing=True), LIMITS, "dose report missing"),
        (Standing(500, doubtful=True), LIMITS, "link waiting, ambiguous or in conflict"),
        (Standing(500, open=True), LIMITS, "provisional or due"),
        (Standing(500, outstanding=True), LIMITS, "order expected or overdue"),
        (Standing(99, doubtful=True, open=True, outstanding=True), LIMITS, None),
        (Standing(0, outstanding=True), Limits(facts=1000, unsettled=0), "order expected or overdue"),
        (Standing(0), Limits(facts=0, unsettled=0), RECENT),
    ],
)
def test_a_group_stays_for_the_first_reason_that_fits(
    standing: Standing, limits: Limits, why: str | None
) -> None:
    assert why_kept(standing, limits) == why


def test_no_days_keep_for_ever() -> None:
    assert before(10 * DAY_US, 3) == 7 * DAY_US
    assert before(10 * DAY_US, 0) == 0


def test_what_has_no_dose_report_to_miss_is_what_the_view_says() -> None:
    text = files("dosestream.db").joinpath("views.sql").read_text(encoding="utf-8")
    lists = re.findall(r"NOT IN \(('MR'[^)]*)\)", text)
    assert lists
    assert all(tuple(re.findall(r"'(\w+)'", one)) == DARK for one in lists)


@pytest.mark.parametrize(
    ("now", "hour", "zone", "due"),
    [
        ("2026-03-02T02:59", 3, "UTC", "2026-03-02T03:00"),
        ("2026-03-02T03:00", 3, "UTC", "2026-03-03T03:00"),
        ("2026-03-02T23:30", 0, "UTC", "2026-03-03T00:00"),
        # 03:00 in Amsterdam is 02:00 UTC in winter, 01:00 in summer.
        ("2026-01-10T01:30", 3, "Europe/Amsterdam", "2026-01-10T02:00"),
        ("2026-07-10T01:30", 3, "Europe/Amsterdam", "2026-07-11T01:00"),
    ],
)
def test_the_service_cleans_up_at_the_sites_hour(now: str, hour: int, zone: str, due: str) -> None:
    found = next_run(datetime.fromisoformat(now).replace(tzinfo=UTC), hour, zone)
    assert found.astimezone(UTC) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_topics_that_go_by_age_keep_what_the_site_says() -> None:
    assert topic_limits(RetentionSettings(rejected_days=10, audit_days=0)) == {
        "radiology.hl7.rejected.v1": 10 * DAY_MS,
        "radiology.audit.v1": -1,
    }


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("facts_days = -1", "is no number of days"),
        ("hour = 24", "is no hour of the day"),
        ("facts_days = 400\nunsettled_days = 300", "is the longer limit"),
        ("fact_days = 3", "unknown key"),
    ],
)
def test_mistakes_in_the_section_are_told(text: str, mistake: str) -> None:
    with pytest.raises(SettingsError, match=mistake):
        parse(f"[retention]\n{text}\n")
