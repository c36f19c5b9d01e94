"""Owners: one for each part, in order, and what an ex-owner still does changes nothing."""

import asyncio
import contextlib

import pytest
from redis.exceptions import OutOfMemoryError

from consumers.append import append
from consumers.delivery import Taken
from consumers.owned import OWNER, Seat
from consumers.partition import ACCOUNT_PARTS, part_of
from ingest.contract import keys
from ingest.contract.hashing import chosen, shard_of
from ingest.contract.keys import StreamKey
from ingest.contract.leases import Ask, Row, Table, Verb
from tests.consumers.producing import BTC, ETH, GROUP, entry_id, ids, look_at, put, reader, standing, take
from tests.consumers.services.scene import fill, ticker
from tests.eventually import eventually

SOL = StreamKey("binance", "trades", "SOL/USDT")
COUNT = "count:{binance}"


def owner(redis, consumer="a", **options):
    return reader(redis, **{"partition": "symbol", "consumer": consumer, "lease_ms": 300, **options})


async def dies(reader):
    """It says no more, as if it were paused or dead."""
    reader._over.set()
    await reader._keeping


def numbers(deliveries):
    return [(delivery.key.symbol[:3], int(delivery.entry.s)) for delivery in deliveries]


def test_a_seat_takes_what_is_nobodys_and_is_chosen_for():
    seat = Seat("a", range(4))
    seat.answered(Table(members=("a",)))
    assert (seat.eager, seat.asks(())) == (True, [Ask(shard, Verb.HOLD, 0) for shard in range(4)])


def test_a_seat_leaves_to_others_what_they_are_chosen_for():
    seat = Seat("a", range(16))
    seat.answered(Table(members=("a", "b")))
    assert [ask.shard for ask in seat.asks(())] == [s for s in range(16) if chosen(s, ("a", "b")) == "a"]


def test_what_another_is_chosen_for_is_dropped_once_nothing_of_it_is_in_hand():
    theirs = next(shard for shard in range(64) if chosen(shard, ("a", "b")) == "b")
    seat = Seat("a", [theirs])
    seat.answered(Table(members=("a", "b"), rows={theirs: Row("a", 7)}))
    assert (seat.reads(theirs), seat.asks([theirs]), seat.asks(())) == (
        False,
        [Ask(theirs, Verb.HOLD, 7)],
        [Ask(theirs, Verb.DROP, 7)],
    )


def test_who_leaves_drops_all_and_takes_nothing():
    seat = Seat("a", [0, 1])
    seat.answered(Table(members=("a",), rows={0: Row("a", 3)}))
    seat.leaving = True
    assert (seat.asks(()), seat.eager) == ([Ask(0, Verb.DROP, 3)], False)


async def test_two_processes_share_the_symbols_and_each_is_read_by_one(redis):
    symbols = [StreamKey("binance", "trades", f"{name}/USDT") for name in "ABCDEFGHIJ"]
    for key in symbols:
        await put(redis, key, [1])
    async with owner(redis, "a") as a, owner(redis, "b") as b:
        alone = await take(a, 10)
        got = {"a": [], "b": []}

        async def read(reader, mine):
            async for delivery in reader:
                mine.append(delivery)
                await delivery.ack()

        tasks = [asyncio.create_task(read(each, got[name])) for name, each in (("a", a), ("b", b))]
        await eventually(lambda: a._sharing._seats and len(owned(b)) > 10 and len(owned(a)) + len(owned(b)) == 64)
        for key in symbols:
            await put(redis, key, [2, 3])
        await eventually(lambda: len(got["a"]) + len(got["b"]) == 20)
        shards = {"a": owned(a), "b": owned(b)}
        for each in (a, b):
            each.stop()
        await asyncio.gather(*tasks)

    assert sorted({delivery.key for delivery in alone}) == symbols
    for name, deliveries in got.items():
        assert {shard_of(delivery.key.symbol) for delivery in deliveries} <= shards[name]
        assert all(ids([d for d in deliveries if d.key == key]) in ([], [2, 3]) for key in symbols)


def owned(reader):
    return {shard for seat in reader._sharing._seats.values() for shard in seat.owned}


async def test_what_an_owner_left_pending_comes_first_and_in_order_to_the_next(redis):
    await put(redis, BTC, range(1, 6))
    dead = owner(redis, "dead")
    await take(dead, 2)  # acknowledged, and Redis never heard of it
    await dies(dead)
    await put(redis, BTC, range(6, 8))

    async with owner(redis, "living") as living:
        got = await take(living, 7)

    assert [(number, delivery.redelivered) for number, delivery in zip(ids(got), got, strict=True)] == [
        *((number, True) for number in range(1, 6)),
        (6, False),
        (7, False),
    ]
    assert await standing(redis, BTC) == (7, 7, 0)
    assert [each["name"] for each in await redis.xinfo_consumers(str(BTC), GROUP)] == [OWNER.encode()]


async def test_what_another_consumer_of_the_group_left_comes_in_its_order_too(redis):
    await put(redis, BTC, range(1, 6))
    async with reader(redis, consumer="shared") as before:
        await look_at(before, 3)
    await put(redis, BTC, range(6, 8))

    async with owner(redis) as after:
        assert ids(await take(after, 7)) == list(range(1, 8))


async def test_who_leaves_in_order_is_followed_at_once(redis):
    await put(redis, BTC, range(1, 4))
    async with owner(redis, "a", lease_ms=600_000) as first:
        await take(first, 2)

    async with asyncio.timeout(5), owner(redis, "b", lease_ms=600_000) as second:
        assert ids(await take(second, 1)) == [3]


async def test_what_an_ex_owner_acknowledges_changes_nothing(redis):
    await put(redis, BTC, range(1, 4))
    async with owner(redis, "paused") as paused, owner(redis, "living") as living:
        got = await look_at(paused, 1)
        got[0].hold()
        await dies(paused)
        new = await take(living, 1)
        await got[0].ack()
        before = await standing_or_none(redis)
        await paused.tell()

        assert (ids(new), before, await standing_or_none(redis), got[0].ours) == ([1], *[(0, 0, 3)] * 2, False)


async def standing_or_none(redis):
    with contextlib.suppress(AttributeError):
        return await standing(redis, BTC)


async def test_an_effect_is_had_once_whoever_tries(redis):
    await put(redis, BTC, range(1, 4))
    async with owner(redis, "paused") as paused, owner(redis, "living") as living:
        (stale,) = await look_at(paused, 1)
        await dies(paused)
        done = []
        async for delivery in living:
            done.append(await delivery.commit(("INCRBY", COUNT, delivery.entry.s)))
            done.append(await delivery.commit(("INCRBY", COUNT, 1000)))
            if len(done) == 6:
                break
        with pytest.raises(Taken):
            await stale.commit(("INCRBY", COUNT, 100))

    assert (done, await redis.get(COUNT), await standing(redis, BTC)) == (
        [True, False, True, False, True, False],
        b"6",
        (3, 3, 0),
    )


async def test_an_effect_whose_reply_was_lost_is_not_had_again_by_the_next_owner(redis):
    await put(redis, BTC, range(1, 4))
    dead = owner(redis, "dead")
    (first,) = await look_at(dead, 1)
    arrival = first._arrival
    await dead._group.commit(BTC, arrival.mark, arrival.stream.tenancy, [("INCR", COUNT)])
    await dies(dead)

    async with owner(redis, "living") as living:
        assert ids(await take(living, 2)) == [2, 3]
    assert (await redis.get(COUNT), await standing(redis, BTC)) == (b"1", (3, 3, 0))


async def test_an_effect_whose_reply_was_lost_is_not_had_again_here_either(redis):
    await put(redis, BTC, [1])
    async with owner(redis) as trades:
        (delivery,) = await look_at(trades, 1)
        arrival = delivery._arrival
        await redis.hset(keys.handled("binance", GROUP), str(BTC), f"{arrival.mark.g} 1 1 {arrival.mark.id}")
        assert not await delivery.commit(("INCR", COUNT))

    assert (await redis.get(COUNT), await standing(redis, BTC)) == (None, (1, 1, 0))


async def test_what_redis_has_forgotten_to_have_given_has_no_effect_before_it_comes_again(redis, monkeypatch):
    monkeypatch.setattr("consumers.hand.REST_SECONDS", 0)
    await put(redis, BTC, range(1, 4))
    got = []
    async with owner(redis) as trades:
        async for delivery in trades:
            got.append(delivery)
            if len(got) == 2:
                await redis.xgroup_setid(str(BTC), GROUP, got[0].entry.id)
                await redis.xack(str(BTC), GROUP, await entry_id(redis, BTC, 2), await entry_id(redis, BTC, 3))
                with pytest.raises(Taken):
                    await delivery.commit(("INCRBY", COUNT, 100))
            else:
                await delivery.commit(("INCRBY", COUNT, 1))
            if len(got) == 4:
                break

    assert (ids(got), await redis.get(COUNT), await standing(redis, BTC)) == ([1, 2, 2, 3], b"3", (3, 3, 0))


async def test_what_is_acknowledged_while_what_is_pending_is_read_again_does_not_come_again(redis):
    await put(redis, BTC, range(1, 6))
    async with owner(redis, count=2) as trades:
        got = []
        async for delivery in trades:
            got.append(delivery)
            delivery.hold()
            if len(got) == 5:
                break
        trades._intake.start_over()
        first = await trades._intake.next()
        for delivery in got:
            await delivery.ack()
        await trades.tell()
        await put(redis, BTC, [6])
        rest = [await trades._intake.next() for _ in range(4)]

    assert (first, [[arrival.mark.n for arrival in page] for page in rest]) == ([], [[], [6], [], []])
    assert await standing(redis, BTC) == (5, 5, 1)


async def test_an_effect_is_not_had_with_memory_full(redis):
    await put(redis, BTC, [1])
    async with owner(redis) as trades:
        (delivery,) = await look_at(trades, 1)
        delivery.hold()
        await redis.config_set("maxmemory", "1")
        try:
            with pytest.raises(OutOfMemoryError):
                await delivery.commit(("INCR", COUNT))
        finally:
            await redis.config_set("maxmemory", "0")
        assert await redis.get(COUNT) is None
        assert await delivery.commit(("INCR", COUNT))


async def test_what_an_ex_owner_read_comes_to_the_owner_in_order(redis):
    await put(redis, BTC, range(1, 4))
    async with owner(redis) as trades:
        deliveries = aiter(trades)
        got = []
        for _ in range(3):
            got.append(await anext(deliveries))
            await got[-1].ack()
        await put(redis, BTC, range(4, 7))
        await redis.xreadgroup(GROUP, OWNER, {str(BTC): ">"})
        await put(redis, BTC, range(7, 9))
        for _ in range(5):
            got.append(await anext(deliveries))
            await got[-1].ack()

    assert (ids(got), {delivery.hole for delivery in got}) == (list(range(1, 9)), {0})
    assert await standing(redis, BTC) == (8, 8, 0)


async def test_what_somebody_took_without_leave_is_taken_back(redis):
    await put(redis, BTC, range(1, 4))
    async with owner(redis) as trades:
        deliveries = aiter(trades)
        got = []
        for _ in range(3):
            got.append(await anext(deliveries))
            await got[-1].ack()
        await put(redis, BTC, range(4, 7))
        await redis.xreadgroup(GROUP, "thief", {str(BTC): ">"}, noack=True)
        await put(redis, BTC, [7])
        for _ in range(4):
            got.append(await anext(deliveries))
            await got[-1].ack()

    assert (ids(got), await standing(redis, BTC)) == (list(range(1, 8)), (7, 7, 0))


async def test_what_is_missing_is_told_once_and_the_rest_comes_in_order(redis):
    await put(redis, BTC, range(1, 8))
    await redis.xdel(str(BTC), *[await entry_id(redis, BTC, place) for place in (3, 4)])

    async with owner(redis) as trades:
        got = await take(trades, 5)
        figures = trades.figures["binance"]

    assert [(number, delivery.hole) for number, delivery in zip(ids(got), got, strict=True)] == [
        (1, 0),
        (2, 0),
        (5, 2),
        (6, 0),
        (7, 0),
    ]
    assert (figures.holes, figures.lost) == (1, 2)


async def test_entries_trimmed_while_pending_are_told_as_lost(redis):
    await put(redis, BTC, range(1, 6))
    dead = owner(redis, "dead")
    await take(dead, 1)
    await dead.tell()
    await dies(dead)
    await redis.xdel(str(BTC), *[await entry_id(redis, BTC, place) for place in (2, 3)])

    async with owner(redis, "living") as living:
        got = await take(living, 2)

    assert [(number, delivery.hole) for number, delivery in zip(ids(got), got, strict=True)] == [(4, 2), (5, 0)]
    assert living.figures["binance"].lost == 2


@pytest.mark.parametrize("trimmed", [0, 5, 3])
async def test_a_destroyed_group_doubles_nothing(redis, trimmed):
    await put(redis, BTC, range(1, 6))
    async with owner(redis) as trades:
        deliveries = aiter(trades)
        got = []
        for _ in range(5):
            got.append(await anext(deliveries))
            await got[-1].ack()
        await trades.tell()
        if trimmed:
            await redis.xtrim(str(BTC), minid=got[trimmed - 1].entry.id, approximate=False)
            await redis.xdel(str(BTC), got[trimmed - 1].entry.id)
        waiting = asyncio.create_task(anext(deliveries))
        await redis.xgroup_destroy(str(BTC), GROUP)
        await put(redis, BTC, [6])
        got.append(await waiting)
        await got[-1].ack()

    assert (ids(got), (await standing(redis, BTC))[::2]) == (list(range(1, 7)), (6, 0))


async def test_what_is_handled_while_the_group_is_entered_anew_does_not_come_again(redis):
    """As after `NOGROUP` of another stream: what is in hand of this one is handled all the while."""
    await put(redis, BTC, range(1, 7))
    async with owner(redis) as trades:
        got = []
        async for delivery in trades:
            got.append(delivery)
            delivery.hold()
            if len(got) == 6:
                break
        await got[0].commit(("INCR", COUNT))
        trades._intake.leave()
        await trades._intake._look()
        await got[1].commit(("INCR", COUNT))
        got[2].bury("cannot")
        await got[3].ack()
        await trades.tell()
        again = [arrival.mark.n for _ in range(4) for arrival in await trades._intake.next()]
        await got[4].ack()

    assert (again, await redis.get(COUNT), await standing(redis, BTC)) == ([], b"2", (5, 4, 1))


@pytest.mark.parametrize("wipe", ["del", "flushall"])
async def test_a_stream_that_begins_anew_is_read_from_its_beginning(redis, wipe):
    await put(redis, BTC, range(1, 6))
    async with owner(redis) as trades:
        deliveries = aiter(trades)
        for _ in range(5):
            await (await anext(deliveries)).ack()
        await trades.tell()
        waiting = asyncio.create_task(anext(deliveries))
        await (redis.flushall() if wipe == "flushall" else redis.delete(str(BTC), BTC.state))
        await put(redis, BTC, range(1, 4))
        got = [await waiting]
        for _ in range(2):
            await got[-1].ack()
            got.append(await anext(deliveries))
        await got[-1].ack()

    assert [(number, d.hole) for number, d in zip(ids(got), got, strict=True)] == [(1, 0), (2, 0), (3, 0)]
    assert (await standing(redis, BTC))[::2] == (3, 0)


async def test_a_stream_that_appears_later_has_an_owner_too(redis):
    await put(redis, BTC, [1])
    async with owner(redis) as trades:
        deliveries = aiter(trades)
        first = await anext(deliveries)
        await first.ack()
        await put(redis, ETH, [1, 2])
        await put(redis, StreamKey("kraken", "trades", "BTC/USD"), [1])
        got = []
        for _ in range(3):
            got.append(await anext(deliveries))
            await got[-1].ack()

    assert sorted(str(delivery.key) for delivery in got) == [
        "md:{binance}:trades:ETH-USDT",
        "md:{binance}:trades:ETH-USDT",
        "md:{kraken}:trades:BTC-USD",
    ]


async def test_what_was_neither_acknowledged_nor_held_comes_again_before_what_follows_it(redis, monkeypatch):
    monkeypatch.setattr("consumers.hand.REST_SECONDS", 0)
    await put(redis, BTC, range(1, 5))
    got = []
    async with owner(redis) as trades:
        async for delivery in trades:
            got.append(delivery)
            if len(got) != 2:
                await delivery.ack()
            if len(got) == 5:
                break

    assert (ids(got), await standing(redis, BTC)) == ([1, 2, 2, 3, 4], (4, 4, 0))


async def test_the_whole_has_one_owner(redis):
    for key in (BTC, ETH, SOL):
        await put(redis, key, [1, 2])
    async with owner(redis, "a", partition="whole") as a, owner(redis, "b", partition="whole") as b:
        first = await take(a, 6)
        reading = asyncio.create_task(take(b, 1))
        await eventually(lambda: b._sharing._seats)
        for key in (BTC, ETH, SOL):
            await put(redis, key, [3])
        owners = [each for each in (a, b) if owned(each)]
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    assert (len(first), len(owners)) == (6, 1)
    assert await redis.hkeys(keys.shards("binance", GROUP)) == [b"0"]


async def test_an_account_is_handed_to_the_one_group_that_it_belongs_to(redis):
    accounts = [f"account-{number}" for number in range(12)]
    await append(redis, [fill(name, "buy", "1", "1", account=name) for name in accounts])
    await append(redis, [ticker(1, last="5")])
    seen = {}
    for part in range(ACCOUNT_PARTS):
        mine = [name for name in accounts if part_of(name) == part]
        options = {"group": f"risk.{part}", "partition": "account", "part": part, "channels": ("fills", "ticker")}
        async with owner(redis, **options) as risk:
            got = await take(risk, len(mine) + 1)
            seen[part] = sorted(getattr(delivery.event, "account", "ticker") for delivery in got)

    assert seen == {
        part: sorted([*(name for name in accounts if part_of(name) == part), "ticker"]) for part in range(ACCOUNT_PARTS)
    }
