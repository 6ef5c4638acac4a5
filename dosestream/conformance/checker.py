"""A process of its own that checks messages: `python -m dosestream.conformance.checker`.

It reads requests from standard input and writes one answer each to standard output, and ends when its
standard input does, hence with its parent. A frame is four bytes of length, big endian, and so many bytes. A
request is two frames: JSON (`charset`, `profiles`: the XML of message profiles) and the message; an answer is
one: a JSON list of findings as lists of their fields. It asks for the lowest priority, so that it
takes only what others leave.
"""

import json
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import astuple
from functools import lru_cache
from typing import BinaryIO

from dosestream.conformance.check import check
from dosestream.conformance.message_profile import MessageProfile, parse
from dosestream.hl7.finding import Finding

LENGTH = struct.Struct(">I")
LOWEST_PRIORITY = 19


def frame(content: bytes) -> bytes:
    """The content with its length in front."""
    return LENGTH.pack(len(content)) + content


def request(body: bytes, charset: str, profiles: Sequence[str]) -> bytes:
    """The frames of one request."""
    return frame(json.dumps({"charset": charset, "profiles": profiles}).encode()) + frame(body)


def answer(content: bytes) -> list[Finding]:
    """The findings of an answer's frame."""
    return [Finding(*fields) for fields in json.loads(content)]


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more requests."""
    while (header := _read(requests)) is not None and (body := _read(requests)) is not None:
        asked = json.loads(header)
        found = check(body, _merged(tuple(asked["profiles"])), asked["charset"])
        answers.write(frame(json.dumps([astuple(one) for one in found]).encode()))
        answers.flush()


@lru_cache(maxsize=16)
def _merged(texts: tuple[str, ...]) -> MessageProfile:
    return {name: structure for text in texts for name, structure in parse(text).items()}


def _read(stream: BinaryIO) -> bytes | None:
    """One frame; None at the end."""
    length = stream.read(LENGTH.size)
    if len(length) < LENGTH.size:
        return None
    (wanted,) = LENGTH.unpack(length)
    content = stream.read(wanted)
    return content if len(content) == wanted else None


if __name__ == "__main__":
    os.nice(LOWEST_PRIORITY)
    try:
        main(sys.stdin.buffer, sys.stdout.buffer)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
