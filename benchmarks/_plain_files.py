"""A server that does nothing but send one file to whoever asks, by the kernel: what `curl` can get at most.

`python -m benchmarks._plain_files FILE` prints its port, and serves until stdin closes.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import BinaryIO


async def _answer(
    file: BinaryIO, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            await loop.sendfile(writer.transport, file)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve(path: Path, size: int) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: %d\r\n\r\n" % size

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with open(path, "rb") as file:  # noqa: ASYNC230  # its own: sending moves the place in it
            await _answer(file, head, reader, writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    asyncio.run(_serve(path, path.stat().st_size))
