"""What a service says of its topics when it starts, as a table of cases."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from dosestream.kafka.acl import SERVICES
from dosestream.kafka.fitness import LOOK, faults, used
from dosestream.kafka.plan import HeldTopic
from dosestream.kafka.topics import FACTS, Topic
from dosestream.kafka.wanted import wanted_topics
from dosestream.settings import KafkaSettings, TopicSettings

KAFKA = KafkaSettings()
(WANTED,) = (one for one in used("ingest", KAFKA) if one.name == Topic.ORDER)
(SITE,) = (one for one in wanted_topics(KAFKA, site=True) if one.name == Topic.ORDER)
MADE = HeldTopic(WANTED.partitions, 1, WANTED.config)
LIMIT = KAFKA.max_record_bytes


def held(**config: str) -> HeldTopic:
    return replace(MADE, config=dict(MADE.config) | {key.replace("_", "."): v for key, v in config.items()})


# The topic as the brokers have it, and what is said of it: how it begins, or nothing.
CASES: Mapping[str, tuple[HeldTopic | None, str]] = {
    "as `up` makes it": (MADE, ""),
    "as a site makes it": (replace(MADE, partitions=SITE.partitions, replication=3), ""),
    "missing": (None, "is not there, or this service's user may not see it"),
    "made by a broker itself": (
        replace(MADE, partitions=1),
        f"has 1 of {WANTED.partitions} partitions",
    ),
    "compacted": (held(cleanup_policy="compact"), "has cleanup.policy compact in place of delete"),
    "for small records": (
        held(max_message_bytes="1048588"),
        f"takes records of 1048588 bytes in place of {LIMIT}",
    ),
    "for larger records": (held(max_message_bytes=str(2 * LIMIT)), ""),
    "of another compression, with copies in sync as the site has them": (
        held(compression_type="zstd", min_insync_replicas="2"),
        "",
    ),
    "whose configuration may not be asked for": (replace(MADE, config={}), ""),
    "with few partitions, whose configuration may not be asked for": (
        HeldTopic(2, 1, {}),
        f"has 2 of {WANTED.partitions} partitions",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_keeps_a_service_from_its_work_is_said_with_what_to_do(name: str) -> None:
    topic, said = CASES[name]
    found = faults([WANTED], {} if topic is None else {WANTED.name: topic})
    assert [one.is_missing for one in found] == ([topic is None] if said else [])
    for one in found:
        assert one.text.startswith(f"{Topic.ORDER} {said}")
        assert LOOK in one.text


def test_a_compacted_topic_that_forgets_by_age_is_told() -> None:
    (dose,) = (one for one in used("reconciler", KAFKA) if one.name == Topic.DOSE)
    topic = HeldTopic(dose.partitions, 1, dict(dose.config) | {"cleanup.policy": "delete"})
    (fault,) = faults([dose], {dose.name: topic})
    assert "cleanup.policy delete in place of compact" in fault.text


def test_a_site_that_sets_fewer_partitions_hears_nothing_of_them() -> None:
    kafka = replace(KAFKA, topic=(TopicSettings(name=str(Topic.ORDER), partitions=1),))
    (wanted,) = (one for one in used("ingest", kafka) if one.name == Topic.ORDER)
    assert faults([wanted], {wanted.name: replace(MADE, partitions=1)}) == []


def test_a_service_looks_at_what_it_reads_or_writes() -> None:
    topics = {service: {one.name for one in used(service, KAFKA)} for service in SERVICES}
    assert topics["worklist"] == set()
    assert set(FACTS) | {Topic.DOSE, Topic.ALERT} <= topics["reconciler"]
    assert Topic.HL7_RAW in topics["ingest"]
    assert Topic.DICOM_RAW not in topics["ingest"]
    # Where it changes limits only, it may not see whether the topic is there.
    assert topics["cleanup"] == {Topic.SNAPSHOT, Topic.SCHEMAS}
