"""When the dose of a study was last changed: each dose value as a short word, and when it was first heard.

Derivation of links reads no dose. A few bytes of each total and event are enough to see that a report said
something new, so that a second report after the window amends a row, and one sent again does not.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from dosestream.events.records import Administration, DoseReport, Study
from dosestream.reconcile.dose_sources import standing
from dosestream.reconcile.facts import StudyFact
from dosestream.reconcile.totals import counting

WORD = 8


@dataclass(frozen=True, slots=True)
class DoseWords:
    """What one report says of dose.

    Attributes:
        totals: a word for each total.
        events: a word for each event's identity to the word for its dose values.
    """

    totals: tuple[bytes, ...] = ()
    events: Mapping[bytes, bytes] | None = None


def _word(value: object) -> bytes:
    return hashlib.blake2b(orjson.dumps(value), digest_size=WORD).digest()


def written(event: Study) -> list[str]:
    """The words of an arrival as text, totals and events; empty where it has no dose report."""
    if event.dose is None:
        return []
    dose = event.dose
    events = sorted((_word(e.irradiation_event_uid), _event(e)) for e in dose.events)
    totals = [_word([_scope(event, dose), *total]) for total in _totals(dose)]
    totals += [_word(_administration(one)) for one in dose.administrations]
    totals.sort()
    return [
        base64.b64encode(b"".join(words)).decode() for words in (totals, (w for pair in events for w in pair))
    ]


def _event(event: object) -> bytes:
    values = ("dlp_mgycm", "dap_gym2", "dose_rp_gy", "agd_mgy", "laterality")
    return _word([getattr(event, name) for name in values])


def _administration(one: Administration) -> list[object]:
    """The same word in all the images of one study."""
    return [one.administration_uid, one.agent, one.started_at, one.activity_mbq, one.effective_dose_msv]


def _totals(dose: DoseReport) -> Iterable[list[object]]:
    return ([t.quantity, t.mode, t.plane, t.phantom, t.laterality, t.unit, t.value] for t in dose.totals)


def _scope(event: Study, dose: DoseReport) -> list[str]:
    """What a total is of: equal totals of other events, or of another report without events, are other totals."""
    return sorted({e.irradiation_event_uid for e in dose.events}) or [event.sop_instance_uid]


def read(text: Sequence[str]) -> DoseWords:
    """The words of an arrival from their text; of none (a header without them) nothing."""
    if not text:
        return DoseWords(events={})
    totals, events = (_parts(base64.b64decode(part)) for part in text)
    return DoseWords(tuple(totals), dict(zip(events[::2], events[1::2], strict=True)))


def _parts(words: bytes) -> list[bytes]:
    return [words[at : at + WORD] for at in range(0, len(words), WORD)]


@dataclass(frozen=True, slots=True)
class _Told:
    """One report by its words."""

    words: DoseWords
    version: tuple[object, ...]
    dose: DoseReport

    @property
    def event_uids(self) -> frozenset[bytes]:
        return frozenset(self.words.events or ())


def last_heard(
    holding: Iterable[StudyFact], heard: Iterable[StudyFact], words: Mapping[str, Sequence[str]]
) -> int:
    """When the last of the dose values that hold was first heard, microseconds since 1970 UTC; 0 without any.

    Args:
        holding: the study's dose reports that count, each SOP instance in its newest version.
        heard: all arrivals of the study.
        words: of arrivals whose dose was left out, their `written` words by event id.
    """

    def of(fact: StudyFact) -> DoseWords:
        return read(words.get(fact.event.event_id) or written(fact.event))

    first: dict[object, int] = {}
    for fact in heard:
        told = of(fact)
        for word in (*told.totals, *(told.events or {}).items()):
            first[word] = min(first.get(word, fact.event.received_at), fact.event.received_at)
    told_by = (_Told(of(fact), fact.version, fact.event.dose) for fact in holding if fact.event.dose)
    standing_ones = standing(told_by, lambda r: r.dose, lambda r: bool(r.words.totals or r.words.events))
    reports = sorted(standing_ones, key=lambda r: r.version)
    winning: set[object] = {total for report in counting(reports) for total in report.words.totals}
    newest: dict[bytes, bytes] = {}
    for report in reports:
        newest |= report.words.events or {}
    return max((first[word] for word in winning | set(newest.items())), default=0)
