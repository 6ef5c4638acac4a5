"""Weeks of several hospitals: the same every time, disturbed as real feeds are, and true to themselves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from itertools import pairwise
from random import Random

import pytest

from dosestream.simulate import dose_reports
from dosestream.simulate.agenda import Acts, Agenda
from dosestream.simulate.dose_reports import Header
from dosestream.simulate.history import History, history
from dosestream.simulate.moulds import Moulds
from dosestream.simulate.procedures import CATALOGUE, ROOMS, Room
from dosestream.simulate.timeline import DICOM, HL7, HOUR, Step
from dosestream.simulate.truth import Line

# Weeks take seconds to make.
pytestmark = pytest.mark.slow

BASE = date(2026, 3, 14)
DAY = 24 * HOUR


@cache
def week() -> History:
    """Seven days of two hospitals."""
    return history(5, BASE, days=7, sites=2, studies_a_day=20)


@cache
def week_truth() -> tuple[Line, ...]:
    return week().truth()


def of_kind(kind: str) -> list[Line]:
    return [line for line in week_truth() if line["kind"] == kind]


def spoken() -> list[Step]:
    return [step for step in week().timeline if step.channel == HL7]


def time_of(step: Step) -> int:
    """MSH-7, microseconds since 1970 UTC."""
    text = step.body.split(b"|")[6].decode()
    moment = datetime.strptime(text, "%Y%m%d%H%M%S%z" if len(text) > 14 else "%Y%m%d%H%M%S")
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000


def test_the_same_seed_and_base_make_the_same_bytes_and_truth() -> None:
    one, other = (history(3, BASE, days=1, sites=1, studies_a_day=6) for _ in range(2))
    assert one.timeline == other.timeline
    assert one.truth() == other.truth()


@pytest.mark.parametrize(("seed", "sites"), [(4, 1), (3, 2)], ids=["another seed", "another site"])
def test_another_seed_or_site_shares_no_identifier(seed: int, sites: int) -> None:
    names = ("study_instance_uid", "accession_number", "filler_order_number", "patient_id")
    told = [
        {line[name] for line in lines for name in names if line.get(name)}
        for lines in (
            history(3, BASE, days=1, sites=1, studies_a_day=6).truth(),
            history(seed, BASE, days=1, sites=sites, studies_a_day=6).truth(),
        )
    ]
    if sites == 1:
        assert not told[0] & told[1]
    else:
        by_site = Counter(
            str(line["patient_authority"]) for line in week_truth() if line["kind"] == "patient"
        )
        assert by_site.keys() == {"HOSP1", "HOSP2"}


@dataclass(frozen=True)
class Share:
    says: str
    found: float
    low: float
    high: float


def shares() -> Sequence[Share]:
    steps, hl7 = week().timeline, spoken()
    first: dict[str, Step] = {}
    for step in steps:
        first.setdefault(step.name, step)
    late = [s for s in first.values() if s.sent_at - s.happened_at > 10 * 60_000_000]
    wrong = [s for s in hl7 if abs(time_of(s) - s.happened_at) > HOUR]
    studies = of_kind("study")
    weak = [line for line in studies if line["link_method"] == "window"]
    return (
        Share("four in five are ADT", sum(s.kind.startswith("ADT") for s in hl7) / len(hl7), 0.78, 0.82),
        Share("one in twenty is late", len(late) / len(first), 0.035, 0.065),
        Share("one in fifty is doubled", 1 - len(first) / len(steps), 0.012, 0.03),
        Share("one in a hundred has a wrong clock", len(wrong) / len(hl7), 0.006, 0.014),
        Share("studies with weak evidence only", len(weak) / len(studies), 0.05, 0.4),
    )


@pytest.mark.parametrize("number", range(5))
def test_shares_are_as_in_a_real_feed(number: int) -> None:
    share = shares()[number]
    assert share.low <= share.found <= share.high, share.says


def test_rooms_have_habits_of_vendors() -> None:
    """Of each room of a site: how many studies, how many without dose, how many told of by several reports, how many
    whose reports name a procedure."""
    seen: set[str] = set()
    for site in week().sites:
        for place in site.places:
            scans = [scan for scan in site.h.scans if scan.room == place.room]
            if not scans:
                continue
            imaged = sum(not scan.dose for scan in scans) / len(scans)
            named = sum(bool(scan.description) for scan in scans) / len(scans)
            seen |= {"images only"} if imaged > 0.5 else {"reports"} if imaged < 0.2 else set()
            seen |= {"names procedures"} if named > 0.5 else {"names no procedure"} if named < 0.2 else set()
    growing = Counter(step.sender for step in week().timeline if step.kind == "dose report")
    studies = Counter(scan.room.ae_title for site in week().sites for scan in site.h.scans if scan.dose)
    seen |= {"growing"} if any(growing[room] > 1.5 * studies[room] for room in studies) else set()
    assert seen == {"images only", "reports", "names procedures", "names no procedure", "growing"}


def test_messages_are_received_out_of_order() -> None:
    assert any(a.happened_at > b.happened_at + DAY for a, b in pairwise(week().timeline))


def test_every_state_method_and_phase_is_there() -> None:
    studies = of_kind("study")
    assert {line["link_state"] for line in studies} == {"linked", "unmatched", "ambiguous", "conflict"}
    assert {line["link_method"] for line in studies} == {
        None, "study_uid", "accession", "order_number", "accession_only", "window",
    }  # fmt: skip
    assert {line["phase"] for line in studies} == {"final", "amended"}
    states = {line["state"] for line in of_kind("order") if "state" in line}
    assert states == {"performed", "overdue", "cancelled"}
    assert any(line["merged_into_id"] for line in of_kind("patient"))


def test_reports_are_preliminary_final_and_corrected_and_appointments_booked_moved_and_given_up() -> None:
    reports = of_kind("report")
    assert {line["status"] for line in reports} == {"F", "C"}
    said = Counter(
        step.body.split(b"\rOBR|")[1].split(b"|")[24] for step in spoken() if step.kind == "ORU^R01"
    )
    assert said.keys() == {b"P", b"F", b"C"}
    assert said[b"F"] > said[b"P"] > said[b"C"]
    assert {step.kind for step in spoken() if step.kind.startswith("SIU")} == {
        "SIU^S12", "SIU^S13", "SIU^S15", "SIU^S26",
    }  # fmt: skip
    assert len({line["text_sha256"] for line in reports}) > 10


def test_people_come_again() -> None:
    visits = Counter(
        str(line["patient_id"]) for line in history(6, BASE, 20, 1, 12).truth() if line["kind"] == "study"
    )
    assert max(visits.values()) >= 2


def test_a_study_that_is_linked_and_its_order_name_each_other() -> None:
    orders = {(line["accession_number"], line["filler_order_number"]): line for line in of_kind("order")}
    linked = [line for line in of_kind("study") if line["link_state"] == "linked"]
    for study in linked:
        order = orders[study["accession_number"], study["filler_order_number"]]
        assert order["study_instance_uid"] == study["study_instance_uid"]
        assert order["patient_id"] == study["patient_id"]
    performed = [line for line in orders.values() if line.get("state") == "performed"]
    answered = {line["study_instance_uid"] for line in performed}
    assert answered == {line["study_instance_uid"] for line in linked}


def test_neighbours_give_the_same_numbers() -> None:
    patients = Counter(str(line["patient_id"]) for line in of_kind("patient"))
    accessions = Counter(line["accession_number"] for line in of_kind("order") if line["accession_number"])
    assert patients.most_common(1)[0][1] == 2
    assert accessions.most_common(1)[0][1] == 2


def test_before_its_window_is_over_everything_is_open() -> None:
    played = history(3, BASE, days=2, sites=1, studies_a_day=15)
    begins = min(scan.study_at for scan in played.sites[0].h.scans)
    lines = played.truth(now=begins)
    studies = [line for line in lines if line["kind"] == "study"]
    assert {line["phase"] for line in studies} == {"provisional"}
    assert "unmatched" not in {line["link_state"] for line in studies}
    assert "overdue" not in {line.get("state") for line in lines}


def test_a_compressed_history_has_no_clock_that_is_ahead_and_no_phase() -> None:
    ahead = history(1, BASE, days=4, sites=2)
    pressed = history(1, BASE, days=4, sites=2, compressed=True)

    def furthest(played: History) -> int:
        return max(time_of(s) - s.happened_at for s in played.timeline if s.channel == HL7)

    assert furthest(ahead) > 365 * DAY
    assert furthest(pressed) <= 0
    assert not any("phase" in line for line in pressed.truth())


@pytest.mark.parametrize("room", ROOMS, ids=[room.ae_title for room in ROOMS])
def test_a_report_from_a_mould_is_the_report_byte_for_byte(room: Room) -> None:
    rng = Random(2)
    moulds = Moulds(Random(1))
    numbers = iter(range(10**38, 10**38 + 1000))

    def uid() -> str:
        return f"2.25.{next(numbers)}"

    start = 1_772_438_400_000_000
    for turn in range(6):
        exposures = moulds.expose(rng, room, CATALOGUE[room.kind][0], start + turn * HOUR, uid)
        at = start + turn * HOUR
        header = Header(uid(), uid(), uid(), room, at, at, None, accession=f"A{turn}")
        for part in (exposures, exposures[:1], exposures[1:]):
            assert moulds.report(header, part) == dose_reports.report(header, part)


def test_an_agenda_takes_stories_up_in_the_order_of_time() -> None:
    acted: list[str] = []

    def story(name: str, *times: int) -> Acts:
        for at in times:
            yield at
            acted.append(f"{name}{at}")

    agenda = Agenda()
    for acts in (story("a", 1, 4, 9), story("b", 2, 3), story("c", 4), story("d")):
        agenda.enter(acts)
    agenda.run(9)
    assert acted == ["a1", "b2", "b3", "c4", "a4"]


def test_every_report_is_of_a_study_of_the_truth() -> None:
    told = {line["study_instance_uid"] for line in of_kind("study")}
    scanned = {str(scan.study_uid) for site in week().sites for scan in site.h.scans}
    assert told == scanned
    assert sum(step.channel == DICOM for step in week().timeline) >= len(told)
