"""Plays a timeline through the real ports: MLLP for HL7, C-STORE for dose reports."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from dosestream.client.send import MllpSender, SendError, code
from dosestream.client.store import StoreError, Storer
from dosestream.simulate.timeline import HL7, Step

# Between two tries of one step.
PAUSE_S = 0.2


class Ports(NamedTuple):
    """Where the receiver listens."""

    mllp_host: str
    mllp_port: int
    dicom_host: str
    dicom_port: int
    ae_title: str

    @classmethod
    def of(cls, ready: Mapping[str, Mapping[str, object]]) -> "Ports":
        """From the content of a ready file."""
        mllp, dicom = ready["mllp"], ready["dicom"]
        return cls(
            str(mllp["host"]),
            int(str(mllp["port"])),
            str(dicom["host"]),
            int(str(dicom["port"])),
            str(dicom["ae_title"]),
        )


class Surprise(NamedTuple):
    """A step that was not answered as a correct receiver answers."""

    step: Step
    answer: str

    def __str__(self) -> str:
        step = self.step
        return f"{step.kind} {step.name} was answered {self.answer}, but {step.answer} is right"


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it: how many steps got which answer, and the surprises among them."""

    answers: Mapping[str, int]
    surprises: tuple[Surprise, ...]


def play(
    steps: Sequence[Step],
    ports: Ports,
    patience_s: float = 0.0,
    progress: Callable[[int], None] = lambda done: None,
) -> Played:
    """Send every step, in this order, one after the other.

    Each sending system keeps a connection of its own, as do the scanners. A step whose answer is a surprise,
    or that gets none, is sent again for `patience_s` seconds, as a real sender does; then it is given up.

    Args:
        progress: told the number of steps done after each one.
    """
    answers: Counter[str] = Counter()
    surprises: list[Surprise] = []
    with ExitStack() as stack:
        lines = _Lines(ports, stack)
        for number, step in enumerate(steps, 1):
            answer = _insist(lines, step, patience_s)
            answers[answer] += 1
            if answer != step.answer:
                surprises.append(Surprise(step, answer))
            progress(number)
    return Played(dict(answers), tuple(surprises))


def _insist(lines: "_Lines", step: Step, patience_s: float) -> str:
    deadline = time.monotonic() + patience_s
    while (answer := lines.say(step)) != step.answer and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    return answer


class _Lines:
    """The open connections: one a sending system, one a calling AE title."""

    def __init__(self, ports: Ports, stack: ExitStack) -> None:
        self._ports, self._stack = ports, stack
        self._mllp: dict[str, MllpSender] = {}
        self._dicom: dict[str, Storer] = {}

    def say(self, step: Step) -> str:
        """Send one step; its answer, or `no answer`."""
        try:
            return self._send(step) if step.channel == HL7 else self._store(step)
        except (SendError, StoreError):
            return "no answer"

    def _send(self, step: Step) -> str:
        if (line := self._mllp.get(step.sender)) is None:
            line = self._stack.enter_context(MllpSender(self._ports.mllp_host, self._ports.mllp_port))
            self._mllp[step.sender] = line
        return code(line.send(step.body))

    def _store(self, step: Step) -> str:
        if (line := self._dicom.get(step.sender)) is None:
            ports = self._ports
            line = self._stack.enter_context(
                Storer(ports.dicom_host, ports.dicom_port, ports.ae_title, step.sender)
            )
            self._dicom[step.sender] = line
        return f"{line.store(step.body):04X}"
