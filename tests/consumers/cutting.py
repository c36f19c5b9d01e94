"""A way to Redis on which replies get lost: the server has done what it was asked, and the client never hears of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import count


@contextlib.asynccontextmanager
async def cutting(port: int, word: bytes, every: int) -> AsyncIterator[str]:
    """The address of a proxy that cuts the connection instead of every n-th reply to `word` that is not empty."""
    replies = count(1)
    links: set[asyncio.Task[None]] = set()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links.add(asyncio.current_task())
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        asked = False

        async def ask() -> None:
            nonlocal asked
            while request := await reader.read(1 << 16):
                asked = word in request
                server_writer.write(request)
            server_writer.close()

        async def answer() -> None:
            while reply := await server_reader.read(1 << 16):
                if asked and reply[:3] != b"*-1" and next(replies) % every == 0:
                    break
                writer.write(reply)
            writer.close()

        try:
            await asyncio.gather(ask(), answer())
        except OSError:
            pass
        finally:
            for end in (writer, server_writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    server = await asyncio.start_server(link, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    for task in links:
        task.cancel()
    await asyncio.gather(*links, return_exceptions=True)
