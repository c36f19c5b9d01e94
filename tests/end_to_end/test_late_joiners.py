"""Who comes late has what those have who were there from the start, while the book goes on."""

import pytest

from consumers import Live, LiveBook, Replay, Replayed, connect
from ingest.contract.keys import StreamKey
from ingest.simulator.server import simulated_binance
from tests.end_to_end.running import working
from tests.eventually import eventually

pytestmark = pytest.mark.slow
BOOK = StreamKey("binance", "orderbook", "BTC/USDT")


async def pair(redis, early):
    """The book that was followed and one that begins now, as of the same entry; None if one is ahead."""
    late = LiveBook(BOOK)
    await late.refresh(redis)
    await early.refresh(redis)
    return (early, late) if early.live and early.as_of == late.as_of else None


async def test_a_book_that_is_joined_late_is_the_one_that_was_followed_also_after_a_resync(redis):
    early, seen = LiveBook(BOOK), []
    async with simulated_binance(symbols=("BTC/USDT",), rate=300) as exchange, working(redis, exchange, ("BTC/USDT",)):
        for each in range(6):
            if each == 3:
                await exchange.drop_all()
            before = early.as_of
            followed, late = await eventually(lambda: pair(redis, early))
            seen.append(followed.book.written() == late.book.written())
            await eventually(lambda before=before: moved_on(redis, early, before))

    assert seen == [True] * 6


async def moved_on(redis, book, before):
    await book.refresh(redis)
    return book.live and book.as_of != before


async def test_a_book_that_is_replayed_into_the_present_is_the_live_one(redis, redis_server):
    client, replayed = connect(redis_server.url), LiveBook(BOOK)
    async with simulated_binance(symbols=("BTC/USDT",), rate=300) as exchange, working(redis, exchange, ("BTC/USDT",)):
        await eventually(lambda: moved_on(redis, LiveBook(BOOK), "0-0"))
        after_it_is_live = 0
        async for step in Replay(client, [str(BOOK)], start="-1h", follow=True):
            match step:
                case Replayed():
                    replayed.take(step.entry())
                    after_it_is_live += bool(after_it_is_live)
                case Live():
                    after_it_is_live = 1
            if after_it_is_live > 20:
                break

    ours = LiveBook(BOOK)
    async for step in Replay(client, [str(BOOK)], until=replayed.as_of):
        ours.take(step.entry())
    await client.aclose()
    assert (ours.live, ours.as_of, ours.book.written()) == (True, replayed.as_of, replayed.book.written())
