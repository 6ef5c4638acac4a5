"""The script of a day: which story is played in which room at what time, and the ADT traffic around it.

As in a real feed, four messages in five are ADT, most of them about people who have no imaging at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random

from dosestream.simulate import hl7_messages, people
from dosestream.simulate.hospital import HIS, RIS, Hospital
from dosestream.simulate.scenarios import SCENARIOS
from dosestream.simulate.timeline import HL7, HOUR, SECOND, Step
from dosestream.simulate.truth import Clock, Line, truth

# Share of ADT among the HL7 messages of a day.
ADT_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Slot:
    """One story of the day: when it begins (hours after midnight), in the room of which AE title."""

    hour: float
    room: str
    story: str


SCRIPT: tuple[Slot, ...] = (
    # CT 1: the morning list, emergencies in between.
    Slot(6.5, "CT1", "order_then_study"),
    Slot(7.0, "CT1", "merge_after_both"),
    Slot(7.5, "CT1", "merge_before_both"),
    Slot(8.0, "CT1", "held_order"),
    Slot(9.0, "CT1", "study_uid_only"),
    Slot(10.0, "CT1", "cancel"),
    Slot(10.5, "CT1", "growing_reports"),
    Slot(11.5, "CT1", "order_never_came"),
    Slot(13.0, "CT1", "one_study_for_two_orders"),
    # CT 2.
    Slot(6.75, "CT2", "update_after_both"),
    Slot(7.25, "CT2", "study_then_order"),
    Slot(8.0, "CT2", "wrong_worklist_entry"),
    Slot(8.5, "CT2", "accession_of_own_uid"),
    Slot(9.5, "CT2", "doubled_messages"),
    Slot(10.5, "CT2", "no_show"),
    Slot(11.0, "CT2", "report_without_patient"),
    Slot(12.0, "CT2", "corrected_procedure"),
    Slot(12.5, "CT2", "no_show_told"),
    Slot(13.5, "CT2", "image_without_report"),
    # Fluoroscopy and cath lab.
    Slot(7.0, "XA1", "order_then_study"),
    Slot(8.5, "XA1", "order_number"),
    Slot(10.0, "XA1", "late_schedule"),
    Slot(11.5, "XA1", "nothing_but_patient"),
    Slot(12.5, "XA1", "placed_only"),
    Slot(7.0, "XA2", "study_before_registration"),
    Slot(9.0, "XA2", "continued_report"),
    Slot(11.0, "XA2", "discontinued"),
    Slot(12.0, "XA2", "moved_appointment"),
    Slot(13.0, "XA2", "resent_report"),
    # Mammography.
    Slot(7.5, "MG1", "order_then_study"),
    Slot(8.5, "MG1", "changed_identifier"),
    Slot(9.5, "MG1", "cancel_by_placer"),
    Slot(10.0, "MG1", "order_only_patient"),
    Slot(11.0, "MG1", "merge_chain"),
    Slot(12.0, "MG1", "corrected_afterwards"),
    Slot(13.0, "MG1", "update_held"),
)

# What happens to people who come for something else: trigger events, one after the other.
VISITS: tuple[tuple[str, ...], ...] = (
    ("A04", "A08", "A08", "A31"),
    ("A01", "A08", "A02", "A08", "A03"),
    ("A28", "A31"),
    ("A04", "A31", "A08"),
    ("A05", "A01", "A08", "A08"),
)


@dataclass(frozen=True, slots=True)
class Day:
    """What was played: the timeline in the order of sending, and the true answer."""

    timeline: tuple[Step, ...]
    lines: tuple[Line, ...]

    def truth(self) -> tuple[Line, ...]:
        """The lines of `truth.jsonl`."""
        return self.lines


def hospital(seed: int, base: date, site: int = 1, sites: int = 1) -> Hospital:
    """An empty hospital on the day before `base`, so that nothing played lies in the future."""
    day = base - timedelta(days=1)
    return Hospital(
        rng=Random(f"{seed}/{site}/{day.isoformat()}"),
        day=day,
        tag=f"{site}{day:%y%m%d}{seed % 1000:03d}",
        authority="HOSP" if sites == 1 else f"HOSP{site}",
        default_authority=sites == 1,
    )


def plan(seed: int, base: date, site: int = 1, sites: int = 1, until: date | None = None) -> Day:
    """One site's day: the day before `base`, in the site's zone, UTC.

    `until`: the last day on which the true answer is to hold (default `base`); what turns with the clock
    before its end is left undefined in the truth.
    """
    h = hospital(seed, base, site, sites)
    for slot in SCRIPT:
        start = h.clock(slot.hour) + h.rng.randint(0, 600) * SECOND
        SCENARIOS[slot.story](h, h.room(slot.room), start)
    corridor(h)
    nonsense(h)
    return _played(h, until or base)


def scenario(name: str, seed: int, base: date, room: str = "CT1") -> Day:
    """One story alone, in the morning of the day before `base`."""
    h = hospital(seed, base)
    SCENARIOS[name](h, h.room(room), h.clock(8.0))
    return _played(h, base)


def corridor(h: Hospital) -> None:
    """Visits of people without imaging, until four messages in five are ADT."""
    kinds = [step.kind.startswith("ADT") for step in h.steps if step.channel == HL7]
    missing = round(kinds.count(False) * ADT_SHARE / (1 - ADT_SHARE)) - kinds.count(True)
    while missing > 0:
        chart = h.chart()
        at = h.clock(h.rng.uniform(6.0, 18.0))
        for trigger in h.rng.choice(VISITS)[:missing]:
            if trigger in ("A08", "A31"):
                chart.address = people.address(h.rng)
            held = 2 * HOUR if h.rng.random() < 0.03 else 0
            h.tell(chart, at, trigger, held=held)
            if h.rng.random() < 0.02:
                h.again(h.rng.randint(60, 7200) * SECOND)
                missing -= 1
            missing -= 1
            at += h.rng.randint(120, 3600) * SECOND


def nonsense(h: Hospital) -> None:
    """What a receiver must refuse: an ADT about nobody, and a message type that no table lists."""
    at = h.clock(9.4)
    nobody = hl7_messages.Person("", "", "", None, "")
    name = h.control_id(HIS)
    h.say(HIS, at, "ADT^A08", name, hl7_messages.adt(HIS, "A08", at, name, nobody), answer="AE")
    name = h.control_id(RIS)
    h.say(RIS, at, "QQQ^Q99", name, hl7_messages.message(RIS, "QQQ^Q99", at, name, []), answer="AR")


def _played(h: Hospital, until: date) -> Day:
    end = datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=1)
    return Day(h.timeline(), truth(h, Clock(int(end.timestamp()) * SECOND)))


def answers(day: Day) -> Mapping[str, int]:
    """How many of each answer a correct receiver gives."""
    counts: dict[str, int] = {}
    for step in day.timeline:
        counts[step.answer] = counts.get(step.answer, 0) + 1
    return counts
