"""Configuration of the confluent-kafka clients, the same everywhere.

The partitioner is Java's, so that every producer puts a key where every other would
(librdkafka's own default differs from Java's and aiokafka's).
"""

from dosestream.kafka.security import ClientConfig, connection
from dosestream.settings import KafkaSettings


def admin_config(kafka: KafkaSettings, *, log_level: int = 3) -> ClientConfig:
    """A client that looks at the brokers and changes them; by default it logs errors only."""
    return connection(kafka) | {"log_level": log_level}


def producer_config(kafka: KafkaSettings, *, linger_ms: float, delivery_timeout_ms: int) -> ClientConfig:
    """A durable producer: acks from all in-sync replicas, idempotent, bounded in time."""
    return {
        **connection(kafka),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": linger_ms,
        "delivery.timeout.ms": delivery_timeout_ms,
        "message.max.bytes": kafka.max_record_bytes,
        "queue.buffering.max.kbytes": max(262_144, 4 * kafka.max_record_bytes // 1024),
        # None: every subscriber's client can read it, aiokafka without extras included. A site that wants its
        # topics smaller sets compression.type on the topic.
        "compression.type": "none",
        "socket.keepalive.enable": True,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1000,
    }


def consumer_config(kafka: KafkaSettings, *, group: str) -> ClientConfig:
    """A consumer that commits nothing by itself and may read one whole record of the largest size."""
    return {
        **connection(kafka),
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": kafka.max_record_bytes,
        "fetch.max.bytes": max(52_428_800, kafka.max_record_bytes),
        "receive.message.max.bytes": max(52_428_800, kafka.max_record_bytes) + 1_048_576,
        "isolation.level": "read_committed",
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1000,
    }
