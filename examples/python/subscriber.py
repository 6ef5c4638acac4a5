"""Prints what Dosestream's topics say, a line of JSON a record. Needs confluent-kafka and fastavro, nothing of Dosestream.

python subscriber.py --bootstrap HOST:PORT [-X key=value ...] [--registry URL] [--to-end] TOPIC...

-X sets any option of librdkafka, such as -X security.protocol=SASL_SSL; --to-end stops where the topics ended.
"""

import argparse
import base64
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from fastavro import parse_schema, schemaless_reader

SCHEMAS = "radiology.schemas.v1"


class Decoder:
    """Reads values in both frames; a schema it has not met is looked up where the frame says."""

    def __init__(self, client: dict[str, Any], registry: str | None = None) -> None:
        self._client = client
        self._registry = SchemaRegistryClient({"url": registry}) if registry else None
        self._known: dict[bytes, Any] = {}

    def decode(self, value: bytes) -> Any:
        # C3 01 and eight bytes of fingerprint: its schema is on radiology.schemas.v1. 00 and four bytes: in the registry.
        start = 10 if value[:2] == b"\xc3\x01" else 5
        head = value[:start]
        if head not in self._known and start == 10:
            for message in records(self._client, [SCHEMAS], to_end=True):
                schema = parse_schema(json.loads(message.value()))
                self._known[b"\xc3\x01" + bytes.fromhex(message.key().decode())] = schema
        elif head not in self._known and self._registry is not None:
            found = self._registry.get_schema(int.from_bytes(head[1:], "big"))
            self._known[head] = parse_schema(json.loads(found.schema_str or ""))
        return schemaless_reader(BytesIO(value[start:]), self._known[head])


def records(client: dict[str, Any], topics: list[str], to_end: bool = False) -> Iterator[Message]:
    """Every record of the topics from the beginning on. A subscriber that commits where it is would `subscribe`."""
    consumer = Consumer({"group.id": "example", **client, "enable.partition.eof": True})
    known = consumer.list_topics(timeout=10).topics
    # A partition after the other would do as well; records of one key are always in one partition.
    left = {(topic, number) for topic in topics for number in known[topic].partitions}
    consumer.assign([TopicPartition(topic, number, 0) for topic, number in sorted(left)])
    try:
        while left or not to_end:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if (error := message.error()) is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard((message.topic(), message.partition()))
            elif error.fatal():
                raise RuntimeError(error.str())
    finally:
        consumer.close()


def plain(value: object) -> str:
    """What JSON has no word for: bytes and times."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def options() -> tuple[argparse.Namespace, dict[str, Any]]:
    """The arguments, and the options of the client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("-X", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--registry")
    parser.add_argument("--to-end", action="store_true")
    parser.add_argument("topics", nargs="*", default=["radiology.dose.v1"])
    given = parser.parse_args()
    return given, {"bootstrap.servers": given.bootstrap, **dict(one.split("=", 1) for one in given.X)}


def main() -> None:
    given, client = options()
    decoder = Decoder(client, given.registry)
    for message in records(client, given.topics, given.to_end):
        key, value = message.key(), message.value()
        line = {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "key": key.decode() if key else None,
            "headers": {name: text.decode() for name, text in message.headers() or ()},
            # A record without value is a tombstone: what the key names is gone.
            "value": decoder.decode(value) if value else None,
        }
        if message.topic() == SCHEMAS:
            continue
        print(json.dumps(line, default=plain, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
