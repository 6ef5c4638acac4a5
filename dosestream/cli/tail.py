"""`dosestream tail`: the records of a topic, decoded, for a person or a script."""

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dosestream.cli.service import ConfigOption
from dosestream.cli.stackfile import ReadyFileOption
from dosestream.embedded.errors import StackError

if TYPE_CHECKING:
    from confluent_kafka import Message

    from dosestream.events.codec import Codec
    from dosestream.kafka.topics import TopicSpec

TURN_S = 0.5
ANSWER_S = 10.0


def tail(
    topic: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC", help="Its name, or what is between radiology. and .v1: dose, hl7.raw."
        ),
    ],
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Every record that is held, then what comes.")
    ] = False,
    to_end: Annotated[
        bool, typer.Option("--to-end", help="Stop at the last record that is held now.")
    ] = False,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="Stop after so many records.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a record, whole.")] = False,
    grep: Annotated[
        str | None,
        typer.Option("--grep", metavar="REGEX", help="Only records whose printed text it is found in."),
    ] = None,
    config: ConfigOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Print what comes on a topic, decoded, with keys and headers, until Ctrl-C or --to-end. It is about patients:
    keep it to yourself. Nothing is committed, so nobody else misses a record."""
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    from dosestream.cli.replay import settings_of
    from dosestream.kafka.client import consumer_config
    from dosestream.kafka.codec import reading_codec

    spec = _spec(topic)
    wanted = _pattern(grep)
    settings, _ = settings_of(config, ready_file)
    codec = reading_codec(settings.kafka)
    # What is told of the broker while it is away is one sentence in the end.
    consumer = Consumer(
        {
            **consumer_config(settings.kafka, group="dosestream-tail"),
            "log_level": 2,
            "enable.partition.eof": True,
        }
    )
    name = str(spec.name)
    try:
        found = consumer.list_topics(name, timeout=ANSWER_S).topics[name]
        if found.error is not None:
            raise StackError(
                f"There is no topic {name} on {settings.kafka.bootstrap}: run `dosestream prepare`."
            )
        partitions = [TopicPartition(name, number) for number in sorted(found.partitions)]
        for one in partitions:
            low, high = consumer.get_watermark_offsets(one, timeout=ANSWER_S)
            one.offset = low if from_beginning else high
        consumer.assign(partitions)
        left, unread = count, {one.partition for one in partitions}
        while left != 0 and (unread or not to_end):
            message = consumer.poll(TURN_S)
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                elif not error.retriable():
                    raise KafkaException(error)
                continue
            text = shown(codec, spec, message, as_json)
            if wanted is None or wanted.search(text):
                print(text, flush=True)
                left = None if left is None else left - 1
    except KafkaException as error:
        raise StackError(f"Kafka does not answer ({error}): see that it runs, then try again.") from error
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


def _spec(topic: str) -> "TopicSpec":
    """The topic of the table that is meant.

    Raises:
        StackError: there is none.
    """
    from dosestream.kafka.topics import TOPICS

    short = {str(spec.name).removeprefix("radiology.").removesuffix(".v1"): spec for spec in TOPICS}
    named = short | {str(spec.name): spec for spec in TOPICS}
    if topic not in named:
        raise StackError(f"There is no topic {topic!r}: give one of {', '.join(short)}.")
    return named[topic]


def _pattern(grep: str | None) -> re.Pattern[str] | None:
    try:
        return None if grep is None else re.compile(grep)
    except re.error as error:
        raise StackError(f"--grep {grep!r} is no regular expression: {error}.") from error


def shown(codec: "Codec", spec: "TopicSpec", message: "Message", as_json: bool) -> str:
    """A record as it is printed. One that cannot be read says why, and is no end."""
    from dosestream.events.shown import at, lines

    key, value = message.key(), message.value()
    problem, said = "", None
    if value is not None:
        problem, said = _said(codec, spec, value)
    headers = {name: _text(text) for name, text in message.headers() or ()}
    when = at(message.timestamp()[1] * 1000)
    if as_json:
        document: dict[str, Any] = {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": when,
            "key": _text(key),
            "headers": headers,
            "value": said,
        }
        return json.dumps(document | ({"problem": problem} if problem else {}), ensure_ascii=False)
    head = f"{when} {message.topic()}[{message.partition()}] offset {message.offset()} key {_text(key)}"
    told = [f"  {name}: {text}" for name, text in headers.items()]
    if value is None:
        body = ["    (tombstone: what the key names is gone)"]
    else:
        body = [f"    cannot be read: {problem}"] if problem else lines(said, "    ")
    return "\n".join([head, *told, *body])


def _said(codec: "Codec", spec: "TopicSpec", value: bytes) -> tuple[str, Any]:
    """Why a value cannot be read, and what it says."""
    from dosestream.events.codec import CodecError
    from dosestream.events.records import CLASSES
    from dosestream.events.shown import readable

    if spec.schema is None:
        try:
            return "", json.loads(value)
        except ValueError as error:
            return f"no JSON: {error}", None
    try:
        event = codec.decode(value, CLASSES[spec.schema])
    except CodecError as error:
        return str(error), None
    return "", readable(spec.schema, event.to_datum())


def _text(value: bytes | str | None) -> str | None:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
