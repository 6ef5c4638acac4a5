"""What a bulk build is asked for, what it tells meanwhile, and what it leaves: values that travel.

The build itself is `services.reconciler.replay.build.build(settings, plan, progress)`:

    built = build(settings, BuildPlan(generation, stops, work=folder), print)

The tables of the generation must be there (`dosestream.db.generations.migrate_tables`) and are emptied first. What
is built is what `dosestream.db.apply` would have left of the same records, ledger included; the outbox stays empty.
A build that was interrupted goes on where it is started again with the same plan: stages that were finished are not
done again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dosestream.db.generations import Generation
from dosestream.db.records import Decoded, Stopped
from dosestream.kafka.records import Partition, Record
from dosestream.settings import Settings

# Records of any partitions, ascending by offset in each, as events; and the partitions that cannot go on. A decoded
# record may be one of another topic than it was read from, and several may come of one; its value is the event's record,
# or None where the event is no fact and was not read from it.
Reading = Callable[[Sequence[Record]], tuple[list[Decoded], list[Stopped]]]
# Makes a `Reading` in each worker process: a function of a module, found there by its name.
ReadingMaker = Callable[[Settings], Reading]


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What is to be built.

    Attributes:
        generation: whose tables are filled.
        stops: each partition is read from its earliest offset up to this one, which is not read.
        work: a folder for what is put aside, on a disk with room for about twice the topics; it is kept
            while the build is not finished, and emptied then.
        until: events received later, microseconds since 1970 UTC, are left out; None leaves out none. The clock then
            stands at the newest tick that is not later, or there where ticks so old are no longer held.
        workers: processes that work at a time.
        ledger: positions the ledger has afterwards; None: `stops`.
        reading: what makes events of records.
    """

    generation: Generation
    stops: Mapping[Partition, int]
    work: Path
    until: int | None = None
    workers: int = 2
    ledger: Mapping[Partition, int] | None = None
    reading: ReadingMaker | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is. Of each stage `done` grows up to `total`; stages come in the order of `STAGES`.

    Attributes:
        stage: one of `STAGES`.
        done, total: in `unit`.
        unit: what is counted: events, patients, groups, indexes.
        share: of the whole build, 0 to 1, as far as can be told.
    """

    stage: str
    done: int
    total: int
    unit: str
    share: float


# Name of each stage to what it counts and its usual share of the time.
STAGES: Mapping[str, tuple[str, float]] = {
    "gather": ("events", 0.45),
    "connect": ("facts", 0.05),
    "patients": ("patients", 0.15),
    "derive": ("groups", 0.20),
    "write": ("groups", 0.10),
    "index": ("indexes", 0.05),
}


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage took: seconds, CPU seconds of our processes, and the most memory one of them had, in bytes."""

    wall_s: float
    cpu_s: float
    memory: int


@dataclass(frozen=True, slots=True)
class Built:
    """What a build left.

    Attributes:
        events: events that were read, those left out not counted.
        left_out: events received after `until`.
        repeats: events that were read again.
        quarantined: records that could not be read.
        facts, groups, patients: what is in the tables.
        begins: the earliest offset held of each partition; above 0 what came before it is lost to the build.
        ledger: the next offset of each partition, as the ledger says.
        costs: by stage; stages that an earlier start had finished are as that one found them.
    """

    events: int
    left_out: int
    repeats: int
    quarantined: int
    facts: int
    groups: int
    patients: int
    begins: Mapping[Partition, int]
    ledger: Mapping[Partition, int]
    costs: Mapping[str, StageCost] = field(default_factory=dict)


class BuildError(Exception):
    """A build that cannot go on; the message says what to do. What was finished is not done again."""


class BuildRunningError(BuildError):
    """Another process builds this generation: wait for it, or end it."""


class StoppedPartitionsError(BuildError):
    """Records were written with a schema that is not known: publish it, then build again."""

    def __init__(self, stopped: Sequence[Stopped]) -> None:
        first = stopped[0]
        super().__init__(
            f"{first.partition.topic}[{first.partition.number}] cannot be read from offset {first.offset} on: {first.reason}"
        )
        self.stopped = tuple(stopped)

    def __reduce__(self) -> tuple[type["StoppedPartitionsError"], tuple[tuple[Stopped, ...]]]:
        """It comes from a worker process."""
        return StoppedPartitionsError, (self.stopped,)
