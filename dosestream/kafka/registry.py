"""The schema registry: every schema of this release gets its id there before its first record.

Subjects are named by topic (Confluent's TopicNameStrategy, `<topic>-value`) and kept FULL_TRANSITIVE, so that the
registry refuses a schema some reader could not read.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka.schema_registry import ConfigCompatibilityLevel, SchemaRegistryClient, ServerConfig
from confluent_kafka.schema_registry import Schema as RegistrySchema

from dosestream.events.schemas import Schema, from_text, load
from dosestream.kafka.errors import BrokerAwayError
from dosestream.kafka.topics import TOPICS
from dosestream.settings import KafkaSettings

log = logging.getLogger("dosestream.registry")

COMPATIBILITY = ConfigCompatibilityLevel.FULL_TRANSITIVE
# One answer may take so long; who asks tries again in a while.
TIMEOUT_S = 3.0


class RegistryError(BrokerAwayError):
    """The schema registry is away or refused: as with a broker that is away, mend it, then try again."""


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """The options of confluent-kafka's registry client.

    Raises:
        RegistryError: the file of the user and password cannot be read, or the URL is none.
    """
    where = urlsplit(kafka.schema_registry)
    if where.scheme not in ("http", "https", "mock"):
        raise RegistryError(
            f"kafka.schema_registry {_shown(kafka)!r} is no URL, such as https://registry:8081"
        )
    config: dict[str, Any] = {"url": kafka.schema_registry, "timeout": TIMEOUT_S, "max.retries": 0}
    if kafka.schema_registry_auth_file:
        try:
            config["basic.auth.user.info"] = Path(kafka.schema_registry_auth_file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(f"kafka.schema_registry_auth_file cannot be read: {error}") from error
    if kafka.schema_registry_ca_file:
        config["ssl.ca.location"] = kafka.schema_registry_ca_file
    return config


class Registry:
    """A client of the site's registry; connects when it is asked something. `client` is taken instead where given."""

    def __init__(self, kafka: KafkaSettings, client: SchemaRegistryClient | None = None) -> None:
        self._kafka = kafka
        self._given = client

    def register_all(self) -> Mapping[str, int]:
        """Register the schema of every topic; returns schema name to id.

        Raises:
            RegistryError: the registry is away, or refused a schema.
        """
        ids: dict[str, int] = {}
        with self._client() as client:
            for spec in TOPICS:
                if spec.schema is None:
                    continue
                subject = f"{spec.name}-value"
                try:
                    schema = RegistrySchema(load(spec.schema).text, "AVRO")
                    ids[spec.schema] = client.register_schema(subject, schema)
                except Exception as error:  # HTTP, TLS and the registry's own errors are of many kinds
                    raise RegistryError(
                        f"The schema registry at {_shown(self._kafka)} did not take {subject}: {error}: see that "
                        "it runs, and that we may register there; then try again."
                    ) from error
                _keep_compatible(client, subject)
        return ids

    def find(self, registry_id: int) -> Schema | None:
        """The schema with this id; None where the registry has none, or is away."""
        try:
            with self._client() as client:
                found = client.get_schema(registry_id)
        except Exception as error:
            log.warning("schema registry at %s: id %d: %s", _shown(self._kafka), registry_id, error)
            return None
        return from_text(f"registry {registry_id}", found.schema_str) if found.schema_str else None

    @contextmanager
    def _client(self) -> Iterator[SchemaRegistryClient]:
        """For a few questions: what was answered is remembered by the codec, so no connection is kept."""
        if self._given is not None:
            yield self._given
            return
        config = client_config(self._kafka)
        try:
            client = SchemaRegistryClient.new_client(config)
        except (OSError, ValueError) as error:
            raise RegistryError(f"The schema registry cannot be asked: {error}") from error
        with client:
            yield client


def _keep_compatible(client: SchemaRegistryClient, subject: str) -> None:
    """A site may keep its registry's configuration to itself: then its own rule holds."""
    try:
        client.set_config(subject, ServerConfig(compatibility=COMPATIBILITY))
    except Exception as error:
        log.warning("%s is not made %s in the registry: %s", subject, COMPATIBILITY.value, error)


def _shown(kafka: KafkaSettings) -> str:
    """The registry's address without a user and password."""
    where = urlsplit(kafka.schema_registry)
    return where._replace(netloc=where.netloc.rpartition("@")[2]).geturl()
