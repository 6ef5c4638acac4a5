"""The yardstick: an MLLP server that keeps nothing and answers AA at once. `PORT=2575 python bench/peers/echo.py`"""

import asyncio
import os
from typing import Any

import uvloop

ANSWER = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ACK|%b|P|2.5\rMSA|AA|%b\r\x1c\r"


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.held = transport, b""

    def data_received(self, data: bytes) -> None:
        *frames, self.held = (self.held + data).split(b"\x1c\r")
        for frame in frames:
            control_id = frame.split(b"|", 10)[9]
            self.transport.write(ANSWER % (control_id, control_id))


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(
        Echo, "127.0.0.1", int(os.environ["PORT"]), backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
