import asyncio
import contextlib

import pytest

from consumers import Latest, connect, latest_ticker
from consumers.append import append
from ingest.contract.events import Event, Status
from ingest.contract.keys import BadName
from tests.consumers.cutting import cutting
from tests.consumers.producing import BTC, ETH, put
from tests.consumers.services.scene import key, ticker

TICKER = key("ticker")


def stale(mark):
    return Event(TICKER, f"x.{mark}", Status(state="stale", reason="silent"), "state", f"stale book.{mark}")


async def test_the_latest_ticker_is_the_newest_one_and_says_whether_it_is_stale(redis):
    said = [await latest_ticker(redis, TICKER)]
    for events in ([ticker(1, last="5"), ticker(2, last="6")], [stale(2)], [ticker(3, last="7")]):
        await append(redis, events)
        said.append(await latest_ticker(redis, TICKER))

    assert [each and (each.ticker.last, each.entry.s, each.stale) for each in said] == [
        None,
        ("6", "book.2", False),
        ("6", "book.2", True),
        ("7", "book.3", False),
    ]


async def looks(redis, count, meanwhile=(), **options):
    """What so many looks found; before each but the first, something happens."""
    latest, found, happenings = Latest(redis, ["*"], every_seconds=0.01, **options), [], iter(meanwhile)
    async with contextlib.aclosing(aiter(latest)) as each:
        async for changed in each:
            found.append([(newest.key, int(newest.fields[b"s"]), newest.skipped) for newest in changed])
            if len(found) == count:
                break
            await next(happenings)()
    return found


async def test_who_looks_seldom_sees_the_newest_and_how_much_was_skipped(redis):
    await put(redis, BTC, range(1, 101))
    await put(redis, ETH, [1])

    found = await looks(redis, 3, [lambda: put(redis, BTC, range(101, 5001)), lambda: put(redis, ETH, [2])])

    assert found == [[(BTC, 100, 0), (ETH, 1, 0)], [(BTC, 5000, 4899)], [(ETH, 2, 0)]]


async def test_a_stream_that_is_new_or_begins_anew_is_seen(redis):
    await put(redis, BTC, [1, 2])

    async def anew():
        await redis.delete(str(BTC), BTC.state)
        await put(redis, BTC, [7])

    assert await looks(redis, 3, [lambda: put(redis, ETH, [1]), anew]) == [[(BTC, 2, 0)], [(ETH, 1, 0)], [(BTC, 7, 0)]]


async def test_it_ends_when_it_is_asked_to_though_nothing_comes(redis):
    latest = Latest(redis, ["*"])
    task = asyncio.create_task(anext(aiter(latest), None))
    await asyncio.sleep(0)
    latest.stop()

    assert await task is None


async def test_lost_replies_are_asked_for_again(redis, redis_server):
    await put(redis, BTC, [1])
    async with cutting(redis_server.port, b"XREVRANGE", every=2) as url:
        client = connect(url)
        found = await looks(client, 3, [lambda n=n: put(redis, BTC, [n]) for n in (2, 3)])
        await client.aclose()

    assert [newest[0][1] for newest in found] == [1, 2, 3]


async def test_a_pattern_that_names_none_is_refused(redis):
    with pytest.raises(BadName):
        Latest(redis, ["a:b:c:d"])
