"""The codec with what the broker and a schema registry know of schemas."""

from collections.abc import Callable

from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient

from dosestream.events.codec import Codec
from dosestream.events.schemas import Schema, from_text, load
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import TOPICS, Topic
from dosestream.settings import KafkaSettings


def codec_for(kafka: KafkaSettings) -> Codec:
    """A codec that writes the Confluent wire format where a registry is configured, else single-object
    encoding; it looks unknown writers' schemas up in `radiology.schemas.v1` or in the registry.

    Each schema is registered before its first record.
    """
    if not kafka.schema_registry:
        return Codec(find_fingerprint=_from_topic(kafka))
    registry = SchemaRegistryClient.new_client({"url": kafka.schema_registry})
    ids = {}
    for spec in TOPICS:
        if spec.schema is not None:
            text = load(spec.schema).text
            ids[spec.schema] = registry.register_schema(f"{spec.name}-value", RegistrySchema(text, "AVRO"))

    def find(registry_id: int) -> Schema | None:
        found = registry.get_schema(registry_id)
        return from_text(f"registry {registry_id}", found.schema_str) if found.schema_str else None

    return Codec(registry_ids=ids, find_fingerprint=_from_topic(kafka), find_registry_id=find)


def _from_topic(kafka: KafkaSettings) -> Callable[[bytes], Schema | None]:
    def find(fingerprint: bytes) -> Schema | None:
        reader = PartitionReader(kafka)
        try:
            partition = Partition(str(Topic.SCHEMAS), 0)
            low, high = reader.watermarks(partition)
            for batch in reader.read(partition, low, high):
                for record in batch:
                    if record.value is not None:
                        schema = from_text("published", record.value.decode())
                        if schema.fingerprint == fingerprint:
                            return schema
            return None
        finally:
            reader.close()

    return find
