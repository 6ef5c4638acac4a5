"""Every matching in SQL finds what the plain Python reading of the standard finds, on a real database."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom import Sequence as Items
from pydicom.config import disable_value_validation

from dosestream.worklist.matching import Condition
from dosestream.worklist.names import name_keys
from dosestream.worklist.query import QueryError, read

Connection = psycopg.Connection[Any]
# The laws of matching need many small cases; a failing one is small as it is.
LAWS = settings(
    max_examples=150,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Few letters, so that much matches; those that mean something in SQL or here among them.
LETTERS = "aAbÉ山%_\\?*"
stored_text = st.text("aAbÉ山%_ ", min_size=1, max_size=4).map(str.strip).filter(bool)
asked_text = st.text(LETTERS.replace("\\", ""), min_size=1, max_size=4)
names = st.lists(st.text("aAbÉ山", max_size=2), min_size=1, max_size=3).map("^".join)
stored_name = st.lists(names, min_size=1, max_size=3).map("=".join)
asked_name = st.text("aAbÉ山^*?=", min_size=1, max_size=5)
days = st.dates(date(2026, 2, 26), date(2026, 3, 3))
clock = st.integers(0, 86_399).map(lambda s: f"{timedelta(seconds=s)!s:0>8}".replace(":", ""))
hours = st.builds(lambda text, length: text[:length], clock, st.sampled_from([2, 4, 6]))
day_range = st.one_of(days.map(lambda d: f"{d:%Y%m%d}"), st.builds("{:%Y%m%d}-{:%Y%m%d}".format, days, days))
open_days = st.one_of(day_range, days.map("{:%Y%m%d}-".format), days.map("-{:%Y%m%d}".format), st.just(""))
hour_range = st.one_of(hours, st.builds("{}-{}".format, hours, hours), hours.map("{}-".format), st.just(""))
moments = st.datetimes(datetime(2026, 2, 26), datetime(2026, 3, 3)).map(lambda d: d.replace(tzinfo=UTC))
zones = st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"])


@pytest.fixture(scope="module")
def connection(postgres: str) -> Iterator[Connection]:
    with psycopg.connect(postgres, autocommit=True) as opened:
        yield opened


def found(connection: Connection, condition: Condition, kind: str, value: object, zone: str) -> bool:
    parameters: list[object] = []
    where = condition.matching.sql("v", zone, parameters)
    text = f"SELECT coalesce(({where}), false) FROM (SELECT %s::{kind} AS v) one".encode()
    # The value stands after the condition in the text, so its parameter comes last.
    row = connection.execute(text, [*parameters, value]).fetchone()
    assert row is not None
    return bool(row[0])


def query(step: dict[str, str], **keys: object) -> list[Condition]:
    out, item = Dataset(), Dataset()
    # What is asked need not be legal.
    with disable_value_validation():
        for target, values in ((item, step), (out, keys)):
            for name, value in values.items():
                setattr(target, name, value)
    out.ScheduledProcedureStepSequence = Items([item])
    return list(read(out).conditions)


@LAWS
@given(stored_text, asked_text)
def test_texts(connection: Connection, stored: str, asked: str) -> None:
    for condition in query({}, AccessionNumber=asked):
        assert found(connection, condition, "text", stored, "UTC") == condition.matching.holds(stored, "UTC")


@LAWS
@given(st.lists(stored_text, max_size=3), asked_text)
def test_lists_of_texts(connection: Connection, stored: list[str], asked: str) -> None:
    for condition in query({"ScheduledStationAETitle": asked}):
        assert found(connection, condition, "text[]", stored, "UTC") == condition.matching.holds(
            stored, "UTC"
        )


@LAWS
@given(stored_name, asked_name)
def test_names(connection: Connection, stored: str, asked: str) -> None:
    keys = name_keys(stored)
    for condition in query({}, PatientName=asked):
        assert found(connection, condition, "text[]", keys, "UTC") == condition.matching.holds(keys, "UTC")


@LAWS
@given(days, open_days)
def test_birth_dates(connection: Connection, stored: date, asked: str) -> None:
    for condition in query({}, PatientBirthDate=asked):
        assert found(connection, condition, "date", stored, "UTC") == condition.matching.holds(stored, "UTC")


@LAWS
@given(moments, open_days, hour_range, zones)
def test_starts(connection: Connection, stored: datetime, day: str, hour: str, zone: str) -> None:
    step = {"ScheduledProcedureStepStartDate": day, "ScheduledProcedureStepStartTime": hour}
    for condition in query(step):
        expected = condition.matching.holds(stored, zone)
        assert found(connection, condition, "timestamptz", stored, zone) == expected


# What the standard says of one value, as a check on the plain reading itself.
@pytest.mark.parametrize(
    ("step", "at", "expected"),
    [
        (("20260302", ""), "2026-03-02 23:59:59.999999", True),
        (("20260302", ""), "2026-03-03 00:00:00", False),
        (("20260302-20260304", "1000-1800"), "2026-03-02 09:59:59", False),
        (("20260302-20260304", "1000-1800"), "2026-03-03 09:00:00", True),
        (("20260302-20260304", "1000-1800"), "2026-03-04 18:00:59", True),
        (("20260302-20260304", "1000-1800"), "2026-03-04 18:01:00", False),
        (("20260302-20260304", "1000"), "2026-03-03 09:00:00", False),
        (("", "1000-1800"), "2026-03-03 09:00:00", False),
        (("20260302-", "1000-"), "2026-03-09 09:00:00", True),
        (("2026.03.02", "10:00:00"), "2026-03-02 10:00:00", True),
    ],
)
def test_the_start_of_a_step(step: tuple[str, str], at: str, expected: bool) -> None:
    keys = {"ScheduledProcedureStepStartDate": step[0], "ScheduledProcedureStepStartTime": step[1]}
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert all(c.matching.holds(moment, "UTC") for c in query(keys)) == expected


def test_several_items_where_one_is_asked_for_are_refused() -> None:
    identifier = Dataset()
    items = [Dataset(), Dataset()]
    for item in items:
        item.Modality = "CT"
    identifier.ScheduledProcedureStepSequence = Items(items)
    with pytest.raises(QueryError, match="one item"):
        read(identifier)
