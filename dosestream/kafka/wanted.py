"""What the topics of a site should be: the table of `topics`, with what the site sets over it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from dosestream.kafka.topics import DAY_MS, FOR_EVER, TOPICS, Topic
from dosestream.settings import KafkaSettings, RetentionSettings

# compression.type of a topic that keeps its records as the producer compressed them.
AS_PRODUCED = "producer"


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """One topic as it should be.

    Attributes:
        partitions: how many.
        replication: copies of each of them.
        config: topic configuration by the broker's names.
        is_fact: everything is derived from its records, so none of them may be lost.
    """

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]
    is_fact: bool


def wanted_topics(
    kafka: KafkaSettings, *, site: bool, retention: RetentionSettings | None = None
) -> list[WantedTopic]:
    """Every topic as it should be; as `up` has them where `site` is false. Without `retention` the rejected and
    audit topics are as the table says."""
    limits = {} if retention is None else topic_limits(retention)
    own = {one.name: one for one in kafka.topic}
    found = []
    for spec in TOPICS:
        name = str(spec.name)
        config = spec.config(kafka.max_record_bytes)
        config["min.insync.replicas"] = str(kafka.in_sync)
        config["compression.type"] = kafka.compression or AS_PRODUCED
        if name in limits:
            config["retention.ms"] = str(limits[name])
        partitions = spec.site_partitions if site else spec.partitions
        if (set_by_site := own.get(name)) is not None:
            partitions = set_by_site.partitions or partitions
            config["compression.type"] = set_by_site.compression or config["compression.type"]
            if (days := set_by_site.retention_days) >= 0:
                config["retention.ms"] = str(days * DAY_MS if days else FOR_EVER)
        is_fact = not spec.compacted and spec.retention_ms == FOR_EVER
        found.append(WantedTopic(name, partitions, kafka.replication, config, is_fact))
    return found


def topic_limits(retention: RetentionSettings) -> dict[str, int]:
    """Topics whose records go by their age alone, and after how many milliseconds."""
    days = {Topic.REJECTED: retention.rejected_days, Topic.AUDIT: retention.audit_days}
    return {str(topic): limit * DAY_MS if limit else FOR_EVER for topic, limit in days.items()}
