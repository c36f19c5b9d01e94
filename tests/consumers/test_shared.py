"""Competing readers: who has something in hand keeps it, who is gone is followed, and what takes turns is done once."""

import asyncio

import msgspec

from consumers.group import Group
from ingest.contract import keys
from tests.consumers.producing import BTC, GROUP, blocked, ids, look_at, put, reader, standing, take
from tests.eventually import eventually

COUNT = "count:{binance}"


async def pending(redis):
    """Who has which entry, and how often it was delivered, by place."""
    return [
        (place, each["consumer"].decode(), each["times_delivered"])
        for place, each in enumerate(await redis.xpending_range(str(BTC), GROUP, "-", "+", 100), start=1)
    ]


async def dies(reader):
    """It says no more, as if it were paused or dead."""
    reader._over.set()
    await reader._keeping


async def test_what_a_reader_has_in_hand_nobody_claims_however_long_it_takes(redis):
    await put(redis, BTC, range(1, 4))
    async with reader(redis, consumer="slow", claim_idle_ms=90) as slow, reader(redis, claim_idle_ms=90) as other:
        (first,) = await look_at(slow, 1)
        first.hold()
        waiting = asyncio.create_task(take(other, 1))
        for _ in range(3):  # rounds of claiming
            at = other._intake._claim_at
            await eventually(lambda at=at: other._intake._claim_at > at)
        seen = await pending(redis)
        await put(redis, BTC, [4])
        assert ids(await waiting) == [4]

    assert seen == [(place, "slow", 1) for place in (1, 2, 3)]


async def test_what_another_has_claimed_is_not_stolen_back(redis):
    await put(redis, BTC, range(1, 3))
    async with reader(redis, consumer="paused") as paused, reader(redis, consumer="other", claim_idle_ms=30) as other:
        (first,) = await look_at(paused, 1)
        await dies(paused)
        claimed = await look_at(other, 1)
        await paused._sharing.round("binance", paused._intake.in_hand("binance"))

        assert (first.entry, await pending(redis)) == (claimed[0].entry, [(1, "other", 2), (2, "other", 2)])


async def test_an_effect_that_two_try_is_had_once(redis):
    await put(redis, BTC, [1])
    async with reader(redis, consumer="paused") as paused, reader(redis, consumer="other", claim_idle_ms=30) as other:
        (stale,) = await look_at(paused, 1)
        await dies(paused)
        (delivery,) = await look_at(other, 1)
        done = [await delivery.commit(("INCR", COUNT)), await stale.commit(("INCR", COUNT))]

    assert (done, await redis.get(COUNT), await standing(redis, BTC)) == ([True, False], b"1", (1, 1, 0))


async def test_no_more_is_read_than_may_be_in_hand(redis):
    await put(redis, BTC, range(1, 31))
    async with reader(redis, in_hand=10) as trades:
        got = []

        async def read():
            async for delivery in trades:
                delivery.hold()
                got.append(delivery)

        reading = asyncio.create_task(read())
        await eventually(lambda: len(got) == 10)
        await put(redis, BTC, [31])
        full = (len(got), (await redis.xpending(str(BTC), GROUP))["pending"])
        for delivery in got[:4]:
            await delivery.ack()
        await eventually(lambda: len(got) == 14)
        for delivery in got:
            await delivery.ack()
        await eventually(lambda: len(got) == 24)
        trades.stop()
        await reading

    assert (full, ids(got)) == ((10, 10), list(range(1, 25)))


async def test_no_more_bytes_are_read_than_may_be_in_hand(redis, monkeypatch):
    monkeypatch.setattr("consumers.reader.IN_HAND_BYTES", 1)
    await put(redis, BTC, range(1, 4))
    async with reader(redis, count=1) as trades:
        (delivery,) = await look_at(trades, 1)
        delivery.hold()
        full = await trades._next(), (await redis.xpending(str(BTC), GROUP))["pending"]
        await delivery.ack()
        (second,) = await trades._next()

    assert (full, second.mark.n) == (([], 1), 2)


async def test_what_is_held_is_not_delivered_again_after_an_error(redis):
    await put(redis, BTC, range(1, 4))
    async with reader(redis) as trades:
        deliveries = aiter(trades)
        got = []
        for _ in range(3):
            got.append(await anext(deliveries))
            got[-1].hold()
        waiting = asyncio.create_task(anext(deliveries))
        for client_id in await eventually(lambda: blocked(redis, "xreadgroup")):
            await redis.client_kill_filter(_id=client_id)
        await put(redis, BTC, [4])
        got.append(await waiting)

    assert (ids(got), {delivery.redelivered for delivery in got}) == ([1, 2, 3, 4], {False})


async def test_names_of_which_nothing_was_heard_for_long_are_forgotten_and_what_they_have_pending_is_not(
    redis, monkeypatch
):
    monkeypatch.setattr("consumers.group._STALE_MS", -1)
    await put(redis, BTC, range(1, 4))
    await redis.xgroup_create(str(BTC), GROUP, "0")
    await redis.xreadgroup(GROUP, "holds", {str(BTC): ">"}, count=1)
    await redis.xgroup_createconsumer(str(BTC), GROUP, "idle")
    await redis.xgroup_createconsumer(str(BTC), GROUP, "me")
    old = msgspec.msgpack.encode({"seen_ns": 0})
    await redis.hset(keys.readers("binance"), mapping={"alerts/old": old, "others/old": old})

    await Group(redis, GROUP, "me").tidy("binance", [BTC])

    names = [each["name"] for each in await redis.xinfo_consumers(str(BTC), GROUP)]
    assert (names, await redis.hkeys(keys.readers("binance"))) == ([b"holds", b"me"], [b"others/old"])


async def test_a_reader_forgets_old_names_by_itself(redis, monkeypatch):
    monkeypatch.setattr("consumers.group._STALE_MS", -1)
    await put(redis, BTC, [1])
    await redis.xgroup_create(str(BTC), GROUP, "0")
    await redis.xgroup_createconsumer(str(BTC), GROUP, "idle")

    async def names_are(*names):
        return tuple(each["name"] for each in await redis.xinfo_consumers(str(BTC), GROUP)) == names

    async with reader(redis, consumer="me", claim_idle_ms=100) as trades:
        reading = asyncio.create_task(take(trades, 2))
        await eventually(lambda: names_are(b"me"))
        trades.stop()
        await reading
