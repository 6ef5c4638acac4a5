"""A new generation kept up with the live one, by the same engine."""

import time
from collections.abc import Callable, Mapping

from dosestream.kafka.reader import ReadError, RetentionError
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic
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
        while True:
            positions = self.positions()
            missing = behind(positions, goal)
            if not missing:
                return positions
            reason = "no record came"
            for partition in sorted(missing):
                try:
                    self._read_on(partition, positions.get(partition, 0), goal[partition], heard)
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

    def _read_on(self, partition: Partition, start: int, stop: int, heard: Callable[[int], None]) -> None:
        if partition.topic == Topic.CLOCK:
            # Its newest record counts.
            start = max(self._reader.watermarks(partition)[0], stop - 1)
        for records in self._reader.read(partition, start, stop):
            self.apply_read(self.read(records))
            heard(len(records))

    def settle(self) -> int:
        """Derive again all that patients, the clock or the rules touched; returns how many groups that were."""
        done = 0
        while found := self.drain(LOT):
            done += found
        return done
