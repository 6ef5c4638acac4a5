"""Who writes a raw topic, and how far the records of each have their events: consumer groups that nobody joins.

One group for every life (see `dosestream.life`), named `<base>.<life>`; its committed offsets are its marks,
and the text beside them says who it is and beats. The group `<base>` holds the mark of all together.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.client import admin_config, consumer_config
from dosestream.kafka.generations import Ends
from dosestream.life import Life
from dosestream.settings import KafkaSettings

CALL_TIMEOUT_S = 5.0
CLOSED = "closed"
FORMAT = "1"


@dataclass(frozen=True, slots=True)
class Member:
    """A life that has a group.

    Attributes:
        store: which store of repeats it shares; lives of one store know each other's receipts.
        beat: changes while it lives; `closed` after a clean end, or when another took over what it left.
        marks: partition to the offset below which every raw record of its own has its events.
    """

    life: Life
    store: str
    beat: str
    marks: Ends = field(default_factory=dict)

    @property
    def is_closed(self) -> bool:
        return self.beat == CLOSED

    def text(self) -> str:
        """What stands beside the offsets."""
        life = self.life
        return f"{FORMAT} {life.machine or '-'} {life.pid} {life.started} {self.store or '-'} {self.beat}"

    @classmethod
    def read(cls, name: str, text: str, marks: Ends) -> "Member":
        """The opposite of `text`; what it does not understand is a life of which only its beat is known."""
        words = text.split(" ")
        if len(words) == 6 and words[0] == FORMAT and words[2].isdigit() and words[3].isdigit():
            machine, store = (("" if word == "-" else word) for word in (words[1], words[4]))
            return cls(Life(name, machine, int(words[2]), int(words[3])), store, words[5], marks)
        return cls(Life(name, "", 0, 0), "", text, marks)


class Roster:
    """The groups of one raw topic.

    Every method raises BrokerAwayError where the broker does not answer in time.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, base: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._base = base
        self._admin: Any = self._client()
        # One for each group that is looked at.
        self._readers: dict[str, Any] = {}
        self._partitions: list[int] = []
        # False once the broker said that groups cannot be listed: then only the base is known.
        self.is_listed = True
        self.timeout_s = CALL_TIMEOUT_S

    def cluster(self) -> str:
        """The cluster's id."""
        return str(self._ask(lambda: self._admin.list_topics(timeout=self.timeout_s)).cluster_id)

    def ends(self, spec: Any = None) -> dict[int, int]:
        """Partition to the offset after its last record; to its first one held with `OffsetSpec.earliest()`."""
        metadata = self._ask(lambda: self._admin.list_topics(self._topic, timeout=self.timeout_s))
        found = metadata.topics[self._topic]
        if found.error is not None:
            raise BrokerAwayError(f"{self._topic}: {found.error}: create the topics first")
        self._partitions = sorted(found.partitions)
        wanted = {TopicPartition(self._topic, p): spec or OffsetSpec.latest() for p in self._partitions}
        answers = self._admin.list_offsets(wanted, request_timeout=self.timeout_s)
        return {where.partition: int(self._result(future).offset) for where, future in answers.items()}

    def firsts(self) -> dict[int, int]:
        """Partition to the first offset held."""
        return self.ends(OffsetSpec.earliest())

    def base(self) -> dict[int, int]:
        """The mark of all: every raw record below it has its events. A partition without one is left out."""
        return self._offsets(self._base)[0]

    def members(self) -> list[Member]:
        """Every life that has a group; none where the broker cannot list them."""
        future = self._admin.list_consumer_groups(request_timeout=self.timeout_s)
        listed = self._result(future)
        unsupported = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
        if listed.errors:
            if any(error.code() not in unsupported for error in listed.errors):
                raise BrokerAwayError(f"groups cannot be listed: {listed.errors[0]}")
            self.is_listed = False
        prefix = f"{self._base}."
        names = [group.group_id for group in listed.valid if group.group_id.startswith(prefix)]
        self._read_only({self._base, *names})
        found = []
        for name in sorted(names):
            marks, text = self._offsets(name)
            if marks:
                found.append(Member.read(name.removeprefix(prefix), text, marks))
        return found

    def write(self, member: Member) -> None:
        """Put a life's marks and its beat where the others see them."""
        self._commit(f"{self._base}.{member.life.name}", member.marks, member.text())

    def write_base(self, marks: Ends) -> None:
        """Put the mark of all."""
        self._commit(self._base, marks, "")

    def remove(self, names: Iterable[str]) -> None:
        """Remove the groups of lives; one that cannot be removed stays until the broker lets it expire."""
        if groups := [f"{self._base}.{name}" for name in names]:
            for future in self._admin.delete_consumer_groups(groups, request_timeout=self.timeout_s).values():
                try:
                    future.result(self.timeout_s)
                except (KafkaException, FutureTimeoutError):
                    continue

    def close(self) -> None:
        """Give the connections up; whoever asks on opens them again."""
        self._read_only(())

    def _offsets(self, group: str) -> tuple[dict[int, int], str]:
        if not self._partitions:
            self.ends()
        # Named one by one: not every broker answers for a group as a whole.
        wanted = [TopicPartition(self._topic, p) for p in self._partitions]
        found = self._ask(lambda: self._reader(group).committed(wanted, timeout=self.timeout_s))
        for at in found:
            if at.error is not None:
                raise BrokerAwayError(f"{group}: offsets cannot be read: {at.error}")
        marks = {at.partition: int(at.offset) for at in found if at.offset >= 0}
        return marks, next((at.metadata for at in found if at.metadata), "")

    def _commit(self, group: str, marks: Mapping[int, int], text: str) -> None:
        offsets = [TopicPartition(self._topic, p, offset, text) for p, offset in sorted(marks.items())]
        answer = self._admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, offsets)], request_timeout=self.timeout_s
        )
        for future in answer.values():
            for at in self._result(future).topic_partitions:
                if at.error is not None:
                    raise BrokerAwayError(f"{group}: offsets were not committed: {at.error}")

    def _result(self, future: "Future[Any]") -> Any:
        return self._ask(lambda: future.result(self.timeout_s + 1))

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (KafkaException, FutureTimeoutError) as error:
            # A client that lived through a restart of the broker may hold on to a leader that is no more.
            self._admin = self._client()
            self.close()
            raise BrokerAwayError(f"Kafka at {self._kafka.bootstrap} does not answer: {error}") from error

    def _reader(self, group: str) -> Any:
        """Reads the offsets of a group, which it does not join.

        Not `AdminClient.list_consumer_group_offsets`: librdkafka 2.16 ends the process with SIGSEGV where a broker
        answers it that it is not the group's coordinator, as one does that comes back.
        """
        if group not in self._readers:
            self._readers[group] = Consumer({**consumer_config(self._kafka, group=group), "log_level": 3})
        return self._readers[group]

    def _read_only(self, groups: Collection[str]) -> None:
        for gone in self._readers.keys() - set(groups):
            self._readers.pop(gone).close()

    def _client(self) -> Any:
        return AdminClient(admin_config(self._kafka))


class Watch:
    """Tells which lives are over: by the system where they run on this machine, else by beats that stop."""

    def __init__(self, dead_after_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._dead_after_s = dead_after_s
        self._now = now
        self._seen: dict[str, tuple[str, float]] = {}

    def over(self, members: Iterable[Member]) -> list[Member]:
        """Those of the members that are over and not closed. A life is seen twice before its beat counts."""
        now, seen, found = self._now(), {}, []
        for member in members:
            name = member.life.name
            beat, since = self._seen.get(name, ("", now))
            seen[name] = (beat, since) if beat == member.beat else (member.beat, now)
            silent = now - seen[name][1] >= self._dead_after_s
            is_over = member.life.is_over()
            if not member.is_closed and (is_over or (is_over is None and silent)):
                found.append(member)
        self._seen = seen
        return found
