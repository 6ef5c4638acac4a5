"""A live-ordered stream of events for the benches: visits of patients, overlapping, mostly ADT."""

import random
from collections import deque
from collections.abc import Iterator

from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.events.records import (
    Demographics,
    DoseReport,
    DoseTotal,
    Identifier,
    IrradiationEvent,
    Order,
    Patient,
    Study,
)
from dosestream.kafka.topics import Topic

CODEC = Codec()
# 2026-03-02 08:00 UTC.
START = 1_772_438_400_000_000
STEP_US = 2_000_000
# Of a real feed 65 to 95 % are ADT.
LIVE_ADT = 0.75

Said = tuple[Topic, Patient | Order | Study]


class Stream:
    """An endless hospital; `adt` is the share of ADT messages, None for a live mix; with `years` one visit
    follows another after days, not at the same time.

    Attributes:
        studies: how many were begun.
    """

    def __init__(
        self, seed: int, adt: float | None = None, patients: int = 20_000, years: bool = False
    ) -> None:
        self._rng = random.Random(seed)
        self._seed = seed
        self.adt = LIVE_ADT if adt is None else adt
        self._patients = patients
        self._number = 0
        self._step_us, self._at_once = (6 * 3_600_000_000, 1) if years else (STEP_US, 50)
        self._running: deque[Iterator[Said]] = deque()
        self._names: dict[int, str] = {}
        self.studies = 0
        self._correcting = False

    def correct(self) -> None:
        """Let the next message correct a patient's name."""
        self.adt, self._correcting = 1.0, True

    def events(self, count: int) -> Iterator[Said]:
        """The next events, in the order they are heard."""
        for _ in range(count):
            if self._rng.random() < self.adt:
                yield self._adt()
                continue
            while True:
                if len(self._running) < self._at_once:
                    self._running.append(self._visit())
                visit = self._running.popleft()
                if (said := next(visit, None)) is not None:
                    self._running.append(visit)
                    yield said
                    break

    def _envelope(self) -> dict[str, object]:
        self._number += 1
        at = START + self._number * self._step_us
        return {
            "event_id": content_hash(f"{self._seed}:{self._number}".encode())[:32],
            "source": "RIS|HOSP",
            "control_id": f"M{self._number}",
            "received_at": at,
            "raw_partition": 0,
            "raw_offset": self._number,
            "event_time": at,
            "message_time": at,
        }

    def _someone(self) -> int:
        """The patient whom the next event is about."""
        return self._rng.randrange(self._patients)

    def _person(self, number: int) -> Demographics:
        name = self._names.setdefault(number, f"DOE{number}^JANE")
        return Demographics(
            identifiers=(Identifier(authority="HOSP", value=f"P{self._seed}-{number}"),),
            name=name,
            birth_date="1970-01-01",
            sex="F",
        )

    def _adt(self) -> Said:
        number = self._someone()
        if self._correcting or self._rng.random() < 0.02:
            self._names[number] = f"ROE{self._number}^JANE"
        who = self._person(number)
        return Topic.PATIENT, Patient(**self._envelope(), action="update", trigger="A08", patient=who)  # type: ignore[arg-type]

    def _visit(self) -> Iterator[Said]:
        """A placer order, the filler's, started, the report (growing, at times), completed."""
        number = self._someone()
        self.studies += 1
        key = f"{self._seed}-{self.studies}"
        uid = f"1.2.826.{self._seed}.{self.studies}"
        scheduled = START + self._number * self._step_us + 3_600_000_000
        placed = {"placer_order_number": f"PL{key}", "patient": self._person(number)}
        filled = placed | {
            "filler_order_number": f"F{key}",
            "accession_number": f"A{key}",
            "requested_procedure_id": f"RP{key}",
            "procedure_code": "CTABD",
            "procedure_meaning": "CT abdomen",
            "modality": "CT",
            "scheduled_at": scheduled,
        }
        for code, status, fields in (
            ("NW", "", placed),
            ("NW", "SC", filled | {"study_instance_uid": uid}),
            ("SC", "IP", filled),
        ):
            yield (
                Topic.ORDER,
                Order(**self._envelope(), control_code=code, order_status=status, **fields),  # type: ignore[arg-type]
            )
        for part in range(1 + (self._rng.random() < 0.2)):
            yield Topic.STUDY, self._report(uid, key, number, part + 1, scheduled)
        yield Topic.ORDER, Order(**self._envelope(), control_code="SC", order_status="CM", **filled)  # type: ignore[arg-type]

    def _report(self, uid: str, key: str, number: int, events: int, at: int) -> Study:
        return Study(
            **self._envelope(),  # type: ignore[arg-type]
            kind="dose_report",
            study_instance_uid=uid,
            sop_instance_uid=f"{uid}.{events}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67",
            modality="SR",
            study_at=at,
            accession_number=f"A{key}",
            station_name="CT1",
            manufacturer="ACME",
            patient=Demographics(
                identifiers=(Identifier(authority="", value=f"P{self._seed}-{number}"),),
                name=self._names[number],
            ),
            dose=DoseReport(
                template="10011",
                totals=(DoseTotal(quantity="ct_dlp", value=100.0 * events, unit="mGy.cm"),),
                events=tuple(
                    IrradiationEvent(irradiation_event_uid=f"{uid}.9.{n}", dlp_mgycm=100.0)
                    for n in range(events)
                ),
            ),
        )
