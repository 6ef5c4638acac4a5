"""Normalised up to here: no raw record stays without its events, whatever died in between.

Several processes on several hosts write one raw topic, so a record without events may be one that a crash left
behind or one that a healthy process is just about to finish. Three things tell them apart:

- Every raw record carries in a header the *life* that stored it: one run of one process, never used again.
- Every life keeps a mark per partition: its own raw records below it have their events. It is the committed
  offset of a consumer group that nobody joins, with a beat beside it; no database is needed. The mark comes from
  generations (see `generations`), so others' records are no holes and order of delivery does not matter.
- One process of each host is a *caretaker*. It looks at all groups, at its start and every few seconds. Of a
  life that is over (its process is gone, or on another host its beat stopped) it normalises what lies above its
  mark, and closes its group. At its start it also takes records that name no life with a group, above the mark
  of all; that mark is the lowest of all marks and moves as they do.

Accepted is a message only under a lease: while the beat was written shortly before. A process that hung for so
long that others may have taken over what it left first tells them that it is back.

An event's id comes from the message's bytes, so an event published twice after a crash has its effect once.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from dosestream.events.codec import Codec
from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.generations import Ends, Generations
from dosestream.kafka.publisher import Publisher
from dosestream.kafka.roster import CLOSED, Member, Roster, Watch
from dosestream.kafka.stretch import INSTANCE_HEADER, Normalise, Renormaliser, Stamp, Stretches
from dosestream.life import Life
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.kafka.normalised_up_to")

HL7_GROUP = "dosestream-normalised-hl7"
DICOM_GROUP = "dosestream-normalised-dicom"

TICK_S = 2.0
LOOK_S = 5.0
RETRY_S = 1.0
# A life on another host whose beat does not change for so long is over.
DEAD_AFTER_S = 30.0
LEASE_S = 20.0
# A produce that failed or was cut off may land in the topic for so long.
SETTLE_S = 10.0
CLOSING_TIMEOUT_S = 3.0
# New messages wait no longer for the repair of what a crash left behind.
OPEN_AFTER_S = 15.0
RENEW_S = 3600.0

# Told at every look: the other lives, and the mark of all.
Looked = Callable[[list[Member], Ends], None]


class RepairStoppedError(Exception):
    """The repair was told to stop; the next start takes it up again."""


class NormalisedUpTo:
    """The marks of one life, and the care for those that are over.

    Use: `start()`; per message, while `is_open`, `begin()`, and with what it returned `finished()` or `failed()`;
    at the end `close()`. `instance` goes into the headers of every raw record.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        topic: str,
        group: str,
        normalise: Normalise,
        publisher: Publisher,
        codec: Codec,
        caretaker: bool = True,
        tick_s: float = TICK_S,
        look_s: float = LOOK_S,
        dead_after_s: float = DEAD_AFTER_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self.life = Life.mine()
        self.instance = (INSTANCE_HEADER, self.life.name.encode())
        self.roster = Roster(kafka, topic, group)
        self.stretches = Stretches(kafka, topic)
        # The store of repeats it shares; known once the cluster is.
        self.store = ""
        # Whether what a crash left behind was normalised, once since the start.
        self.repaired = threading.Event()
        self._topic = topic
        self._caretaker = caretaker
        self._tick_s, self._look_s, self._settle_s = tick_s, look_s, settle_s
        self._renormaliser = Renormaliser(self.stretches, topic, normalise, publisher, codec)
        self._watch = Watch(dead_after_s)
        self._lock = threading.Lock()
        self._generations: Generations | None = None
        self._beat = 0
        self._leased_until = 0.0
        self._accepting = False
        self._open_at = math.inf
        self._ticked_at = self._looked_at = self._renewed_at = 0.0
        self._adopted: dict[str, float] = {}
        self._suspected: tuple[float, Mapping[int, frozenset[str]]] | None = None
        self._looked: Looked = lambda _others, _base: None
        self._looks_anyway: Callable[[], bool] = lambda: False
        self._closing = threading.Event()
        self._background: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        """Whether messages may be begun."""
        return self._accepting and time.monotonic() < self._leased_until

    def begin(self) -> int:
        """A message is about to be stored raw. Any thread."""
        assert self._generations is not None
        with self._lock:
            return self._generations.begin()

    def finished(self, begun: int) -> None:
        """The raw record and everything made from it are in Kafka. Any thread."""
        assert self._generations is not None
        with self._lock:
            self._generations.finished(begun)

    def failed(self, begun: int, content_hash: str) -> None:
        """Not all of it is known to be in Kafka: what is there of it is normalised in a while. Any thread."""
        assert self._generations is not None
        with self._lock:
            self._generations.failed(begun, content_hash[:32])

    def start(
        self,
        *,
        before: Callable[[], None] = lambda: None,
        joined: Callable[[], None] = lambda: None,
        looked: Looked = lambda _others, _base: None,
        looks_anyway: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin, in a thread of its own: wait for the broker, then do `before`, join, do `joined`, repair, open,
        and go on; a repair that takes long goes on beside new messages; `looked` is called after every look of a
        caretaker, or of one who looks anyway. What raises BrokerAwayError is tried again.
        """
        self._looked, self._looks_anyway = looked, looks_anyway

        def prepared() -> None:
            joined()
            self._open_at = time.monotonic() + OPEN_AFTER_S

        steps = [before, self._join, prepared, self._repair]
        self._background = threading.Thread(
            target=self._run, args=(steps,), name="normalised-up-to", daemon=True
        )
        self._background.start()

    def stop(self) -> None:
        """Let a repair that runs end soon."""
        self._closing.set()

    def close(self) -> None:
        """Stop the thread and put the marks once more; nothing may be under way."""
        self._closing.set()
        if self._background is not None:
            self._background.join()
        self._accepting = False
        self.roster.timeout_s = CLOSING_TIMEOUT_S
        if self._generations is not None:
            try:
                self._turn(closing=True)
                if self._caretaker and self.repaired.is_set():
                    self._move_base()
            except BrokerAwayError as error:
                log.warning("%s; the next start normalises a little again", error)
        self.roster.close()
        self.stretches.close()

    def marks(self) -> Ends:
        """Partition to the offset below which every raw record of this life has its events."""
        assert self._generations is not None
        with self._lock:
            return self._generations.marks()

    def keep(self) -> None:
        """Beat where it is time; for long work on this thread.

        Raises:
            RepairStoppedError: `stop()` was called.
            BrokerAwayError: the broker is away.
        """
        if self._closing.is_set():
            raise RepairStoppedError(f"{self._topic}: stopped before the end")
        self._open_in_time()
        if time.monotonic() - self._ticked_at >= self._tick_s:
            self._turn()

    def _open_in_time(self) -> None:
        if time.monotonic() >= self._open_at:
            self._accepting = True

    def _run(self, steps: list[Callable[[], None]]) -> None:
        while steps and not self._closing.is_set():
            try:
                steps[0]()
                del steps[0]
                continue
            except RepairStoppedError:
                return
            except BrokerAwayError as error:
                log.warning("not ready yet: %s", error)
            except Exception:  # messages are taken all the same; what was left behind waits
                log.exception("a step of the start failed and is tried again")
            self._open_in_time()
            self._closing.wait(RETRY_S)
        while not self._closing.wait(self._tick_s if self._leased_until > time.monotonic() else RETRY_S):
            try:
                self._turn()
                self._mend()
                if time.monotonic() - self._looked_at >= self._look_s:
                    self._look(orphans=False)
            except RepairStoppedError:
                return
            except BrokerAwayError as error:
                log.warning("%s", error)
            except Exception:  # the marks stay behind, which is safe; the listener goes on
                log.exception("normalised-up-to: a repair failed and is tried again")

    def _join(self) -> None:
        """Be seen before the first record is stored, so that nobody's mark passes it."""
        ends = self.roster.ends()
        with self._lock:
            self._generations = Generations(ends)
        self._turn()

    def _repair(self) -> None:
        if self._caretaker:
            count = self._look(orphans=True)
            if count:
                log.info("%d raw records were normalised again", count)
        self._accepting = True
        self.repaired.set()

    def _turn(self, closing: bool = False) -> None:
        """Look at the ends, and write marks and beat."""
        assert self._generations is not None
        asked_at = self._ticked_at = time.monotonic()
        ends = self.roster.ends()
        self._beat += 1
        with self._lock:
            self._generations.turn(ends)
            marks = self._generations.marks()
        closed = closing and marks == ends
        beat = CLOSED if closed else str(self._beat)
        self.roster.write(Member(self.life, self.store, beat, marks))
        self._leased_until = asked_at + LEASE_S

    def _look(self, *, orphans: bool) -> int:
        """Take over from lives that are over (with `orphans` also what no life looks after); how many records."""
        if not (self._caretaker or self._looks_anyway()):
            return 0
        self._looked_at = time.monotonic()
        mine = self.marks()
        members = [member for member in self.roster.members() if member.life.name != self.life.name]
        count = 0
        if self._caretaker:
            over = self._watch.over(members)
            if over or orphans:
                count = self._adopt(over, members, orphans=orphans)
            self._move_base(mine)
        self._looked(members, self.roster.base())
        return count

    def _adopt(self, over: list[Member], members: list[Member], *, orphans: bool) -> int:
        base, firsts, ends = self.roster.base(), self.roster.firsts(), self.roster.ends()
        known = {member.life.name for member in members} | {self.life.name}
        marks = {member.life.name: member.marks for member in over}
        count = 0
        for partition, end in sorted(ends.items()):
            first = firsts[partition]
            of_all = base.get(partition, first)
            if orphans and of_all < first:
                log.error(
                    "%s[%d]: records from %d to %d are gone (retention) and may never have been normalised",
                    *(self._topic, partition, of_all, first),
                )

            def wanted(offset: int, of: Stamp, partition: int = partition, of_all: int = of_all) -> bool:
                if (mark := marks.get(of.instance)) is not None:
                    return offset >= mark.get(partition, 0)
                return orphans and of.instance not in known and offset >= of_all

            begin = min([of_all if orphans else end, *(m.get(partition, 0) for m in marks.values())])
            count += self._renormaliser.renormalise(partition, max(begin, first), end, wanted, self.keep)
        for member in over:
            self._take_over(member, ends)
        return count

    def _take_over(self, member: Member, ends: Ends) -> None:
        """What it left is done; its group is closed once nothing of it can land in the topic any more."""
        name = member.life.name
        now = time.monotonic()
        since = self._adopted.setdefault(name, now)
        beat = CLOSED if now - since >= self._settle_s else "adopted"
        self.roster.write(replace(member, beat=beat, marks=ends))
        if beat == CLOSED:
            del self._adopted[name]
        elif since == now:
            log.info("%s is over: what it left behind was taken over", name)

    def _move_base(self, mine: Ends | None = None) -> None:
        """The mark of all is the lowest of those that live; groups that are closed below it are removed."""
        # My own marks were seen before the groups: who joins after that stores above them.
        lowest = dict(self.marks() if mine is None else mine)
        members = self.roster.members()
        if not self.roster.is_listed:
            return
        for member in members:
            if not member.is_closed and member.life.name != self.life.name:
                for partition in lowest:
                    lowest[partition] = min(lowest[partition], member.marks.get(partition, 0))
        base = self.roster.base()
        moved = {p: max(mark, base.get(p, 0)) for p, mark in lowest.items()}
        now = time.monotonic()
        # Offsets of a group without members expire (broker default: 7 days after the commit).
        if moved != base or now - self._renewed_at > RENEW_S:
            self.roster.write_base(moved)
            self._renewed_at = now
        self.roster.remove(
            member.life.name
            for member in members
            if member.is_closed and all(member.marks.get(p, 0) <= mark for p, mark in moved.items())
        )

    def _mend(self) -> None:
        """Normalise own records whose events failed, or whose produce did and yet stored them."""
        assert self._generations is not None
        with self._lock:
            starts, failed = self._generations.doubtful()
        if self._suspected is None:
            self._suspected = (time.monotonic(), failed) if failed else None
            return
        since, suspected = self._suspected
        if time.monotonic() - since < self._settle_s:
            return
        contents = frozenset().union(*suspected.values())
        mine = self.life.name
        count = 0
        for partition, end in self.roster.ends().items():
            count += self._renormaliser.renormalise(
                partition,
                starts.get(partition, 0),
                end,
                lambda _offset, of: of.instance == mine and of.content in contents,
                self.keep,
            )
        if count:
            log.info("%d raw records were normalised again", count)
        with self._lock:
            self._generations.mended(suspected)
        self._suspected = None
