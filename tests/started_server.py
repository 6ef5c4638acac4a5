"""A server of a test's own process tree: there while the block runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from dosestream.embedded.kafka import EmbeddedKafka
from dosestream.embedded.postgres import EmbeddedPostgres

S = TypeVar("S", EmbeddedKafka, EmbeddedPostgres)


@contextmanager
def started(server: S) -> Iterator[S]:
    """Prepared, launched and ready; stopped afterwards."""
    server.prepare()
    server.launch()
    try:
        server.wait_ready(200)
        yield server
    finally:
        server.stop()
