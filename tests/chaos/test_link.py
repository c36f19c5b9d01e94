"""The links of the chaos harness do break, and in the way they are said to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.chaos.link import Link
from tests.eventually import eventually

pytestmark = pytest.mark.slow

REQUEST, ANSWER = b"12345678", b"answer"
NO_ANSWER_S = 0.1


class Server:
    """Keeps what it hears, and answers a whole request."""

    heard = b""

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError):
            while chunk := await reader.read(100):
                self.heard += chunk
                if self.heard.endswith(REQUEST):
                    writer.write(ANSWER)
        writer.close()


@pytest.fixture
def server():
    return Server()


@pytest.fixture
async def link(server) -> AsyncIterator[Link]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening, Link(listening.sockets[0].getsockname()[1]) as link:
        yield link


async def ask(link):
    """What comes back; an OSError if the connection is reset, a TimeoutError if nothing comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        writer.write(REQUEST)
        async with asyncio.timeout(NO_ANSWER_S):
            return await reader.read(100)
    finally:
        writer.transport.abort()


async def test_a_link_carries_both_ways(link, server):
    assert (await ask(link), server.heard) == (ANSWER, REQUEST)


async def test_a_reset_reaches_both_ends(link):
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(REQUEST)
    await reader.readexactly(len(ANSWER))
    link.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.transport.abort()


async def test_a_cut_request_arrives_in_half(link, server):
    link.snag("cut")
    with pytest.raises(ConnectionResetError):
        await ask(link)
    assert (server.heard, await ask(link)) == (REQUEST[:4], ANSWER)


async def test_a_lost_reply_is_one_to_a_request_that_arrived(link, server):
    link.snag("lost-reply")
    with pytest.raises(ConnectionResetError):
        await ask(link)
    assert server.heard == REQUEST


async def test_late_bytes_arrive_when_their_sender_is_gone(link, server):
    link.snag("late", late_s=0.1)
    with pytest.raises(ConnectionResetError):
        await ask(link)
    assert server.heard == b""
    await eventually(lambda: server.heard == REQUEST)


async def test_a_silent_connection_swallows_and_a_new_one_works(link, server):
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(REQUEST)
    await reader.readexactly(len(ANSWER))
    link.fall_silent()
    writer.write(REQUEST)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(NO_ANSWER_S):
            await reader.read(1)
    writer.transport.abort()
    assert (await ask(link), server.heard) == (ANSWER, 2 * REQUEST)


async def test_delayed_bytes_come_late_and_all(link):
    link.delay(NO_ANSWER_S)
    with pytest.raises(TimeoutError):
        await ask(link)
    link.delay(0)
    assert await ask(link) == ANSWER


async def test_who_closes_in_order_has_all_of_it_delivered(link, server):
    whole = bytes(1 << 20)

    async def say_it_all(_, writer):
        writer.write(whole)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(say_it_all, "127.0.0.1", 0)
    async with listening, Link(listening.sockets[0].getsockname()[1]) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        said = b""
        while chunk := await reader.read(10_000):
            said += chunk
            await asyncio.sleep(0)
        writer.transport.abort()
    assert len(said) == len(whole)
