"""A new generation kept up with the live one, by the same engine."""

import time
from collections.abc import Callable, Mapping

from dosestream.db.generations import Generation
from dosestream.events.codec import Codec
from dosestream.kafka.reader import ReadError, RetentionError, lost
from dosestream.kafka.records import Partition
from dosestream.kafka.scan import Scanner
from dosestream.kafka.topics import Topic
from dosestream.reconcile.rules import Rules
from dosestream.settings import Settings
from services.reconciler.engine import Engine

# Groups derived again in one transaction: nobody waits for a generation that is not shown.
LOT = 500
# How often a partition that does not move is tried again, and how long between.
TRIES = 20
BETWEEN_S = 0.5


class StandstillError(Exception):
    """A partition could not be read as far as the live generation had come; the message says where and why."""


def behind(positions: Mapping[Partition, int], goal: Mapping[Partition, int]) -> dict[Partition, int]:
    """Records between each position and the goal, where there are any."""
    return {
        partition: stop - positions.get(partition, 0)
        for partition, stop in goal.items()
        if positions.get(partition, 0) < stop
    }


class Follower(Engine):
    """An engine on a generation that nobody else writes to."""

    def __init__(self, settings: Settings, codec: Codec, rules: Rules, generation: Generation) -> None:
        super().__init__(settings, codec, rules, generation)
        self._scanner = Scanner(settings.kafka)

    def reach(
        self, goal: Mapping[Partition, int], heard: Callable[[int], None] = lambda _: None
    ) -> Mapping[Partition, int]:
        """Apply what lies between the ledger and the goal; returns the ledger's positions.

        Args:
            goal: next offsets to come to.
            heard: told of every batch how many records it had.

        Raises:
            RetentionError: records before the goal are no longer held.
            StandstillError: a partition cannot be read on.
        """
        tries = 0
        goal = self.within(goal)
        while True:
            positions = self.positions()
            missing = behind(positions, goal)
            if not missing:
                return positions
            reason = "no record came"
            try:
                self._read_on({p: (positions.get(p, 0), goal[p]) for p in missing}, heard)
            except RetentionError:
                raise
            except ReadError as away:
                reason = str(away)
            tries = tries + 1 if self.positions() == positions else 0
            if tries > TRIES:
                where = sorted(behind(self.positions(), goal))[0]
                raise StandstillError(
                    f"{where.topic}[{where.number}] stands at offset {self.positions().get(where, 0)} and is to "
                    f"reach {goal[where]}: {reason}"
                )
            if tries:
                time.sleep(BETWEEN_S)

    def within(self, goal: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """The goal as far as there are records: a topic that was lost and made again ends before the ledger of a
        generation that had applied it."""
        missing = behind(self.positions(), goal)
        ends = self._insist(lambda: {p: self._reader.watermarks(p)[1] for p in missing})
        return {**goal, **{p: min(goal[p], end) for p, end in ends.items()}}

    def _read_on(self, stretches: dict[Partition, tuple[int, int]], heard: Callable[[int], None]) -> None:
        lows = {partition: self._reader.watermarks(partition)[0] for partition in stretches}
        for partition, (start, stop) in stretches.items():
            if partition.topic == Topic.CLOCK:
                # Its newest record counts.
                stretches[partition] = max(lows[partition], stop - 1), stop
            elif start < lows[partition]:
                raise lost(partition, start, lows[partition])
        for records in self._scanner.read(stretches):
            self.apply_read(self.read(records))
            heard(len(records))

    def close(self) -> None:
        """Leave the servers."""
        self._scanner.close()
        super().close()

    def settle(self) -> int:
        """Derive again all that patients, the clock or the rules touched; returns how many groups that were."""
        done = 0
        while found := self.drain(LOT):
            done += found
        return done
