"""Topics made as the table says."""

from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from dosestream.events.schemas import NAMES, load
from dosestream.kafka.client import admin_config, producer_config
from dosestream.kafka.errors import BrokerAwayError as BrokerAwayError
from dosestream.kafka.topics import Topic
from dosestream.kafka.wanted import wanted_topics
from dosestream.settings import KafkaSettings


def create_topics(kafka: KafkaSettings, *, site: bool, timeout_s: float = 30.0) -> list[str]:
    """Make the topics that are missing; returns their names. Those that exist are left as they are, but take
    larger records where the largest message is larger now.

    Raises:
        BrokerAwayError: no broker answered within timeout_s.
    """
    admin = AdminClient(admin_config(kafka))
    try:
        existing = set(admin.list_topics(timeout=timeout_s).topics)
    except KafkaException as error:
        raise BrokerAwayError(f"Kafka at {kafka.bootstrap} does not answer: {error}") from error
    specs = wanted_topics(kafka, site=site)
    wanted = [
        NewTopic(one.name, one.partitions, one.replication, config=dict(one.config))
        for one in specs
        if one.name not in existing
    ]
    _raise_limits(admin, [one.name for one in specs if one.name in existing], kafka, timeout_s)
    if not wanted:
        return []
    made = []
    for name, future in admin.create_topics(wanted, operation_timeout=timeout_s).items():
        try:
            future.result(timeout=timeout_s)
            made.append(name)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise
    return made


def _raise_limits(admin: AdminClient, names: list[str], kafka: KafkaSettings, timeout_s: float) -> None:
    """A record that the listener takes must fit into a topic that was made when the largest was smaller."""
    if not names:
        return
    size = "max.message.bytes"
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    small = [
        resource.name
        for resource, future in asked.items()
        if int(future.result(timeout=timeout_s)[size].value) < kafka.max_record_bytes
    ]
    entry = ConfigEntry(size, str(kafka.max_record_bytes), incremental_operation=AlterConfigOpType.SET)
    resources = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry]) for name in small]
    for future in admin.incremental_alter_configs(resources).values() if resources else ():
        future.result(timeout=timeout_s)


def set_retention(kafka: KafkaSettings, wanted: Mapping[str, int], timeout_s: float = 10.0) -> dict[str, int]:
    """Let topics keep their records for so many milliseconds (-1 for ever); returns those that were changed.

    Raises:
        BrokerAwayError: the broker did not answer.
    """
    admin = AdminClient(admin_config(kafka))
    name = "retention.ms"
    try:
        asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in wanted])
        held = {one.name: int(future.result(timeout=timeout_s)[name].value) for one, future in asked.items()}
        changed = {topic: limit for topic, limit in wanted.items() if held[topic] != limit}
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                topic,
                incremental_configs=[
                    ConfigEntry(name, str(limit), incremental_operation=AlterConfigOpType.SET)
                ],
            )
            for topic, limit in changed.items()
        ]
        for future in admin.incremental_alter_configs(resources).values() if resources else ():
            future.result(timeout=timeout_s)
    except KafkaException as error:
        raise BrokerAwayError(f"Kafka at {kafka.bootstrap} does not answer: {error}") from error
    return changed


def publish_schemas(kafka: KafkaSettings, timeout_s: float = 10.0, *, first: bool = True) -> None:
    """Put every schema of this release on `radiology.schemas.v1`, so that no record precedes its schema.

    `first`: by an idempotent producer, as everybody else's. A broker that has just started makes its first one wait,
    so whoever prepares it waits here. Later ones need not: a schema stored twice is one entry of a compacted topic.

    Raises:
        BrokerAwayError: the records were not stored within timeout_s.
    """
    from confluent_kafka import Producer

    failed: list[str] = []
    config = producer_config(kafka, linger_ms=0, delivery_timeout_ms=int(timeout_s * 1000))
    # Errors only: that it has to wait is no news.
    producer = Producer(config | {"enable.idempotence": first, "log_level": 3})
    for name in NAMES:
        schema = load(name)
        producer.produce(
            str(Topic.SCHEMAS),
            key=schema.fingerprint.hex(),
            value=schema.text.encode(),
            headers=[("schema", name.encode())],
            on_delivery=lambda error, _message: failed.append(str(error)) if error else None,
        )
    if producer.flush(timeout_s + 1) or failed:
        raise BrokerAwayError(f"Kafka at {kafka.bootstrap} did not store the schemas: {failed[:1]}")
