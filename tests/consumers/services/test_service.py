"""The line that services run along: an entry is acknowledged once its effect is there, and a crash changes nothing."""

import asyncio

from consumers.append import append
from consumers.reader import Reader
from consumers.services.lines import ATTEMPTS, run
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.position import Positions
from consumers.services.service import Served
from ingest.contract import keys
from tests.consumers.services.scene import NOW_NS, approved, bodies, book, fill, key, trade
from tests.eventually import eventually


class Notes:
    """Notes the trades it is handed, and raises at the price 13."""

    name = "notes"
    channels = ("trades",)
    partition = "symbol"

    def __init__(self):
        self.seen = []

    async def handle(self, delivery):
        self.seen.append(delivery.event.price)
        if delivery.event.price == "13":
            raise RuntimeError


def reader(redis, service):
    return Reader(redis, group=service.name, partition=service.partition, channels=service.channels, block_ms=20)


async def serve(redis, service, done):
    """Run the service until `done`."""
    stopping = asyncio.Event()
    async with reader(redis, service) as entries:
        task = asyncio.create_task(run(service, entries, stopping))
        await eventually(done)
        stopping.set()
        return await task


async def crash(redis, service, after):
    """Have the service handle so many entries, and die before any ack."""
    async with reader(redis, service) as entries:
        async for delivery in entries:
            delivery.hold()
            await service.handle(delivery)
            after -= 1
            if not after:
                return


async def dead(redis, group):
    """What the dead letters of the group are, by `s`."""
    return [fields[b"s"].decode() for _, fields in await redis.xrange(keys.dead_letters("binance", group))]


async def pending(redis, stream, group):
    return (await redis.xpending(str(stream), group))["pending"]


async def test_what_is_handled_is_acknowledged(redis):
    await append(redis, [trade(1, 11), trade(2, 12)])
    notes = Notes()
    served = await serve(redis, notes, lambda: len(notes.seen) == 2)
    assert (served, notes.seen, await pending(redis, key("trades"), "notes")) == (Served(2, 0, 0), ["11", "12"], 0)


async def test_an_entry_that_cannot_be_handled_is_put_aside_after_so_many_attempts(redis):
    await append(redis, [trade(1, 11), trade(2, 13), trade(3, 14)])
    notes = Notes()
    served = await serve(redis, notes, lambda: "14" in notes.seen)
    assert (served, notes.seen, await pending(redis, key("trades"), "notes"), await dead(redis, "notes")) == (
        Served(2, ATTEMPTS, 1),
        ["11", *["13"] * ATTEMPTS, "14"],
        0,
        ["2"],
    )


async def test_a_service_that_waits_for_another_attempt_stops_when_asked(redis):
    await append(redis, [trade(1, 13)])
    notes = Notes()
    served = await serve(redis, notes, lambda: notes.seen)
    assert (served, await pending(redis, key("trades"), "notes")) == (Served(0, len(notes.seen), 0), 1)
    assert len(notes.seen) < ATTEMPTS


async def test_a_crash_between_effect_and_ack_leaves_positions_exact(redis):
    fills = [fill(str(i), "buy" if i % 3 else "sell", f"{i}.5", f"10{i % 7}.01", fee="0.1") for i in range(1, 30)]
    await append(redis, fills[:20])
    name = keys.position("binance", "paper", "BTC/USDT")
    for after in (1, 7, 3, 20):
        await crash(redis, Positions(redis, now_ns=lambda: NOW_NS), after)
    await append(redis, fills[20:])
    await crash(redis, Positions(redis, now_ns=lambda: NOW_NS), 25)
    told = []

    async def all_in():
        told[:] = [await redis.hgetall(name)]
        return told[0][b"fills_n"] == b"29"

    await serve(redis, Positions(redis, now_ns=lambda: NOW_NS), all_in)
    await redis.delete(name)
    straight = Positions(redis, now_ns=lambda: NOW_NS)
    straight.name = "straight"
    await crash(redis, straight, 29)
    assert (told, await pending(redis, key("fills"), "position")) == ([await redis.hgetall(name)], 0)


async def test_a_crash_between_effect_and_ack_places_no_second_order(redis):
    await append(redis, [book(1, asks=(("101", "1"), ("102", "9")))])
    await append(redis, [approved("a", amount="2"), approved("b", amount="1")])
    for _ in range(2):
        await crash(redis, Orders(redis, venue=Paper(), now_ns=lambda: NOW_NS), 1)
    await serve(redis, Orders(redis, venue=Paper(), now_ns=lambda: NOW_NS), lambda: settled(redis))
    fills = [(fill.intent_id, fill.price, fill.amount) for fill in await bodies(redis, key("fills"))]
    statuses = [order.status for order in await bodies(redis, key("orders"))]
    assert (fills, statuses) == (
        [("a", "101", "1"), ("a", "102", "1"), ("b", "101", "1")],
        ["new", "filled", "new", "filled"],
    )


async def settled(redis):
    return await redis.hget(keys.handled("binance", "order"), str(key("approved"))) and not await pending(
        redis, key("approved"), "order"
    )
