"""Topics archived, verified, checked and restored on a real broker."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from dosestream.archive import manifest
from dosestream.archive.check import cover
from dosestream.archive.container import Archived
from dosestream.archive.errors import DamagedError, GapError, OtherRecordsError
from dosestream.archive.restore import restore
from dosestream.archive.take import archive, whole
from dosestream.archive.verify import verify
from dosestream.kafka.client import producer_config
from dosestream.kafka.reader import PartitionReader, ReadError
from dosestream.kafka.records import Partition
from dosestream.settings import KafkaSettings

PARTITIONS = 2
DAY_MS = 86_400_000
Told = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]], int]


class Topics:
    """Topics of a test's own, made again under the same name."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        self.admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def make(self, name: str, **config: str) -> None:
        (made,) = self.admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config)]).values()
        made.result(30)
        # Its partitions have their leaders a little later.
        reader = PartitionReader(self.kafka)
        deadline = time.monotonic() + 90
        for number in range(PARTITIONS):
            while True:
                try:
                    reader.watermarks(Partition(name, number))
                    break
                except ReadError:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
        reader.close()

    def again(self, name: str, **config: str) -> None:
        """Empty, as on a new broker."""
        (gone,) = self.admin.delete_topics([name]).values()
        gone.result(30)
        deadline = time.monotonic() + 90
        while name in self.admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.make(name, **config)

    def publish(self, name: str, told: list[Told]) -> None:
        failed: list[str] = []
        producer: Any = Producer(producer_config(self.kafka, linger_ms=5, delivery_timeout_ms=20_000))
        for partition, key, value, headers, at in told:
            producer.produce(
                name,
                value,
                key,
                partition=partition,
                headers=headers,
                timestamp=at,
                on_delivery=lambda error, _: failed.append(str(error)) if error else None,
            )
        assert not producer.flush(30) and not failed

    def held(self, name: str) -> list[tuple[int, list[Archived]]]:
        reader = PartitionReader(self.kafka)
        found = []
        for number in range(PARTITIONS):
            where = Partition(name, number)
            found.append((number, list(whole(reader, where, *reader.watermarks(where)))))
        reader.close()
        return found


@pytest.fixture
def topics(kafka: KafkaSettings) -> Topics:
    return Topics(kafka)


@pytest.fixture
def topic(topics: Topics) -> Iterator[str]:
    name = f"test.archive.{secrets.token_hex(6)}"
    topics.make(name)
    yield name
    topics.admin.delete_topics([name])


NOW = int(time.time() * 1000)
RECORDS: list[Told] = [
    (0, b"key", b"value", [("ce_id", b"1"), ("ce_id", b"again")], NOW - 5),
    (0, None, b"without a key", [], NOW - 4),
    (1, b"key", None, [("nothing", None)], NOW - 3),
    (1, b"", b"", [("empty", b"")], NOW - 2),
    (0, b"large", bytes(range(256)) * 4000, [], NOW - 9),
]
MORE: list[Told] = [(n % 2, b"%d" % n, b"more %d" % n, [], NOW + n) for n in range(40)]


def test_a_restored_topic_is_the_archived_one(topics: Topics, topic: str, tmp_path: Path) -> None:
    topics.publish(topic, RECORDS)
    archive(topics.kafka, tmp_path, [topic])
    topics.publish(topic, MORE)
    # The second time only what came since; several files a partition.
    written = archive(topics.kafka, tmp_path, [topic], file_records=7)
    assert sum(one.records for one in written) == len(MORE)
    assert len(written) > PARTITIONS
    assert archive(topics.kafka, tmp_path, [topic]) == []
    assert sum(one.records for one in verify(tmp_path)) == len(RECORDS) + len(MORE)
    before = topics.held(topic)
    topics.again(topic)
    assert restore(topics.kafka, tmp_path) == len(RECORDS) + len(MORE)
    assert topics.held(topic) == before
    assert restore(topics.kafka, tmp_path) == 0


def test_a_restore_goes_on_where_it_was_cut_off(topics: Topics, topic: str, tmp_path: Path) -> None:
    topics.publish(topic, [*RECORDS, *MORE])
    archive(topics.kafka, tmp_path, [topic], file_records=3)
    before = topics.held(topic)
    topics.again(topic)
    topics.publish(topic, [*RECORDS, *MORE][:9])
    assert restore(topics.kafka, tmp_path) == len(RECORDS) + len(MORE) - 9
    assert topics.held(topic) == before


def test_a_topic_with_other_records_is_not_restored_into(topics: Topics, topic: str, tmp_path: Path) -> None:
    topics.publish(topic, RECORDS)
    archive(topics.kafka, tmp_path, [topic])
    for others in (MORE[:2], [*RECORDS, *MORE]):
        topics.again(topic)
        topics.publish(topic, others)
        with pytest.raises(OtherRecordsError, match="empty topic"):
            restore(topics.kafka, tmp_path)


def cut_short(folder: Path, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(folder: Path, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def other_file(folder: Path, path: Path) -> None:
    """Whole, and named in the manifest by its own hash, but of other records."""
    document = json.loads((folder / manifest.NAME).read_text())
    one, other = (e for e in document["files"] if e["partition"] == 0)
    names = [folder / manifest.Entry(**e).path for e in (one, other)]
    names[0].write_bytes(names[1].read_bytes())
    one["sha256"] = other["sha256"]
    (folder / manifest.NAME).write_text(json.dumps(document))


def left_out(folder: Path, path: Path) -> None:
    document = json.loads((folder / manifest.NAME).read_text())
    _first, second = (n for n, e in enumerate(document["files"]) if e["partition"] == 0)
    document["files"][second]["first"] += 1
    (folder / manifest.NAME).write_text(json.dumps(document))


def in_two(folder: Path, path: Path) -> None:
    document = json.loads((folder / manifest.NAME).read_text())
    _first, second = (n for n, e in enumerate(document["files"]) if e["partition"] == 0)
    document["files"][second]["first"] -= 1
    (folder / manifest.NAME).write_text(json.dumps(document))


def no_manifest(folder: Path, path: Path) -> None:
    (folder / manifest.NAME).write_text("{")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (cut_short, DamagedError),
        (flip_a_bit, DamagedError),
        (lambda _, path: path.unlink(), DamagedError),
        (other_file, DamagedError),
        (no_manifest, DamagedError),
        (left_out, GapError),
        (in_two, GapError),
    ],
    ids=["cut short", "a bit flipped", "a file gone", "another file", "no manifest", "a gap", "an overlap"],
)
def test_an_archive_that_is_not_whole_is_told_and_not_restored(
    topics: Topics,
    topic: str,
    tmp_path: Path,
    spoil: Callable[[Path, Path], object],
    error: type[Exception],
) -> None:
    topics.publish(topic, RECORDS)
    archive(topics.kafka, tmp_path, [topic], file_records=2)
    (first, *_) = (one for one in manifest.load(tmp_path) if one.partition == 0)
    spoil(tmp_path, tmp_path / first.path)
    topics.again(topic)
    with pytest.raises(error):
        verify(tmp_path)
    with pytest.raises(error):
        restore(topics.kafka, tmp_path)
    assert [records for _, records in topics.held(topic)] == [[], []]


def test_what_expires_before_it_is_archived_is_told(topics: Topics, topic: str, tmp_path: Path) -> None:
    # The broker looks for old segments every five minutes; here nothing is taken before the test is over.
    topics.again(topic, **{"retention.ms": str(5 * DAY_MS)})
    old: list[Told] = [(0, b"old", b"%d" % n, [], NOW - 4 * DAY_MS) for n in range(3)]
    topics.publish(topic, [*old, (0, b"new", b"new", [], NOW)])

    def told() -> tuple[int, int]:
        found = cover(topics.kafka, tmp_path, [topic])
        return sum(one.lost for one in found), sum(one.endangered for one in found)

    assert told() == (0, 3)
    archive(topics.kafka, tmp_path, [topic])
    assert told() == (0, 0)
    topics.publish(topic, MORE[:6])
    gone = topics.admin.delete_records([TopicPartition(topic, 0, 5)])
    for future in gone.values():
        future.result(30)
    assert told() == (1, 0)
    with pytest.raises(GapError, match="expired before they were archived"):
        archive(topics.kafka, tmp_path, [topic])
