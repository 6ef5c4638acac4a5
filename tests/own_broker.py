"""A broker of a test's own, where what other tests leave in the shared one's topics is in the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from started_server import started

from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.settings import KafkaSettings


@contextmanager
def own_broker(folder: Path, *, topics: bool = True) -> Iterator[KafkaSettings]:
    """A real broker with every topic and schema, or with none, stopped afterwards."""
    taken: set[int] = set()
    server = EmbeddedKafka(folder, KafkaSettings(), ports.free(taken), ports.free(taken))
    with started(server):
        if topics:
            create_topics(server.client_settings(), site=False)
            publish_schemas(server.client_settings())
        yield server.client_settings()
