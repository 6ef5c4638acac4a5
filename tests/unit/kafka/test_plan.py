"""The difference between topics as they should be and as they are, as a table of cases."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from dosestream.kafka.plan import Change, HeldTopic, Risk, plan, refused
from dosestream.kafka.topics import DAY_MS, TOPICS, Topic
from dosestream.kafka.wanted import WantedTopic, wanted_topics
from dosestream.settings import KafkaSettings, RetentionSettings, TopicSettings

FACT = WantedTopic(
    "t",
    12,
    3,
    {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "max.message.bytes": "17",
        "min.insync.replicas": "2",
    },
    is_fact=True,
)
SAME = HeldTopic(12, 3, FACT.config)


def held(**config: str) -> HeldTopic:
    return replace(SAME, config=dict(FACT.config) | {key.replace("_", "."): v for key, v in config.items()})


def wanted(**config: str) -> WantedTopic:
    return replace(FACT, config=dict(FACT.config) | {key.replace("_", "."): v for key, v in config.items()})


YEAR, DAY = str(365 * DAY_MS), str(DAY_MS)
# Wanted, held, and setting with risk of each difference.
CASES: Mapping[str, tuple[WantedTopic, HeldTopic | None, list[tuple[str, Risk]]]] = {
    "nothing differs": (FACT, SAME, []),
    "a missing topic is made": (FACT, None, [("topic", Risk.NONE)]),
    "configuration that nobody wants stays": (FACT, held(segment_ms="1"), []),
    "more partitions move keys": (FACT, replace(SAME, partitions=4), [("partitions", Risk.KEYS_MOVE)]),
    "fewer partitions are impossible": (
        FACT,
        replace(SAME, partitions=24),
        [("partitions", Risk.BY_HAND)],
    ),
    "copies are moved by hand": (FACT, replace(SAME, replication=1), [("replication", Risk.BY_HAND)]),
    "a longer limit loses nothing": (FACT, held(retention_ms=DAY), [("retention.ms", Risk.NONE)]),
    "a shorter limit loses facts": (wanted(retention_ms=DAY), held(), [("retention.ms", Risk.LOSES)]),
    "a limit shorter than the one held loses facts": (
        wanted(retention_ms=DAY),
        held(retention_ms=YEAR),
        [("retention.ms", Risk.LOSES)],
    ),
    "a limit longer than the one held loses nothing": (
        wanted(retention_ms=YEAR),
        held(retention_ms=DAY),
        [("retention.ms", Risk.NONE)],
    ),
    "what is no fact may get a shorter limit": (
        replace(wanted(retention_ms=DAY), is_fact=False),
        held(),
        [("retention.ms", Risk.NONE)],
    ),
    "compaction of what was not compacted loses records": (
        wanted(cleanup_policy="compact"),
        held(),
        [("cleanup.policy", Risk.LOSES)],
    ),
    "no compaction and no limit loses nothing": (
        FACT,
        held(cleanup_policy="compact"),
        [("cleanup.policy", Risk.NONE)],
    ),
    "a limit in place of compaction loses records": (
        replace(wanted(retention_ms=DAY), is_fact=False),
        held(cleanup_policy="compact", retention_ms=DAY),
        [("cleanup.policy", Risk.LOSES)],
    ),
    "a smaller largest record loses nothing": (
        FACT,
        held(max_message_bytes="1000"),
        [("max.message.bytes", Risk.NONE)],
    ),
}


@pytest.mark.parametrize(("wants", "has", "expected"), CASES.values(), ids=CASES.keys())
def test_the_difference_says_what_it_would_do(
    wants: WantedTopic, has: HeldTopic | None, expected: list[tuple[str, Risk]]
) -> None:
    found = plan([wants], {} if has is None else {"t": has, "of others": SAME})
    assert [(one.setting, one.risk) for one in found] == expected
    assert all(one.why for one in found if one.risk is not Risk.NONE)


def test_what_loses_records_is_refused_but_for_the_topics_that_are_named() -> None:
    loses = [Change(name, "retention.ms", "-1", "1", Risk.LOSES) for name in ("a", "b")]
    rest = [Change("a", "partitions", "4", "12", Risk.KEYS_MOVE)]
    assert refused([*loses, *rest], ["b"]) == loses[:1]
    assert refused([*loses, *rest], ["a", "b"]) == []


def config_of(name: Topic, kafka: KafkaSettings) -> WantedTopic:
    found = wanted_topics(kafka, site=True, retention=RetentionSettings(rejected_days=10, audit_days=0))
    return next(one for one in found if one.name == name)


# Settings, and what a topic has by them.
SITES: Mapping[str, tuple[KafkaSettings, Topic, str, str]] = {
    "one copy has to be in sync of one": (KafkaSettings(), Topic.ORDER, "min.insync.replicas", "1"),
    "all but one of three": (KafkaSettings(replication=3), Topic.ORDER, "min.insync.replicas", "2"),
    "as many as the site says": (
        KafkaSettings(replication=3, min_insync_replicas=3),
        Topic.ORDER,
        "min.insync.replicas",
        "3",
    ),
    "as produced": (KafkaSettings(), Topic.ORDER, "compression.type", "producer"),
    "compression of all topics": (KafkaSettings(compression="zstd"), Topic.ORDER, "compression.type", "zstd"),
    "compression of one": (
        KafkaSettings(
            compression="zstd", topic=(TopicSettings(name="radiology.order.v1", compression="lz4"),)
        ),
        Topic.ORDER,
        "compression.type",
        "lz4",
    ),
    "a limit of the site's": (
        KafkaSettings(topic=(TopicSettings(name="radiology.hl7.raw.v1", retention_days=3650),)),
        Topic.HL7_RAW,
        "retention.ms",
        str(3650 * DAY_MS),
    ),
    "none of the site's": (
        KafkaSettings(topic=(TopicSettings(name="radiology.clock.v1", retention_days=0),)),
        Topic.CLOCK,
        "retention.ms",
        "-1",
    ),
    "rejected as long as cleanup keeps them": (
        KafkaSettings(),
        Topic.REJECTED,
        "retention.ms",
        str(10 * DAY_MS),
    ),
    "the audit trail for ever": (KafkaSettings(), Topic.AUDIT, "retention.ms", "-1"),
}


@pytest.mark.parametrize(("kafka", "topic", "name", "value"), SITES.values(), ids=SITES.keys())
def test_a_site_sets_over_the_table(kafka: KafkaSettings, topic: Topic, name: str, value: str) -> None:
    assert config_of(topic, kafka).config[name] == value


def test_a_site_sets_partitions_of_a_topic() -> None:
    kafka = KafkaSettings(topic=(TopicSettings(name="radiology.order.v1", partitions=48),))
    assert config_of(Topic.ORDER, kafka).partitions == 48
    assert config_of(Topic.STUDY, kafka).partitions == 12
    assert {one.name for one in wanted_topics(kafka, site=False)} == {str(spec.name) for spec in TOPICS}
