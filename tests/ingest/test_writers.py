"""What writers say of themselves, and what an audit makes of it."""

import asyncio
import contextlib

import pytest
from msgspec import structs
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from deploy.local_redis import local_redis
from ingest.audit import audit
from ingest.contract import keys
from ingest.contract.codec import unpack
from ingest.contract.events import Event, Trade
from ingest.contract.keys import StreamKey
from ingest.publisher import Publisher
from ingest.writers import FORGOTTEN_AFTER_NS, Billboard, Figures, Share, heard
from tests.eventually import eventually

TRADES = StreamKey("binance", "trades", "BTC/USDT")
NOW_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000
FIGURES = Figures(
    at_ns=NOW_NS, queued=1, unconfirmed=2, spilled=3, lost_on_disk=4, tail=5, streams={str(TRADES): Share(5, "g", 7)}
)


def trade(i):
    return Event(TRADES, str(i), Trade(price="1.5", amount="2", side="buy", received_ns=i), "dense", str(i))


@contextlib.asynccontextmanager
async def connected(url):
    client = Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5, socket_connect_timeout=5)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def publishing(url, writer="one", **options):
    async with connected(url) as client:
        publisher = Publisher(client, "binance", writer=writer, **options)
        running = asyncio.create_task(publisher.run())
        try:
            yield publisher
        finally:
            publisher.finish()
            await running


async def figures(redis):
    return (await heard(redis, "binance")).get("one")


async def test_what_is_said_is_heard_and_any_reader_of_messagepack_reads_it(redis):
    await Billboard(redis, "binance", "one").publish(FIGURES)
    packed = await redis.hget(keys.writers("binance"), "one")
    assert (await heard(redis, "binance"), unpack(packed)["streams"]) == ({"one": FIGURES}, {str(TRADES): [5, "g", 7]})


async def test_who_has_been_silent_for_a_day_is_forgotten_by_the_next_that_comes(redis):
    silent = structs.replace(FIGURES, at_ns=NOW_NS - FORGOTTEN_AFTER_NS - 1)
    quiet = structs.replace(FIGURES, at_ns=NOW_NS - FORGOTTEN_AFTER_NS)
    await Billboard(redis, "binance", "quiet").publish(quiet)
    await Billboard(redis, "binance", "silent").publish(silent)
    await redis.hset(keys.writers("binance"), "garbage", b"\xc1")
    before = list(await heard(redis, "binance"))
    await Billboard(redis, "binance", "one").publish(FIGURES)
    after = sorted(await redis.hkeys(keys.writers("binance")))
    assert (before, after) == (["quiet", "silent"], [b"one", b"quiet"])


async def test_who_speaks_again_meanwhile_is_not_forgotten(redis):
    """Between the look and the script: the field is not as it was seen."""

    class Overtaken(Redis):
        async def eval(self, *arguments):
            await redis.hset(keys.writers("binance"), "silent", b"heard again")
            return await super().eval(*arguments)

    silent = structs.replace(FIGURES, at_ns=NOW_NS - FORGOTTEN_AFTER_NS - 1)
    await Billboard(redis, "binance", "silent").publish(silent)
    await Billboard(Overtaken(connection_pool=redis.connection_pool), "binance", "one").publish(FIGURES)
    assert await redis.hget(keys.writers("binance"), "silent") == b"heard again"


async def writer_report(redis, now_ns=NOW_NS):
    (report,) = (await audit(redis, [], now_ns)).writers
    return report


async def test_an_audit_says_what_is_under_way_and_is_not_unbalanced_by_it(redis):
    await redis.sadd(keys.EXCHANGES, "binance")
    await Billboard(redis, "binance", "one").publish(FIGURES)
    report = await audit(redis, [], NOW_NS + SECOND_NS)
    assert (report.under_way, report.balanced, report.writers[0].lost_on_disk) == (6, True, 4)


async def test_a_writer_that_fell_silent_has_died_with_what_it_had(redis):
    await redis.sadd(keys.EXCHANGES, "binance")
    await Billboard(redis, "binance", "one").publish(FIGURES)
    report = await audit(redis, [], NOW_NS + 75 * SECOND_NS)
    assert (report.under_way, report.writers[0].verdict, report.writers[0].queued) == (0, "last heard 75 s ago", 1)


@pytest.mark.slow
async def test_a_tail_is_of_those_that_live_and_its_depth_is_seen(redis, redis_server):
    async with publishing(redis_server.url) as publisher:
        for i in range(1, 11):
            publisher.put(trade(i))
        await eventually(lambda: publisher.counters.appended == 10)

        async def said():
            now = await figures(redis)
            return now and now.tail == 10 and now

        living = await eventually(said)
        (stream,) = (await audit(redis, [], living.at_ns)).streams
    ended = await figures(redis)
    (afterwards,) = (await audit(redis, [], ended.at_ns)).streams
    assert (
        (stream.tail, stream.durable_n, stream.verdict, living.ended),
        (afterwards.tail, afterwards.verdict, ended.ended),
    ) == ((10, 0, "proven", False), (0, "proven", True))


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["none", "always"])
async def test_where_a_confirmation_is_all_there_is_it_is_the_durable_position(redis, redis_server, durability):
    async with publishing(redis_server.url, durability=durability) as publisher:
        for i in range(1, 11):
            publisher.put(trade(i))
        await eventually(lambda: publisher.counters.appended == 10)
    (stream,) = (await audit(redis, [], NOW_NS)).streams
    assert (stream.tail, stream.durable_n) == (0, 10)


@pytest.mark.slow
async def test_what_the_server_has_on_its_disk_is_the_durable_position():
    with local_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        async with connected(server.url) as redis, publishing(server.url, durability="confirmed") as publisher:
            for i in range(1, 11):
                publisher.put(trade(i))

            async def on_disk():
                now = await figures(redis)
                return now and now.streams.get(str(TRADES), Share(0)).n == 10 and now

            found = await eventually(on_disk)
            (stream,) = (await audit(redis, [], found.at_ns)).streams
    assert (found.tail, stream.tail, stream.durable_n) == (0, 0, 10)


@pytest.mark.slow
async def test_a_position_of_another_generation_is_none(redis, redis_server):
    async with publishing(redis_server.url, durability="none") as publisher:
        publisher.put(trade(1))
        await eventually(lambda: publisher.counters.appended == 1)
    await redis.delete(str(TRADES), TRADES.state)
    async with publishing(redis_server.url, writer="two") as publisher:
        publisher.put(trade(1))
        await eventually(lambda: publisher.counters.appended == 1)
        (stream,) = (await audit(redis, [], NOW_NS)).streams
    share = (await figures(redis)).streams[str(TRADES)]
    assert (share.n, share.g == stream.g, stream.durable_n) == (1, False, 0)


@pytest.mark.slow
async def test_a_server_that_refuses_the_figures_is_written_to_all_the_same(redis, redis_server):
    """Of another type than it should be, as with any other refusal."""
    await redis.set(keys.writers("binance"), "not a hash")
    async with publishing(redis_server.url, durability="none") as publisher:
        publisher.put(trade(1))
        await eventually(lambda: publisher.counters.appended == 1)
    assert await redis.xlen(str(TRADES)) == 1
