"""Where a message's CPU time goes between the wire and Kafka: `python bench/hot_path.py`.

One order message, many times with other numbers, through each pure step of ingest. Process CPU time, the best
of five rounds, so that what else runs on the machine counts little.
"""

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from dosestream.events.codec import Codec
from dosestream.events.identity import content_hash
from dosestream.hl7.acknowledgement import acknowledge, codes
from dosestream.hl7.framing import Framer, frame
from dosestream.hl7.header import read_header
from dosestream.hl7.reader import Message, read
from dosestream.kafka.publisher import Position
from dosestream.mapping.normalise import finish, interpret
from dosestream.mapping.rules import rules_of
from dosestream.settings import MIB, Settings
from services.ingest.publications import Publications, raw_message

A = TypeVar("A")
B = TypeVar("B")
TEMPLATE = (Path(__file__).parent / "load" / "orm.hl7").read_text().replace("\n", "\r")
COUNT, ROUNDS = 2000, 5
AT = 1_772_438_400_000_000
INSTANCE = ("instance", b"host-0")


def message(number: int) -> bytes:
    """The template with the numbers the load generator would give it."""
    numbers = {"{ID}": f"M{number}", "{ACC}": f"A{number}", "{PID}": f"P{number % 500}"}
    text = TEMPLATE
    for mark, value in numbers.items():
        text = text.replace(mark, value)
    return text.encode()


def measure(name: str, step: Callable[[A], B], inputs: Sequence[A]) -> list[B]:
    """Print microseconds of CPU per message; what the step made."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for one in inputs:
            step(one)
        best = min(best, time.process_time() - started)
    print(f"{name:46}{best / len(inputs) * 1e6:8.1f}")
    return [step(one) for one in inputs]


def main() -> None:
    """Print the table."""
    settings, framer, position = Settings(), Framer(16 * MIB), Position(1, 123_456)
    publications = Publications(settings, Codec())
    messages = [message(number) for number in range(COUNT)]
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    print(f"{'step':46}{'CPU us':>8}")
    measure("frame", framer.feed, [frame(one) for one in messages])
    headers = [header for header in measure("  MSH", read_header, messages) if header is not None]
    pairs = list(zip(messages, headers, strict=True))
    measure("  segments", lambda pair: read(*pair), pairs)
    read_in = [one for pair in pairs if isinstance(one := read(*pair), Message)]
    rules = rules_of(settings)
    measure("  profiles", lambda one: rules.check(one, "RIS|HOSP", "ORM^O01"), read_in)
    found = measure("interpret: MSH to drafts of events, all", lambda one: interpret(one, settings), messages)
    hashes = measure("content hash", content_hash, messages)
    raws = measure(
        "raw record",
        lambda one: raw_message(one[0], one[1], one[2], AT, "127.0.0.1:5555", "AA"),
        list(zip(found, messages, hashes, strict=True)),
    )
    both = list(zip(found, raws, strict=True))
    measure("raw record: key, Avro, headers", lambda one: publications.raw(one[0], one[1], INSTANCE), both)
    measure("  events as objects, off the hot path", lambda one: finish(one[0], one[1], position), both)
    measure(
        "events: identity, key, Avro, headers",
        lambda one: publications.normalised(one[0], one[1], position),
        both,
    )
    measure(
        "acknowledgement",
        lambda one: acknowledge(one.header, codes(one.header, None)[0], None, AT),
        found,
    )


if __name__ == "__main__":
    main()
