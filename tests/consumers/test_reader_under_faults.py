"""Replies get lost, connections and the server die: a reader gets everything; one that does less loses entries."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from consumers import connect
from consumers.delivery import Taken
from deploy.local_redis import local_redis
from tests.consumers.cutting import cutting
from tests.consumers.producing import BTC, GROUP, blocked, ids, put, reader, standing
from tests.eventually import eventually

pytestmark = pytest.mark.slow

ENTRIES = 2_000


@pytest.fixture
async def entries(redis):
    for first in range(1, ENTRIES + 1, 500):
        await put(redis, BTC, range(first, first + 500))


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize("word", [b"XREADGROUP", b"EVALSHA"])
async def test_lost_replies_lose_no_entry_and_count_none_twice(redis, redis_server, word):
    async with cutting(redis_server.port, word, every=5) as url:
        client = connect(url)
        got = await _until(client, ENTRIES)
        await client.aclose()

    assert list(dict.fromkeys(ids(got))) == list(range(1, ENTRIES + 1))
    assert {delivery.hole for delivery in got} == {0}
    assert await standing(redis, BTC) == (ENTRIES, ENTRIES, 0)


@pytest.mark.usefixtures("entries")
async def test_a_client_that_retries_and_reads_only_what_is_new_loses_entries(redis, redis_server):
    await redis.xgroup_create(str(BTC), GROUP, "0")
    async with cutting(redis_server.port, b"XREADGROUP", every=5) as url:
        client = Redis.from_url(url, retry=Retry(NoBackoff(), 10))
        seen = await _naive(client)
        await client.aclose()

    assert len(seen) < ENTRIES


@pytest.mark.usefixtures("entries")
async def test_reading_only_what_is_new_after_an_error_loses_entries(redis, redis_server):
    await redis.xgroup_create(str(BTC), GROUP, "0")
    async with cutting(redis_server.port, b"XREADGROUP", every=5) as url:
        client = connect(url)
        seen = await _naive(client)
        await client.aclose()

    assert len(seen) < ENTRIES


@pytest.mark.usefixtures("entries")
async def test_a_group_that_begins_at_the_end_misses_what_was_there(redis):
    await redis.xgroup_create(str(BTC), GROUP, "$")
    await put(redis, BTC, [ENTRIES + 1])

    assert await _naive(redis) == [str(ENTRIES + 1).encode()]


async def test_connections_killed_while_they_wait_for_entries_lose_none(redis, redis_server):
    await put(redis, BTC, [1])
    client = connect(redis_server.url)
    reading = asyncio.create_task(_until(client, 11))
    for number in range(2, 12):
        for client_id in await eventually(lambda: blocked(redis, "xreadgroup")):
            await redis.client_kill_filter(_id=client_id)
        await put(redis, BTC, [number])
    got = await reading
    await client.aclose()

    assert list(dict.fromkeys(ids(got))) == list(range(1, 12))
    assert await standing(redis, BTC) == (11, 11, 0)


async def test_a_server_that_dies_and_returns_loses_no_entry():
    with local_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        client = connect(server.url)
        await put(client, BTC, range(1, 501))
        got = []
        async with reader(client, count=50) as trades:
            async for delivery in trades:
                got.append(delivery)
                await delivery.ack()
                if len(got) in (120, 240):
                    server.kill()
                    asyncio.get_running_loop().call_later(0.3, server.start)
                if delivery.entry.n == 500:
                    trades.stop()
        position = await standing(client, BTC)
        await client.aclose()

    assert list(dict.fromkeys(ids(got))) == list(range(1, 501))
    assert position == (500, 500, 0)


async def test_what_a_server_forgets_is_had_once_when_it_comes_again():
    """It goes back to its last dump: entries, effects and places are forgotten together, and the entries are resent."""
    with local_redis() as server:
        client = connect(server.url)

        async def had(last):
            try:
                effects = await client.lrange("effects:{binance}", 0, -1)
            except (RedisError, OSError):
                return False
            return effects == [str(number).encode() for number in range(1, last + 1)]

        async def resent():
            try:
                await put(client, BTC, range(6, 11))
            except (RedisError, OSError):
                return False
            return True

        async def handle(trades):
            async for delivery in trades:
                try:
                    await delivery.commit(("RPUSH", "effects:{binance}", delivery.entry.s))
                except (RedisError, OSError, Taken):
                    delivery.release()

        await put(client, BTC, range(1, 6))
        async with reader(client, partition="symbol", lease_ms=500) as trades:
            handling = asyncio.create_task(handle(trades))
            await eventually(lambda: had(5))
            await client.save()
            await put(client, BTC, range(6, 10))
            await eventually(lambda: had(9))
            server.kill()
            server.start()
            await eventually(resent)
            await eventually(lambda: had(10))
            trades.stop()
            await handling
        position = await standing(client, BTC)
        await client.aclose()

    assert position == (10, 10, 0)


async def _until(client, last, count=50):
    got = []
    async with reader(client, count=count) as trades:
        async for delivery in trades:
            got.append(delivery)
            await delivery.ack()
            if delivery.entry.n == last:
                trades.stop()
    return got


async def _naive(client):
    """What is found in most examples: read what is new, acknowledge, go on; after an error, too."""
    seen = []
    while True:
        try:
            reply = await client.xreadgroup(GROUP, "me", {str(BTC): ">"}, count=50, block=50)
            if not reply:
                return seen
            for entry_id, fields in reply[0][1]:
                seen.append(fields[b"s"])
                await client.xack(str(BTC), GROUP, entry_id)
        except RedisError:
            await asyncio.sleep(0)
