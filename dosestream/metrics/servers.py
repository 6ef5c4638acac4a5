"""Whether Kafka and the dose database answer, and what they say of how far everything is."""

import threading
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from dosestream.kafka.client import admin_config
from dosestream.kafka.ends import ends
from dosestream.kafka.records import Partition
from dosestream.settings import Settings

# What a server has to answer a question about its health.
ANSWER_S: Final = 2.0


class Broker:
    """Kafka, asked through one client that is made when it is first needed. Any thread."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._lock = threading.Lock()
        self._client: Any = None

    def check(self) -> str:
        """Empty where a broker answers."""
        try:
            self._admin.list_topics(timeout=ANSWER_S)
        except KafkaException:
            return f"Kafka at {self._kafka.bootstrap} does not answer"
        return ""

    def offsets(self) -> tuple[Mapping[Partition, int], Mapping[Partition, int]]:
        """Earliest and next offset of every partition of our topics.

        Raises:
            KafkaException: no broker answers.
        """
        return ends(self._admin, ANSWER_S)

    @property
    def _admin(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = AdminClient(admin_config(self._kafka, log_level=0))
            return self._client


def database_check(settings: Settings) -> str:
    """Empty where the dose database answers."""
    try:
        with psycopg.connect(settings.postgres.url, connect_timeout=int(ANSWER_S)) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return "the dose database does not answer"
    return ""
