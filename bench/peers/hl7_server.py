"""python-hl7's own MLLP server: reads each message, answers what it generates, keeps nothing. `PORT=2575 python ...`"""

import asyncio
import os

from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server


async def serve(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
    """One connection, until its end."""
    while not writer.is_closing():
        try:
            message = await reader.readmessage()
        except asyncio.IncompleteReadError:
            break
        writer.writemessage(message.create_ack())
        await writer.drain()
    writer.close()


async def main() -> None:
    port = int(os.environ["PORT"])
    async with await start_hl7_server(serve, host="127.0.0.1", port=port, backlog=1024) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
