"""A broker of a bench's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dosestream.embedded import ports
from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.kafka.admin import create_topics, publish_schemas
from dosestream.settings import KafkaSettings


@contextmanager
def broker(folder: Path) -> Iterator[tuple[KafkaSettings, int]]:
    """Its settings, with every topic and schema, and its process; stopped afterwards."""
    taken: set[int] = set()
    server = EmbeddedKafka(folder, KafkaSettings(), ports.free(taken), ports.free(taken))
    server.prepare()
    server.launch()
    try:
        server.wait_ready()
        create_topics(server.client_settings(), site=False)
        publish_schemas(server.client_settings())
        assert server.process is not None
        yield server.client_settings(), server.process.pid
    finally:
        server.stop()
