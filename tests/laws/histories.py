"""Small whole histories for Hypothesis, and plans of how they reach a reconciler.

Everything is drawn from pools so small that values collide: identifiers meet, times tie, numbers are reused.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from dosestream.db.records import Decoded
from dosestream.events.identity import content_hash
from dosestream.events.records import (
    Appointment,
    Clock,
    Decision,
    Demographics,
    DoseReport,
    DoseTotal,
    Identifier,
    IrradiationEvent,
    Order,
    Patient,
    Report,
    RequestReference,
    Study,
)
from dosestream.kafka.records import Partition, Record
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules

# Two irradiations of a study are high dose.
RULES = Rules(stop_list=frozenset({"UNKNOWN", "0"}), alert_thresholds={"ct_dlp": 20.0})
Event = Patient | Order | Study | Appointment | Decision | Report | Clock
# 2026-03-02 08:00 UTC.
MORNING = 1_772_438_400_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND
TOPIC_OF = {
    Patient: Topic.PATIENT,
    Order: Topic.ORDER,
    Study: Topic.STUDY,
    Appointment: Topic.APPOINTMENT,
    Report: Topic.REPORT,
    Decision: Topic.DECISION,
    Clock: Topic.CLOCK,
}

# When something is said; the same few moments again and again, so that versions tie.
MOMENTS = (0, 0, SECOND, 60 * SECOND, 3600 * SECOND, DAY, 30 * 3600 * SECOND, 4 * DAY)
# How much later it is heard: at once, the next hour, after every window has closed; or by a clock that is ahead.
LATENESS = (0, 0, 0, 0, 3600 * SECOND, 10 * DAY, -3 * DAY)
NAMES = ("", "", '""', "DOE^JANE", "DOE^JANE", "ROE^JANE", "SMITH^J")
BIRTHS = ("", "", '""', "1970-01-01", "1980-02-02")
PEOPLE = ("P0", "P1", "P2")
WORDS = (
    ("NW", "SC"),
    ("NW", ""),
    ("SN", ""),
    ("XO", "SC"),
    ("XO", "SC"),
    ("SC", "IP"),
    ("XO", "CM"),
    ("RE", "CM"),
    ("CA", "CA"),
    ("DC", ""),
    ("HD", ""),
    ("ZZ", ""),
)
UIDS = ("1.2.0", "1.2.1", "1.2.2")
IRRADIATIONS = ("e0", "e1", "e2", "e3")


def _pick(draw: st.DrawFn, *values: object) -> object:
    return draw(st.sampled_from(values))


def _demographics(draw: st.DrawFn, who: str) -> Demographics:
    shape = draw(st.integers(0, 11))
    ids = [Identifier(authority="HOSP", value=who)]
    if shape == 0:
        ids.append(Identifier(authority="NAT", value=f"N{who}"))
    elif shape == 1:
        ids = [Identifier(authority="NAT", value=f"N{who}")]
    elif shape == 2:
        ids = [Identifier(authority="CLINIC", value=who)]
    name, birth = draw(st.sampled_from(NAMES)), draw(st.sampled_from(BIRTHS))
    return Demographics(identifiers=tuple(ids), name=name, birth_date=birth)


def _patient(draw: st.DrawFn) -> dict[str, object]:
    return {
        "action": "update",
        "trigger": _pick(draw, "A04", "A08", "A08", "A10"),
        "patient": _demographics(draw, draw(st.sampled_from(PEOPLE))),
        "visit_number": _pick(draw, "", "", "V0", "V1"),
    }


def _merge(draw: st.DrawFn) -> dict[str, object]:
    prior = _demographics(draw, draw(st.sampled_from(PEOPLE)))
    return {
        "action": _pick(draw, "merge", "merge", "merge", "change_id", "link", "unlink"),
        "trigger": "A40",
        "patient": _demographics(draw, draw(st.sampled_from((*PEOPLE, "P9")))),
        "prior_identifiers": prior.identifiers,
    }


def _order(draw: st.DrawFn) -> dict[str, object]:
    k = draw(st.integers(0, 2))
    known = draw(st.integers(0, 63))
    code, status = draw(st.sampled_from(WORDS))
    scheduled = draw(st.sampled_from((None, None, *MOMENTS)))
    return {
        "control_code": code,
        "order_status": status,
        "patient": None
        if known == 63
        else _demographics(draw, draw(st.sampled_from((f"P{k}", f"P{k}", "P0", "UNKNOWN")))),
        "placer_order_number": f"PL{k // 2}" if known & 1 else _pick(draw, "", "", '""', "UNKNOWN"),
        "filler_order_number": f"F{k}" if known & 2 else "",
        "accession_number": f"A{k}" if known & 4 else _pick(draw, "", "", "A0", "A7", "0", '""'),
        "accession_issuer": _pick(draw, "", "", "", "RIS", "OTHER"),
        "requested_procedure_id": f"R{k}" if known & 8 else _pick(draw, "", "", "R7"),
        "scheduled_step_id": _pick(draw, "", "S0", "S1"),
        "study_instance_uid": UIDS[k] if known & 16 and known & 32 else "",
        "modality": _pick(draw, "CT", "CT", "", '""', "DX"),
        "procedure_code": _pick(draw, "", "C1", "C2", '""'),
        "scheduled_at": None if scheduled is None else MORNING + scheduled,
        "scheduled_cleared": scheduled is None and draw(st.booleans()),
        "ordered_at": _pick(draw, None, MORNING, MORNING + DAY),
        "referring_physician": _pick(draw, "", "REF^A", "REF^B", '""'),
        "visit_number": _pick(draw, "", "", "V0", "V1"),
    }


def _appointment(draw: st.DrawFn) -> dict[str, object]:
    k = draw(st.integers(0, 2))
    return {
        "trigger": _pick(draw, "S12", "S13", "S15", "S26"),
        "placer_order_number": _pick(draw, f"PL{k // 2}", ""),
        "filler_order_number": _pick(draw, f"F{k}", ""),
        "filler_appointment_id": _pick(draw, "", "T0"),
        "scheduled_at": MORNING + draw(st.sampled_from(MOMENTS)),
    }


def _spoken(draw: st.DrawFn) -> dict[str, object]:
    """A radiologist's report, by any of the numbers of an order or by the study."""
    k = draw(st.integers(0, 2))
    reported = draw(st.sampled_from((None, *MOMENTS)))
    return {
        "trigger": "R01",
        "patient": _demographics(draw, draw(st.sampled_from((f"P{k}", f"P{k}", "P0")))),
        "placer_order_number": _pick(draw, "", "", f"PL{k // 2}"),
        "filler_order_number": _pick(draw, f"F{k}", f"F{k}", ""),
        "accession_number": _pick(draw, f"A{k}", f"A{k}", "", "0", '""'),
        "study_instance_uid": _pick(draw, "", "", UIDS[k]),
        "status": _pick(draw, "P", "F", "F", "C", "AU", "X", ""),
        "text": _pick(draw, "fine", "not fine", "", '""'),
        "reported_at": None if reported is None else MORNING + reported,
    }


def _bond_decision(draw: st.DrawFn) -> dict[str, object]:
    one, other = draw(st.sampled_from(PEOPLE)), draw(st.sampled_from(PEOPLE))
    return {
        "kind": _pick(draw, "merge", "unmerge", "unmerge"),
        "withdrawn": draw(st.integers(0, 3)) == 0,
        "by": "duty",
        "patient": Identifier(authority="HOSP", value=one),
        "prior": Identifier(authority="HOSP", value=other),
    }


def _scheduled(draw: st.DrawFn) -> dict[str, object]:
    """An order that names no accession: it is found by patient and time, if at all."""
    k = draw(st.integers(0, 2))
    return _order(draw) | {
        "patient": _demographics(draw, f"P{k // 2}"),
        "placer_order_number": f"PL{k}",
        "filler_order_number": "",
        "accession_number": "",
        "study_instance_uid": "",
        "requested_procedure_id": _pick(draw, "", f"R{k}"),
        "modality": "CT",
        "scheduled_at": MORNING + draw(st.sampled_from(MOMENTS)),
    }


def _report(draw: st.DrawFn) -> dict[str, object]:
    u = draw(st.integers(0, 2))
    uid = UIDS[u]
    named = draw(
        st.sampled_from((f"P{u}", f"P{u}", f"P{u}", "P0", f"NP{u}", "P8", "UNKNOWN", "")),
    )
    events = IRRADIATIONS[draw(st.integers(0, 2)) : draw(st.integers(1, 4))]
    wrong = draw(st.integers(0, 9)) == 0
    request = RequestReference(
        accession_number=str(_pick(draw, f"A{u}", "", "A1")),
        placer_order_number=str(_pick(draw, "", "PL0")),
        filler_order_number=str(_pick(draw, "", f"F{u}")),
    )
    begun = draw(st.sampled_from((None, *MOMENTS)))
    image = draw(st.integers(0, 5)) == 0
    return {
        "kind": "image" if image else "dose_report",
        "modality": _pick(draw, "SR", "CT", "DX"),
        "study_instance_uid": uid,
        "sop_instance_uid": _pick(draw, f"{uid}.1", f"{uid}.1", f"{uid}.2", "1.2.9"),
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.67",
        "study_at": None if begun is None else MORNING + begun,
        "accession_number": _pick(draw, f"A{u}", f"A{u}", "", "", "A0", "0"),
        "patient": Demographics(
            identifiers=(Identifier(authority=str(_pick(draw, "", "", "HOSP")), value=named),)
            if named
            else (),
            name="BROWN^BOB" if wrong else str(_pick(draw, "", "DOE^JANE")),
        ),
        "procedure_code": _pick(draw, "", "C1", "C2"),
        "requests": (request,) if draw(st.booleans()) else (),
        "dose": None
        if image
        else DoseReport(
            template="10011",
            totals=(DoseTotal(quantity="ct_dlp", value=10.0 * len(events), unit="mGy.cm"),),
            events=tuple(IrradiationEvent(irradiation_event_uid=f"{u}.{e}", dlp_mgycm=10.0) for e in events),
        ),
    }


def _step(draw: st.DrawFn) -> dict[str, object]:
    """A message about a performed step: what creates it names the study, later ones need not."""
    u = draw(st.integers(0, 1))
    created = draw(st.integers(0, 2)) > 0
    request = RequestReference(
        accession_number=str(_pick(draw, f"A{u}", f"A{u}", "A1", "")),
        filler_order_number=str(_pick(draw, "", f"F{u}")),
        scheduled_step_id=str(_pick(draw, "", "S0", "S1")),
    )
    return _report(draw) | {
        "kind": "performed_step",
        "modality": "CT",
        "study_instance_uid": UIDS[u] if created else "",
        "sop_instance_uid": f"{UIDS[u]}.{draw(st.sampled_from((8, 8, 9)))}",
        "accession_number": f"A{u}" if created and draw(st.booleans()) else "",
        "requests": (request,) if created else (),
        "patient": Demographics(identifiers=(Identifier(authority="", value=f"P{u}"),))
        if created
        else Demographics(),
        "dose": None,
        "step_status": _pick(draw, "IN PROGRESS", "IN PROGRESS", "COMPLETED", "DISCONTINUED", ""),
    }


def _window_only(draw: st.DrawFn) -> dict[str, object]:
    """A report that names a patient and a time, and no order at all."""
    u = draw(st.integers(0, 2))
    return _report(draw) | {
        "modality": "CT",
        "study_instance_uid": UIDS[u],
        "sop_instance_uid": f"{UIDS[u]}.3",
        "study_at": MORNING + draw(st.sampled_from(MOMENTS)),
        "accession_number": "",
        "requests": (),
        "patient": Demographics(identifiers=(Identifier(authority="", value=f"P{u // 2}"),)),
    }


def _decision(draw: st.DrawFn) -> dict[str, object]:
    k = draw(st.integers(0, 2))
    kind = draw(st.sampled_from(("link", "link", "unlink", "reassign", "exclude", "include")))
    about: dict[str, object] = {}
    if kind in ("link", "unlink", "reassign"):
        about = draw(
            st.sampled_from(
                (
                    {"accession_number": f"A{k}"},
                    {"placer_order_number": f"PL{k // 2}"},
                    {"filler_order_number": f"F{k}", "accession_number": f"A{k}"},
                )
            )
        )
    return {
        "kind": kind,
        "withdrawn": draw(st.integers(0, 3)) == 0,
        "by": "duty",
        "study_instance_uid": draw(st.sampled_from(UIDS)),
        **about,
    }


Fields = Callable[[st.DrawFn], dict[str, object]]
EVERYTHING: tuple[tuple[type, Fields], ...] = (
    (Patient, _patient),
    (Patient, _merge),
    (Order, _order),
    (Order, _order),
    (Order, _order),
    (Order, _scheduled),
    (Study, _report),
    (Study, _report),
    (Study, _window_only),
    (Study, _step),
    (Decision, _decision),
    (Decision, _bond_decision),
    (Appointment, _appointment),
    (Report, _spoken),
)
STEPS = ((Study, _step), (Study, _step), (Study, _step), (Order, _order), (Decision, _decision))
# Histories of every kind of event, and of some that seldom meet by chance.
THEMES: tuple[tuple[tuple[type, Fields], ...], ...] = (
    EVERYTHING,
    EVERYTHING,
    ((Order, _scheduled), (Order, _scheduled), (Study, _window_only), (Patient, _merge), (Order, _order)),
    ((Patient, _patient), (Patient, _merge), (Patient, _merge), (Order, _scheduled), (Study, _window_only)),
    ((Patient, _patient), (Patient, _merge), (Decision, _bond_decision), (Order, _order), (Study, _report)),
    ((Appointment, _appointment), (Appointment, _appointment), (Order, _order), (Study, _report)),
    ((Order, _order), (Order, _order), (Order, _order), (Study, _report), (Decision, _decision)),
    ((Report, _spoken), (Report, _spoken), (Order, _order), (Study, _report), (Patient, _merge)),
    STEPS,
)


@st.composite
def histories(
    draw: st.DrawFn, most: int = 14, themes: Sequence[Sequence[tuple[type, Fields]]] = THEMES
) -> tuple[Event, ...]:
    """What was said of three patients, three orders and three studies, and how late it was heard."""
    theme = draw(st.sampled_from(themes))
    said: list[Event] = [_event(draw, index, theme) for index in range(draw(st.integers(2, most)))]
    days = draw(st.lists(st.sampled_from((0, 1, 3, 7, 30)), max_size=2))
    return (*said, *(Clock(at=MORNING + day * DAY + SECOND, ticker="test") for day in days))


def _event(draw: st.DrawFn, index: int, theme: Sequence[tuple[type, Fields]]) -> Event:
    """The `index`-th event; receipts of one source never tie, those of two may."""
    cls, fields_of = draw(st.sampled_from(theme))
    fields = fields_of(draw)
    said = draw(st.sampled_from((None, *MOMENTS, *MOMENTS)))
    received_at = MORNING + (said or 0) + draw(st.sampled_from(LATENESS)) + index // 2
    event_id = content_hash(repr((index, cls.__name__, sorted(fields.items()), said)).encode())[:32]
    if cls is Decision:
        return Decision(event_id=event_id, received_at=received_at, **fields)  # type: ignore[arg-type]
    event: Event = cls(
        event_id=event_id,
        source=f"RIS{index % 2}|HOSP",
        control_id=f"M{index}",
        received_at=received_at,
        raw_partition=0,
        raw_offset=index,
        event_time=None if said is None else MORNING + said,
        message_time=draw(st.sampled_from((None, MORNING))),
        sequence_number=draw(st.sampled_from((None, None, 1, 2))),
        **fields,
    )
    return event


@st.composite
def tied_corrections(draw: st.DrawFn) -> tuple[Patient, ...]:
    """Messages of one source about one patient, all with the same times; each says another name."""
    letters = draw(st.lists(st.sampled_from("ABCDEFGH"), min_size=2, max_size=6, unique=True))
    return tuple(
        Patient(
            event_id=content_hash(f"{index}{letter}".encode())[:32],
            source="HIS|HOSP",
            control_id=f"M{index}",
            received_at=MORNING + index,
            raw_partition=0,
            raw_offset=index,
            event_time=MORNING,
            message_time=MORNING,
            action="update",
            trigger="A08",
            patient=Demographics(
                identifiers=(Identifier(authority="HOSP", value="P0"),), name=f"{letter}^JANE"
            ),
        )
        for index, letter in enumerate(letters)
    )


@dataclass(frozen=True)
class Plan:
    """How a history reaches a reconciler, all of it from one seed.

    Attributes:
        shuffled: in any order, else as it was said.
        repeated: some events again, also with a later receipt, in any place.
        partitions: over how many partitions of each topic.
        largest: most records in a batch.
        crashing: batches come again, whole or from the middle of the last.
        settling: work left for later is done between batches too.
    """

    seed: int
    shuffled: bool = True
    repeated: bool = True
    partitions: int = 3
    largest: int = 4
    crashing: bool = True
    settling: bool = True
    # Whether what a clock far ahead dated may be heard again later; see `_first_heard_first`.
    ahead_again: bool = True

    def told(self, history: Sequence[Event]) -> list[list[Decoded]]:
        """The batches, in each partition ascending and without holes."""
        rng = random.Random(self.seed)
        said = list(history)
        if self.repeated and said:
            said += [self._again(rng.choice(said), rng) for _ in range(rng.randint(0, 4))]
        if self.shuffled:
            rng.shuffle(said)
        _first_heard_first(said)
        ends: dict[Partition, int] = {}
        records = []
        for event in said:
            partition = Partition(str(TOPIC_OF[type(event)]), rng.randrange(self.partitions))
            offset = ends.get(partition, 0)
            ends[partition] = offset + 1
            records.append(Decoded(Record(partition, offset, b""), event))
        batches: list[list[Decoded]] = []
        at = 0
        while at < len(records):
            size = rng.randint(1, self.largest)
            start = max(0, at - rng.randint(0, 3)) if self.crashing and rng.random() < 0.5 else at
            batches.append(records[start : at + size])
            if self.crashing and rng.random() < 0.3:
                batches.append(records[start : at + size])
            at += size
        return batches

    def _again(self, event: Event, rng: random.Random) -> Event:
        """The same event heard again, perhaps later."""
        if isinstance(event, Clock):
            return event
        if not self.ahead_again and isinstance(event, Patient | Order | Report) and _ahead(event):
            return event
        return replace(event, received_at=event.received_at + rng.choice((0, 1, SECOND, 10 * DAY)))

    def pauses(self, batches: Sequence[object]) -> list[bool]:
        """After which batches the work left for later is done."""
        rng = random.Random(self.seed + 1)
        return [self.settling and rng.random() < 0.3 for _ in batches]


def _first_heard_first(said: list[Event]) -> None:
    """Of ADT, order and report messages that a clock far ahead dated, the copy heard first is read first, as on
    one partition it is.

    A fold cannot undo it otherwise. Such a message counts from its first receipt, a copy heard after its date from
    its date, the higher. Were that copy read first, the fold would have to fall back on what else was said of the
    value, and as each of n messages may turn out so, on any of n: it would have to keep them all, while it keeps
    the newest of each value, or daily repeats of a name would grow it for ever.
    """
    places: dict[str, list[int]] = {}
    ahead = {e.event_id for e in said if isinstance(e, Patient | Order | Report) and _ahead(e)}
    for place, event in enumerate(said):
        if isinstance(event, Patient | Order | Report) and event.event_id in ahead:
            places.setdefault(event.event_id, []).append(place)
    for taken in places.values():
        copies = sorted((said[place] for place in taken), key=_received_at)
        for place, event in zip(taken, copies, strict=True):
            said[place] = event


def _received_at(event: Event) -> int:
    return event.at if isinstance(event, Clock) else event.received_at


def _ahead(event: Patient | Order | Report) -> bool:
    """Whether an event is dated past its receipt and the tolerance, so that its receipt decides its version."""
    times = (event.event_time, event.message_time)
    return any(t is not None and t > event.received_at + RULES.future_tolerance_us for t in times)


PLANS = st.builds(
    Plan,
    seed=st.integers(0, 2**32 - 1),
    partitions=st.integers(1, 3),
    largest=st.sampled_from((1, 2, 4, 40)),
)
IN_ORDER = Plan(0, shuffled=False, repeated=False, partitions=1, largest=1000, crashing=False, settling=False)
