"""`dosestream simulate --reports N`: a folder of synthetic reports with the answers beside them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path

from dosestream.simulate.folder import clear
from dosestream.simulate.sr_catalogue import NAMES, planned
from dosestream.simulate.sr_document import Plan
from dosestream.simulate.sr_draw import Draw
from dosestream.simulate.sr_faults import FAULTS, faulty
from dosestream.simulate.sr_plan import Answer
from dosestream.simulate.sr_reports import draw
from dosestream.simulate.sr_sequences import SEQUENCES, Sent, Study
from dosestream.simulate.timeline import HOUR, SECOND


@dataclass(frozen=True, slots=True)
class Made:
    """What belongs together: instances in the order of sending, and the studies they come to where there are several."""

    label: str
    plans: tuple[Plan, ...]
    studies: tuple[Study, ...] = ()


def reports(seed: int, base: date) -> Iterator[Made]:
    """Synthetic reports without end: every kind, then every fault of every kind, then every sequence, and again with
    other numbers. They are of the days before `base`, each an hour earlier than the one before.
    """
    midnight = int(datetime(base.year, base.month, base.day, tzinfo=UTC).timestamp()) * SECOND
    chances = (draw(f"{seed}/{base.isoformat()}/{n}", midnight - (n + 1) * HOUR) for n in count())
    while True:
        yield from (Made(name, (planned(name, next(chances)),)) for name in NAMES)
        yield from _faulty(chances)
        for label, (make, names) in SEQUENCES.items():
            for name in names:
                sent: Sent = make(name, next(chances))
                yield Made(f"{label} {name}", sent.plans, sent.studies)


def _faulty(chances: Iterator[Draw]) -> Iterator[Made]:
    for fault in FAULTS:
        for name in NAMES:
            if (plan := faulty(planned(name, next(chances)), fault)) is not None:
                yield Made(f"{name} {fault}", (plan,))


def write_reports(out: Path, number: int, seed: int, base: date | None = None) -> tuple[int, int]:
    """Write `number` reports and sequences of them below `out`; those of an earlier simulation are removed first.

    `dicom/NNNNNN-LABEL.dcm` are the instances; a line of `answers.jsonl` says what must be read from each, a line of
    `studies.jsonl` what a study comes to that several of them tell of.

    Args:
        number: how many reports; a sequence counts as one.
        seed: the same seed and base make the same bytes.
        base: today (UTC) unless given.

    Returns:
        How many files were written, and how many studies are told of by several.

    Raises:
        ForeignFolderError: the folder holds files of another origin.
        OSError: the folder cannot be written.
    """
    clear(out)
    (out / "dicom").mkdir(parents=True, exist_ok=True)
    answers: list[Answer] = []
    studies: list[Answer] = []
    made = reports(seed, base or datetime.now(UTC).date())
    for _ in range(number):
        one = next(made)
        for plan in one.plans:
            name = f"dicom/{len(answers) + 1:06d}-{one.label.replace(' ', '-')}.dcm"
            (out / name).write_bytes(plan.body())
            answers.append({"file": name, **plan.answer()})
        studies += [study.answer() for study in one.studies]
    for listing, lines in (("answers.jsonl", answers), ("studies.jsonl", studies)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (out / listing).write_text(text, encoding="utf-8")
    return len(answers), len(studies)
