"""A bare listener that stores the raw message with acks=all before it answers, and does nothing else.

`PORT=2575 TOPIC=raw DOSESTREAM_KAFKA=127.0.0.1:9092 python bench/peers/raw_only.py`
"""

import asyncio
import os
import threading
from typing import Any

import uvloop
from confluent_kafka import Producer

TOPIC = os.environ["TOPIC"]
ANSWER = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ACK|%b|P|2.5\rMSA|%b|%b\r\x1c\r"

producer = Producer(
    {
        "bootstrap.servers": os.environ["DOSESTREAM_KAFKA"],
        "linger.ms": float(os.environ.get("LINGER", "0")),
        "acks": "all",
        "enable.idempotence": True,
    }
)
stored: list[tuple["RawOnly", Any, bytes]] = []


class RawOnly(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.held = transport, b""

    def data_received(self, data: bytes) -> None:
        *frames, self.held = (self.held + data).split(b"\x1c\r")
        for frame in frames:
            segments = [segment.split(b"|") for segment in frame[1:].split(b"\r")]
            control_id = segments[0][9]
            producer.produce(
                TOPIC,
                frame[1:],
                key=segments[1][3],
                on_delivery=lambda error, _, control_id=control_id: stored.append((self, error, control_id)),
            )

    def answer(self, error: Any, control_id: bytes) -> None:
        self.transport.write(ANSWER % (control_id, b"AE" if error else b"AA", control_id))


def poll(loop: asyncio.AbstractEventLoop) -> None:
    global stored
    while True:
        if producer.poll(0.1):
            done, stored = stored, []
            loop.call_soon_threadsafe(answer_all, done)


def answer_all(done: list[tuple[RawOnly, Any, bytes]]) -> None:
    for connection, error, control_id in done:
        connection.answer(error, control_id)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(RawOnly, "127.0.0.1", int(os.environ["PORT"]), backlog=1024)
    threading.Thread(target=poll, args=(loop,), daemon=True).start()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
