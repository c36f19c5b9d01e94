import asyncio
import contextlib

import pytest

from consumers import connect
from consumers.console.tail import follow
from consumers.patterns import Patterns
from ingest.contract.keys import StreamKey
from tests.consumers.cutting import cutting
from tests.consumers.producing import BTC, ETH, blocked, entry_id, put
from tests.eventually import eventually

KRAKEN = StreamKey("kraken", "trades", "BTC/USD")


async def tailed(redis, pattern, start, count, meanwhile=None):
    stopping = asyncio.Event()
    got = []
    async with contextlib.aclosing(follow(redis, Patterns([pattern]), start, stopping)) as batches:
        async for entries in batches:
            got += [(entry.key, int(entry.fields[b"s"])) for entry in entries]
            if meanwhile:
                await meanwhile()
                meanwhile = None
            if len(got) >= count:
                stopping.set()
    return sorted(got)


@pytest.mark.parametrize(
    ("pattern", "seen"),
    [
        ("md:*", [(BTC, 1), (BTC, 2), (ETH, 1), (KRAKEN, 1)]),
        ("md:{binance}:*", [(BTC, 1), (BTC, 2), (ETH, 1)]),
        ("*:*:ETH/USDT", [(ETH, 1)]),
    ],
)
async def test_the_streams_are_those_that_the_pattern_names(redis, pattern, seen):
    await put(redis, BTC, [1, 2])
    await put(redis, ETH, [1])
    await put(redis, KRAKEN, [1])

    assert await tailed(redis, pattern, "0", len(seen)) == seen
    assert await redis.xinfo_groups(str(BTC)) == []


async def test_it_begins_behind_an_id(redis):
    await put(redis, BTC, [1, 2, 3])

    assert await tailed(redis, "md:*", (await entry_id(redis, BTC, 2)).decode(), 1) == [(BTC, 3)]


async def test_from_now_on_means_new_entries_and_all_of_new_streams(redis):
    await put(redis, BTC, [1])
    await put(redis, ETH, [1])
    waiting = asyncio.create_task(tailed(redis, "md:*", "$", 3, meanwhile=lambda: put(redis, KRAKEN, [1, 2])))
    await eventually(lambda: blocked(redis, "xread"))
    await put(redis, BTC, [2])

    assert await waiting == [(BTC, 2), (KRAKEN, 1), (KRAKEN, 2)]


async def test_lost_replies_lose_nothing(redis, redis_server):
    await put(redis, BTC, range(1, 501))

    async with cutting(redis_server.port, b"XREAD", every=2) as url:
        client = connect(url)
        got = await tailed(client, "md:*", "0", 500)
        await client.aclose()

    assert got == [(BTC, number) for number in range(1, 501)]
