"""The codec with what the broker and a schema registry know of schemas."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dosestream.events.codec import Codec
from dosestream.events.schemas import Schema, from_text
from dosestream.kafka.reader import PartitionReader
from dosestream.kafka.records import Partition
from dosestream.kafka.topics import Topic
from dosestream.settings import KafkaSettings

if TYPE_CHECKING:
    from dosestream.kafka.registry import Registry


def codec_for(kafka: KafkaSettings, *, later: bool = False, registry: "Registry | None" = None) -> Codec:
    """A codec that writes the Confluent wire format where a registry is configured, else single-object
    encoding; it looks unknown writers' schemas up in `radiology.schemas.v1` or in the registry.

    Each schema is registered before its first record: now, or with `later` by `Codec.register`, which is for those
    who start whether the registry is there or not. `registry` is the site's where none is given.

    Raises:
        RegistryError: the registry is away or refused, unless `later`.
    """
    if not kafka.schema_registry:
        return Codec(find_fingerprint=_from_topic(kafka))
    # Its client brings an HTTP client along: a fifth of the time a service needs to start.
    from dosestream.kafka.registry import Registry

    registry = registry or Registry(kafka)
    codec = Codec(
        ask_registry=registry.register_all,
        find_fingerprint=_from_topic(kafka),
        find_registry_id=registry.find,
    )
    if not later:
        codec.register()
    return codec


def reading_codec(kafka: KafkaSettings) -> Codec:
    """A codec for whoever puts no record on a topic: it registers nothing, and asks the registry only for the schema of
    an id that it meets, so that without such records the registry may be away."""
    if not kafka.schema_registry:
        return Codec(find_fingerprint=_from_topic(kafka))
    from dosestream.kafka.registry import Registry

    return Codec(find_fingerprint=_from_topic(kafka), find_registry_id=Registry(kafka).find)


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
