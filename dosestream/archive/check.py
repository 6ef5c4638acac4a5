"""Whether a topic may let anything expire that no archive holds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from dosestream.archive import manifest
from dosestream.archive.take import TOPICS
from dosestream.kafka.client import admin_config, consumer_config
from dosestream.kafka.reader import PartitionReader, ReadError
from dosestream.kafka.records import Partition
from dosestream.settings import KafkaSettings

# Records that would expire within this time are in danger: archive once a day, and there is a day to spare.
MARGIN_MS: Final = 2 * 86_400_000
TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Cover:
    """One partition and how far the archive has it.

    Attributes:
        retention_ms: -1 keeps for ever.
        low, high: offsets that the topic holds.
        archived: the offset up to which the archive has it, None where it has nothing.
        lost: records that expired and that the archive does not have.
        endangered: records that expire within `MARGIN_MS` and that the archive does not have.
    """

    where: Partition
    retention_ms: int
    low: int
    high: int
    archived: int | None
    lost: int
    endangered: int


def cover(kafka: KafkaSettings, folder: Path, topics: Sequence[str] = tuple(map(str, TOPICS))) -> list[Cover]:
    """How far the archive has each partition of these topics.

    Raises:
        ReadError: the broker is away.
        DamagedError, GapError: the manifest cannot be used.
    """
    chains = manifest.chains(manifest.load(folder))
    now = int(time.time() * 1000)
    limits = _limits(kafka, topics)
    consumer: Any = Consumer(consumer_config(kafka, group="dosestream-reader"))
    places = PartitionReader(kafka)
    found = []
    try:
        for topic in topics:
            for where in places.partitions(topic):
                low, high = places.watermarks(where)
                files = chains.get(where)
                stop = files[-1].stop if files else None
                # What was never archived from its first record on is lost too.
                begin = files[0].first if files else low
                limit = limits[topic]
                safe = low
                if limit >= 0:
                    safe = _first_at(consumer, where, now - limit + MARGIN_MS, high)
                found.append(
                    Cover(
                        where,
                        limit,
                        low,
                        high,
                        stop,
                        lost=begin + max(0, low - stop) if stop is not None else low,
                        endangered=max(0, safe - max(low, stop or 0)),
                    )
                )
    finally:
        places.close()
        consumer.close()
    return found


def _limits(kafka: KafkaSettings, topics: Sequence[str]) -> dict[str, int]:
    """`retention.ms` of topics that lose records by their age; -1 for those that do not."""
    admin = AdminClient(admin_config(kafka))
    try:
        asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in topics])
        answers = {one.name: future.result(timeout=TIMEOUT_S) for one, future in asked.items()}
    except KafkaException as error:
        raise ReadError(f"Kafka at {kafka.bootstrap} does not answer: {error}") from error
    return {
        topic: int(config["retention.ms"].value) if "delete" in config["cleanup.policy"].value else -1
        for topic, config in answers.items()
    }


def _first_at(consumer: Any, where: Partition, millis: int, high: int) -> int:
    """The offset of the first record of that time or later."""
    try:
        (at,) = consumer.offsets_for_times(
            [TopicPartition(where.topic, where.number, max(0, millis))], timeout=TIMEOUT_S
        )
    except KafkaException as error:
        raise ReadError(f"{where.topic}[{where.number}]: {error}") from error
    return int(at.offset) if at.offset >= 0 else high
