import asyncio
import contextlib
import time

import msgspec
import pytest
from msgspec import structs
from redis.asyncio import Redis

from consumers.append import append
from ingest.contract import keys
from ingest.contract.keys import StreamKey
from tests.consumers.producing import BTC, ETH, GROUP, entry_id, ids, look_at, put, reader, standing, take, trade
from tests.eventually import eventually


async def test_a_group_reads_all_that_was_there_before_it(redis):
    await put(redis, BTC, range(1, 1001))

    async with reader(redis) as trades:
        assert ids(await take(trades, 1000)) == list(range(1, 1001))

    assert await standing(redis, BTC) == (1000, 1000, 0)


async def test_own_pending_entries_come_first_after_a_restart(redis):
    await put(redis, BTC, range(1, 6))
    async with reader(redis) as first:
        await look_at(first, 3)
    await put(redis, BTC, range(6, 8))

    async with reader(redis) as second:
        got = await take(second, 7)

    assert [(number, delivery.redelivered) for number, delivery in zip(ids(got), got, strict=True)] == [
        *((number, True) for number in range(1, 6)),
        (6, False),
        (7, False),
    ]
    assert await standing(redis, BTC) == (7, 7, 0)


async def test_what_was_acknowledged_but_not_told_to_redis_is_delivered_again_and_counts_once(redis):
    await put(redis, BTC, range(1, 6))
    assert ids(await take(reader(redis), 3)) == [1, 2, 3]  # never left: a crash
    assert await standing(redis, BTC) == (0, 0, 5)

    async with reader(redis) as second:
        assert ids(await take(second, 5)) == [1, 2, 3, 4, 5]

    assert await standing(redis, BTC) == (5, 5, 0)


async def test_an_entry_acknowledged_twice_counts_once(redis):
    await put(redis, BTC, range(1, 4))

    async with reader(redis) as trades:
        for delivery in await look_at(trades, 3):
            await delivery.ack()
            await delivery.ack()

    assert await standing(redis, BTC) == (3, 3, 0)


async def test_acknowledgements_are_told_before_the_next_read(redis):
    await put(redis, BTC, range(1, 4))

    async with reader(redis) as trades, contextlib.aclosing(aiter(trades)) as deliveries:
        for _ in range(3):
            await (await anext(deliveries)).ack()
        await put(redis, BTC, [4])
        await anext(deliveries)
        assert await standing(redis, BTC) == (3, 3, 1)


async def test_stopping_finishes_what_is_in_hand_and_reads_no_more(redis):
    await put(redis, BTC, range(1, 11))
    got = []

    async with reader(redis, count=5) as trades:
        async for delivery in trades:
            got.append(delivery)
            await delivery.ack()
            trades.stop()

    assert ids(got) == [1, 2, 3, 4, 5]
    assert await standing(redis, BTC) == (5, 5, 0)


async def test_stopping_while_waiting_for_something_to_read_ends(redis):
    for streams in ([], [BTC]):
        for key in streams:
            await put(redis, key, [1])
        trades = reader(redis)
        asyncio.get_running_loop().call_later(0.1, trades.stop)
        async with trades:
            async for delivery in trades:
                await delivery.ack()


async def test_cancelled_readers_end_even_where_redis_py_swallows_it(redis):
    await put(redis, BTC, [1])
    readers = [reader(redis, consumer=f"reader-{number}", block_ms=1) for number in range(60)]
    tasks = [asyncio.create_task(take(each, 2)) for each in readers]
    await eventually(lambda: _consumers_are(redis, 60))

    for task in tasks:
        task.cancel()
    _, running = await asyncio.wait(tasks, timeout=3)
    for each in readers:
        each.stop()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert running == set()


async def test_what_a_dead_consumer_held_is_claimed(redis):
    await put(redis, BTC, range(1, 6))
    await look_at(reader(redis, consumer="dead"), 1)

    async with reader(redis, consumer="living", claim_idle_ms=50) as living:
        got = await take(living, 5)

    assert [(number, delivery.redelivered) for number, delivery in zip(ids(got), got, strict=True)] == [
        (number, True) for number in range(1, 6)
    ]
    assert await standing(redis, BTC) == (5, 5, 0)


async def test_readers_of_one_group_share_a_stream_and_report_no_holes(redis):
    await put(redis, BTC, range(1, 101))

    async with reader(redis, consumer="a", count=10) as a, reader(redis, consumer="b", count=10) as b:
        one, other = aiter(a), aiter(b)
        got = []
        for _ in range(50):
            for deliveries in (one, other):
                got.append(await anext(deliveries))
                await got[-1].ack()

    assert sorted(ids(got)) == list(range(1, 101))
    assert {delivery.hole for delivery in got} == {0}
    assert await standing(redis, BTC) == (100, 100, 0)


async def test_an_entry_deleted_before_it_was_read_is_a_hole(redis):
    await put(redis, BTC, range(1, 10))
    await redis.xdel(str(BTC), *[await entry_id(redis, BTC, place) for place in (3, 4, 7)])

    async with reader(redis) as trades:
        got = await take(trades, 6)
        figures = trades.figures["binance"]

    assert [(number, delivery.hole) for number, delivery in zip(ids(got), got, strict=True)] == [
        (1, 0),
        (2, 0),
        (5, 2),
        (6, 0),
        (8, 1),
        (9, 0),
    ]
    assert (figures.holes, figures.lost) == (2, 3)


async def test_what_is_missing_at_the_beginning_of_a_generation_is_a_hole(redis):
    await put(redis, BTC, range(1, 6))
    await redis.hset(BTC.state, mapping={"g": "new", "n": 2})
    await put(redis, BTC, [6])

    async with reader(redis) as trades:
        got = await take(trades, 6)

    assert [(delivery.entry.n, delivery.hole) for delivery in got[-2:]] == [(5, 0), (3, 2)]


async def test_what_another_reader_of_the_group_holds_is_no_hole_however_much_it_is(redis):
    for first in range(1, 1201, 400):
        await put(redis, BTC, range(first, first + 400))

    async with reader(redis, count=1) as trades:
        deliveries = aiter(trades)
        await anext(deliveries)
        await redis.xreadgroup(GROUP, "peer", {str(BTC): ">"}, count=1001)
        next_one = await anext(deliveries)

    assert (next_one.entry.n, next_one.hole) == (1003, 0)


async def test_what_was_trimmed_while_nobody_read_is_a_hole(redis):
    await put(redis, BTC, range(1, 4))
    async with reader(redis) as before:
        await take(before, 3)
    await put(redis, BTC, range(4, 10))
    await redis.xtrim(str(BTC), maxlen=2, approximate=False)

    async with reader(redis) as after:
        got = await take(after, 2)

    assert [(number, delivery.hole) for number, delivery in zip(ids(got), got, strict=True)] == [(8, 4), (9, 0)]


async def test_what_was_handed_out_and_never_arrived_comes_once_the_hole_is_seen(redis):
    await put(redis, BTC, range(1, 4))

    async with reader(redis, consumer="me") as trades:
        deliveries = aiter(trades)
        got = [await anext(deliveries) for _ in range(3)]
        await put(redis, BTC, range(4, 7))
        await redis.xreadgroup(GROUP, "me", {str(BTC): ">"})
        await put(redis, BTC, range(7, 9))
        got += [await anext(deliveries) for _ in range(5)]
        for delivery in got:
            await delivery.ack()

    assert ids(got) == [1, 2, 3, 7, 8, 4, 5, 6]
    assert {delivery.hole for delivery in got} == {0}
    assert await standing(redis, BTC) == (8, 8, 0)


async def test_what_was_gone_before_the_group_came_is_no_hole(redis):
    await put(redis, BTC, range(1, 10))
    await redis.xtrim(str(BTC), maxlen=2, approximate=False)

    async with reader(redis) as trades:
        assert [delivery.hole for delivery in await take(trades, 2)] == [0, 0]


async def test_entries_trimmed_while_pending_are_counted_as_lost(redis):
    await put(redis, BTC, range(1, 6))
    await look_at(reader(redis), 1)
    await redis.xdel(str(BTC), await entry_id(redis, BTC, 2))

    async with reader(redis) as trades:
        got = await take(trades, 4)
        await eventually(lambda: trades.figures["binance"].lost == 1)

    assert ids(got) == [1, 3, 4, 5]
    assert await standing(redis, BTC) == (5, 4, 0)


async def test_entries_of_a_dead_consumer_that_were_trimmed_are_counted_as_lost(redis):
    await put(redis, BTC, range(1, 6))
    await look_at(reader(redis, consumer="dead"), 1)
    await redis.xdel(str(BTC), await entry_id(redis, BTC, 2))

    async with reader(redis, consumer="living", claim_idle_ms=50) as living:
        assert ids(await take(living, 4)) == [1, 3, 4, 5]
        assert living.figures["binance"].lost == 1


async def test_a_destroyed_group_goes_on_behind_what_it_had_handled(redis):
    await put(redis, BTC, range(1, 6))

    async with reader(redis) as trades:
        deliveries = aiter(trades)
        for _ in range(5):
            await (await anext(deliveries)).ack()
        waiting = asyncio.create_task(anext(deliveries))
        await eventually(lambda: _count_is(redis, 5))
        await redis.xgroup_destroy(str(BTC), GROUP)
        await put(redis, BTC, [6])
        last = await waiting
        await last.ack()

    assert (ids([last]), last.hole, last.redelivered) == ([6], 0, False)
    assert await standing(redis, BTC) == (6, 6, 0)


async def test_a_destroyed_group_with_entries_in_hand_gets_them_again(redis):
    await put(redis, BTC, range(1, 6))

    async with reader(redis) as trades:
        deliveries = aiter(trades)
        for number in range(1, 6):
            delivery = await anext(deliveries)
            if number != 2:
                await delivery.ack()
        waiting = asyncio.create_task(anext(deliveries))
        await eventually(lambda: _count_is(redis, 4))
        await redis.xgroup_destroy(str(BTC), GROUP)
        got = [await waiting] + [await anext(deliveries) for _ in range(4)]
        for delivery in got:
            await delivery.ack()

    assert [(number, delivery.redelivered) for number, delivery in zip(ids(got), got, strict=True)] == [
        (number, True) for number in range(1, 6)
    ]
    assert await standing(redis, BTC) == (5, 5, 0)


@pytest.mark.parametrize("wipe", ["del", "flushall"])
async def test_a_stream_that_begins_anew_is_read_from_its_beginning(redis, wipe):
    await put(redis, BTC, range(1, 6))

    async with reader(redis) as trades:
        deliveries = aiter(trades)
        for _ in range(5):
            await (await anext(deliveries)).ack()
        waiting = asyncio.create_task(anext(deliveries))
        await eventually(lambda: _count_is(redis, 5))
        await (redis.flushall() if wipe == "flushall" else redis.delete(str(BTC), BTC.state))
        await put(redis, BTC, range(1, 4))
        got = [await waiting, await anext(deliveries), await anext(deliveries)]
        for delivery in got:
            await delivery.ack()

    assert [(number, d.hole, d.redelivered) for number, d in zip(ids(got), got, strict=True)] == [
        (1, 0, False),
        (2, 0, False),
        (3, 0, False),
    ]
    assert await standing(redis, BTC) == (3, 3, 0)
    assert await redis.hgetall(keys.groups("binance")) == {GROUP.encode(): b"trades"}


async def test_a_stream_that_appears_later_is_read_from_its_beginning(redis):
    await put(redis, BTC, [1])

    async with reader(redis) as trades:
        deliveries = aiter(trades)
        got = [await anext(deliveries)]
        await put(redis, ETH, [1, 2])
        await put(redis, StreamKey("kraken", "trades", "BTC/USD"), [1])
        got += [await anext(deliveries) for _ in range(3)]

    assert sorted(str(delivery.key) for delivery in got) == [
        "md:{binance}:trades:BTC-USDT",
        "md:{binance}:trades:ETH-USDT",
        "md:{binance}:trades:ETH-USDT",
        "md:{kraken}:trades:BTC-USD",
    ]


async def test_streams_are_subscribed_and_unsubscribed_while_reading(redis):
    await put(redis, BTC, [1])
    await put(redis, ETH, [1])

    async with reader(redis, channels=(), block_ms=5) as trades:
        deliveries = aiter(trades)
        await trades.subscribe("binance", "trades", "ETH/USDT")
        first = await anext(deliveries)
        await first.ack()
        await trades.subscribe("binance", "trades", "BTC-USDT")
        await trades.unsubscribe("binance", "trades", "ETH/USDT")
        await put(redis, ETH, [2])
        second = await anext(deliveries)
        await second.ack()
        await trades.subscribe("binance", "trades", "ETH/USDT")
        third = await anext(deliveries)

    assert [(delivery.key, *ids([delivery])) for delivery in (first, second, third)] == [(ETH, 1), (BTC, 1), (ETH, 2)]
    assert third.hole == 0


async def test_a_group_registers_the_channels_it_needs_beside_those_it_had(redis):
    await put(redis, BTC, [1])
    async with reader(redis) as trades:
        await take(trades, 1)

    async with reader(redis, channels=("ticker", "candles")) as others:
        await others.subscribe("binance", "trades", "ETH/USDT")
        await put(redis, ETH, [1])
        await take(others, 1)

    assert await redis.hgetall(keys.groups("binance")) == {GROUP.encode(): b"trades candles ticker"}


async def test_an_unreadable_entry_is_put_aside_as_it_is_and_the_others_come(redis):
    await put(redis, BTC, [1, 2])
    header = {"v": "1", "type": "trade", "n": "3", "g": (await redis.hget(BTC.state, "g")), "s": "3"}
    await redis.xadd(str(BTC), {**header, "data": b"\xc1"})
    await redis.hset(BTC.state, mapping={"n": 3, "last": 3})
    await put(redis, BTC, [4])

    async with reader(redis, consumer="me") as trades:
        got = await take(trades, 3)

    assert [(number, delivery.hole) for number, delivery in zip(ids(got), got, strict=True)] == [(1, 0), (2, 0), (4, 0)]
    assert await standing(redis, BTC) == (4, 3, 0)
    ((_, letter),) = await redis.xrange(keys.dead_letters("binance", GROUP))
    del letter[b"dead_ms"]
    assert letter == {
        b"dead_stream": str(BTC).encode(),
        b"dead_id": await entry_id(redis, BTC, 3),
        b"dead_group": b"alerts",
        b"dead_consumer": b"me",
        b"dead_failures": b"0",
        b"dead_deliveries": b"1",
        b"dead_reason": b"unreadable: MessagePack data is malformed: invalid opcode '\\xc1' (byte 0)",
        **{name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in header.items()},
        b"data": b"\xc1",
    }


async def test_an_entry_of_an_unknown_type_is_counted_and_acknowledged(redis):
    await put(redis, BTC, [1])
    header = {"v": "1", "type": "funding", "n": "2", "g": (await redis.hget(BTC.state, "g")), "s": "2"}
    await redis.xadd(str(BTC), {**header, "data": b"\x80"})
    await redis.hset(BTC.state, mapping={"n": 2, "last": 2})
    await put(redis, BTC, [3])

    async with reader(redis) as trades:
        assert ids(await take(trades, 2)) == [1, 3]
        assert trades.figures["binance"].skipped == 1

    assert await standing(redis, BTC) == (3, 3, 0)


async def test_an_entry_of_a_later_schema_stops_its_stream_and_no_other(redis):
    await put(redis, BTC, [1])
    await redis.xadd(str(BTC), {"v": "2", "n": "2", "g": (await redis.hget(BTC.state, "g"))})
    await redis.hset(BTC.state, mapping={"n": 2, "last": 2})
    await put(redis, BTC, [3])

    async with reader(redis, count=2) as trades:
        assert ids(await take(trades, 1)) == [1]
        await put(redis, BTC, [4])
        await put(redis, ETH, [1, 2])
        assert [delivery.key for delivery in await take(trades, 2)] == [ETH, ETH]
        assert trades.figures["binance"].stopped == 1

    assert await standing(redis, BTC) == (1, 1, 1)


async def test_reading_and_acknowledging_go_on_with_memory_full(redis, monkeypatch):
    monkeypatch.setattr("consumers.reader.RECORD_EVERY_SECONDS", 0)
    await put(redis, BTC, range(1, 11))
    async with reader(redis, count=1) as before:
        await take(before, 1)
    await redis.config_set("maxmemory", "1")
    try:
        async with reader(redis) as after:
            assert ids(await take(after, 9)) == list(range(2, 11))
    finally:
        await redis.config_set("maxmemory", "0")

    assert await standing(redis, BTC) == (10, 10, 0)


async def test_what_was_there_before_the_reader_says_nothing_of_its_latency(redis):
    await put(redis, BTC, range(1, 4))
    async with reader(redis, consumer="me") as trades:
        await take(trades, 3)

    figures = msgspec.msgpack.decode(await redis.hget(keys.readers("binance"), "alerts/me"))
    assert (figures["handled"], figures["latency_p50_us"]) == (3, 0)


async def test_a_reader_publishes_its_figures(redis):
    await put(redis, BTC, [1])
    async with reader(redis, consumer="me") as trades:
        await take(trades, 1)
        now = structs.replace(trade(BTC, 2), body=structs.replace(trade(BTC, 2).body, received_ns=time.time_ns()))
        await append(redis, [now])
        await take(trades, 1)

    figures = msgspec.msgpack.decode(await redis.hget(keys.readers("binance"), "alerts/me"))
    times = {name: figures.pop(name) > 0 for name in ("seen_ns", "latency_p50_us", "latency_p99_us")}
    assert times == {"seen_ns": True, "latency_p50_us": True, "latency_p99_us": True}
    assert figures == {"handled": 2, "holes": 0, "lost": 0, "unreadable": 0, "dead": 0, "skipped": 0, "stopped": 0}


async def _count_is(redis: Redis, count: int) -> bool:
    return (await standing(redis, BTC))[1] == count


async def _consumers_are(redis: Redis, count: int) -> bool:
    groups = await redis.xinfo_groups(str(BTC))
    return bool(groups) and groups[0]["consumers"] == count
