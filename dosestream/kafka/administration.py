"""An administrator's connection, and what its failures mean."""

from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from dosestream.kafka.admin import BrokerAwayError
from dosestream.kafka.client import admin_config
from dosestream.settings import KafkaSettings

TIMEOUT_S = 15.0
# What keeps a client from a broker that is there; librdkafka tries again for ever.
HINTS = {
    KafkaError._AUTHENTICATION: "see kafka.user and its password",
    KafkaError._SSL: "see kafka.ca_file, and that kafka.bootstrap names the port of TLS",
}


class RefusedError(Exception):
    """The cluster answered, and will not: the sentence says to what and why."""


class Administration:
    """`client` is confluent-kafka's; `settle` waits for what it began.

    Both raise BrokerAwayError where the cluster does not answer in time, RefusedError where it says no.
    """

    def __init__(self, kafka: KafkaSettings, timeout_s: float = TIMEOUT_S) -> None:
        self._kafka, self.timeout_s = kafka, timeout_s
        self._heard = ""
        config = admin_config(kafka, log_level=0) | {"error_cb": self._hear}
        self.client: Any = AdminClient(config)

    def topics(self) -> dict[str, Any]:
        """Every topic we may see, with its partitions."""
        try:
            return dict(self.client.list_topics(timeout=self.timeout_s).topics)
        except KafkaException as error:
            raise self._error("to list the topics", error.args[0]) from error

    def settle(self, doing: str, future: Any) -> Any:
        """The future's result; `doing` says what was asked, such as `to make t`."""
        try:
            return future.result(timeout=self.timeout_s + 1)
        except KafkaException as error:
            raise self._error(doing, error.args[0]) from error
        except FutureTimeoutError as error:
            raise BrokerAwayError(self._away("no answer in time")) from error

    def _hear(self, error: Any) -> None:
        if error.code() in HINTS:
            self._heard = f"{error.str().rpartition(': ')[2]} ({HINTS[error.code()]})"

    def _error(self, doing: str, error: Any) -> Exception:
        if error.code() < 0 or error.retriable():
            # What was heard meanwhile says more than that nothing came.
            self.client.poll(0)
            return BrokerAwayError(self._away(error.str()))
        return RefusedError(f"Kafka at {self._kafka.bootstrap} refuses {doing}: {error.str()}")

    def _away(self, reason: str) -> str:
        said = f"refuses the connection: {self._heard}" if self._heard else f"does not answer: {reason}"
        return f"Kafka at {self._kafka.bootstrap} {said}"
