"""What is trimmed and what stays, and that janitors do not get into each other's way."""

import asyncio

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from deploy.local_redis import local_redis
from ingest.contract import keys
from ingest.contract.keys import StreamKey
from tests.eventually import eventually
from tests.ingest.retention.scene import BOOK, TRADES, group, janitor, left, write

pytestmark = pytest.mark.slow

FILLS = StreamKey("binance", "fills", "BTC/USDT")
CANDLES = StreamKey("binance", "candles-1m", "BTC/USDT")


@pytest.mark.parametrize(
    ("read", "acked", "kept_from"),
    [
        (0, (), 0),
        (4, (), 0),
        (4, (0, 1), 2),
        (4, (1, 2, 3), 0),
        (4, (0, 2), 1),
        (4, (0, 1, 2, 3), 4),
        (9, range(9), 9),
        (10, range(10), 9),  # the newest entry stays
    ],
)
async def test_a_stream_keeps_what_its_group_has_not_acknowledged(redis, read, acked, kept_from):
    ids = await write(redis, 10)
    await group(redis, "bot", read=read, acked=acked)
    assert (await janitor(redis).round(), await left(redis)) == ([], ids[kept_from:])


async def test_a_stream_keeps_what_any_group_has_not_acknowledged(redis):
    ids = await write(redis, 10)
    await group(redis, "fast", read=9, acked=range(9))
    await group(redis, "slow", read=5, acked=(0, 1, 2))
    await janitor(redis).round()
    assert await left(redis) == ids[3:]


async def test_what_nobody_needs_stays_until_it_is_old(redis):
    old = await write(redis, 3, age_s=1000)
    young = await write(redis, 3, age_s=800)
    await janitor(redis, keep_s=900).round()
    assert (await left(redis), await redis.hgetall(TRADES.retention)) == (
        young,
        {b"trimmed_n": b"3", b"trimmed_to": old[-1].encode()},
    )


async def test_fills_stay_for_longer_since_positions_are_their_sum(redis):
    await write(redis, 1, age_s=31 * 86_400, key=FILLS)
    kept = await write(redis, 2, age_s=29 * 86_400, key=FILLS)
    await janitor(redis, keep_s=900).round()
    assert await left(redis, FILLS) == kept


async def test_a_group_that_has_not_come_yet_keeps_all_there_is(redis):
    ids = await write(redis, 10, age_s=1000)
    await redis.hset(keys.groups("binance"), "late", "ticker trades")
    await janitor(redis).round()
    assert await left(redis) == ids


@pytest.mark.parametrize(("channels", "kept"), [("candles", 3), ("ticker candles-1m", 3), ("candles-5m trades", 1)])
async def test_candles_of_every_interval_are_needed_by_who_needs_candles(redis, channels, kept):
    await write(redis, 3, key=CANDLES)
    await redis.hset(keys.groups("binance"), "bot", channels)
    await janitor(redis).round()
    assert len(await left(redis, CANDLES)) == kept


async def test_a_group_that_is_not_registered_is_not_waited_for(redis):
    ids = await write(redis, 10)
    await redis.xgroup_create(str(TRADES), "stranger", "0")
    await janitor(redis).round()
    assert await left(redis) == ids[9:]


async def test_a_book_stays_from_its_last_snapshot_on(redis):
    ids = await write(redis, 10, key=BOOK)
    await redis.hset(BOOK.snap, mapping={"id": ids[4], "n": 5})
    await janitor(redis).round()
    assert await left(redis, BOOK) == ids[4:]


async def test_what_is_pending_but_gone_holds_nothing_up(redis):
    ids = await write(redis, 10)
    await group(redis, "bot", read=6, acked=(2, 3))
    await redis.xdel(str(TRADES), ids[0], ids[1])
    await janitor(redis).round()
    assert await left(redis) == ids[4:]


async def test_streams_of_all_exchanges_are_trimmed_or_of_one(redis):
    other = StreamKey("kraken", "trades", "BTC/USD")
    lengths = []
    for exchange in ("kraken", None):
        await write(redis, 10)
        await write(redis, 10, key=other)
        await janitor(redis, exchange=exchange).round()
        lengths.append((len(await left(redis)), len(await left(redis, other))))
    assert lengths == [(10, 1), (1, 1)]


async def test_what_was_trimmed_is_counted_by_stream_and_anew_when_the_stream_is(redis):
    tidy = janitor(redis)
    counted = []
    for age_s in (30, 20):
        await write(redis, 10, age_s=age_s)
        await tidy.round()
        counted.append(await redis.hget(TRADES.retention, "trimmed_n"))
    await redis.delete(str(TRADES))
    await write(redis, 5, age_s=10)
    await tidy.round()
    assert ([*counted, await redis.hget(TRADES.retention, "trimmed_n")], tidy.counters.trimmed) == (
        [b"9", b"19", b"4"],
        23,
    )


@pytest.mark.parametrize(("gaps", "left_over"), [(10_000, 10_000), (10_001, 2)])
async def test_registered_gaps_older_than_all_trades_go_when_they_are_many(redis, gaps, left_over):
    """The ten trades here are 1 to 10, and only the last one stays."""
    await write(redis, 10)
    await redis.zadd(TRADES.gaps, {f"{first}-{first}": first for first in range(12 - gaps, 10)})
    await redis.zadd(TRADES.gaps, {"11-12": 11, "14-14": 14})
    await janitor(redis).round()
    assert await redis.zcard(TRADES.gaps) == left_over


@pytest.mark.parametrize("budget_bytes", [0, 1])
async def test_a_key_that_is_no_stream_holds_up_no_other(redis, budget_bytes):
    ids = await write(redis, 10)
    await redis.sadd(keys.streams("binance"), "nonsense", str(BOOK))
    await redis.set(str(BOOK), "in the way")
    tidy = janitor(redis, budget_bytes=budget_bytes)
    assert (await tidy.round(), await left(redis), tidy.counters.failures) == ([], ids[9:], 2)


async def test_of_two_janitors_one_is_at_work(redis):
    await write(redis, 10)
    one, two = (janitor(redis, owner=owner, every_s=60) for owner in ("one", "two"))
    await asyncio.gather(*(each.round() for each in (one, two) for _ in range(5)))
    assert (one.counters.rounds + two.counters.rounds, one.counters.rounds * two.counters.rounds) == (5, 0)


async def test_another_janitor_takes_over_when_the_one_at_work_dies(redis):
    one, two = janitor(redis, owner="one"), janitor(redis, owner="two")
    await write(redis, 10)
    await one.round()
    ids = await write(redis, 10)

    async def trimmed_by_two():
        await two.round()
        return two.counters.trimmed

    assert (await eventually(trimmed_by_two), await left(redis)) == (10, ids[9:])


async def test_a_janitor_that_ends_gives_its_lease_back(redis):
    await write(redis, 10)
    one, two = janitor(redis, owner="one", every_s=60), janitor(redis, owner="two")
    stopping = asyncio.Event()
    running = asyncio.create_task(one.run(stopping))
    await eventually(lambda: one.counters.trimmed)
    stopping.set()
    await running
    await two.round()
    assert two.counters.rounds == 1


async def test_a_janitor_whose_lease_was_taken_meanwhile_trims_nothing(redis):
    ids = await write(redis, 10)
    slow = janitor(redis, owner="slow")
    await redis.set(keys.lease("binance", "janitor"), "another")
    await slow._trim("binance", [str(TRADES)], dead_ms=0)
    assert (await left(redis), slow.counters.trimmed) == (ids, 0)


async def test_fakeredis_runs_the_script():
    redis = FakeAsyncRedis()
    ids = await write(redis, 10)
    await group(redis, "bot", read=5, acked=(0, 1))
    await redis.set(keys.lease("binance", "janitor"), "one")
    await janitor(redis)._trim("binance", [str(TRADES)], dead_ms=0)
    assert await left(redis) == ids[2:]


@pytest.mark.slow
async def test_a_janitor_outlives_redis():
    with local_redis() as server:
        redis = Redis.from_url(server.url)
        tidy = janitor(redis)
        stopping = asyncio.Event()
        running = asyncio.create_task(tidy.run(stopping))
        await write(redis, 10)
        await eventually(lambda: tidy.counters.trimmed == 9)
        server.kill()
        await eventually(lambda: tidy.counters.failures)
        server.start()
        await write(redis, 10)
        await eventually(lambda: tidy.counters.trimmed == 18)
        stopping.set()
        await running
        await redis.aclose()


@pytest.mark.parametrize(
    ("needs", "kept_from"), [("trades:ETH-USDT", 9), ("trades:BTC-USDT", 0), ("ticker:BTC-USDT trades:ETH-USDT", 9)]
)
async def test_a_group_that_needs_one_symbol_holds_no_other_up(redis, needs, kept_from):
    ids = await write(redis, 10)
    await redis.hset(keys.groups("binance"), "one-symbol", needs)
    await janitor(redis).round()
    assert await left(redis) == ids[kept_from:]


async def test_a_stream_without_a_symbol_is_needed_whatever_symbol_a_group_reads(redis):
    key = StreamKey("binance", "status")
    ids = await write(redis, 10, key=key)
    await redis.hset(keys.groups("binance"), "one-symbol", "status:BTC-USDT")
    await janitor(redis).round()
    assert await left(redis, key) == ids
