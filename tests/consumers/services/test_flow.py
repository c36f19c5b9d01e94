"""Intents, risk, approved, orders, fills, positions: together, over a line that breaks and services that die."""

import asyncio
import contextlib
import random
import time
from decimal import Decimal

import pytest
from msgspec import Struct
from msgspec.structs import replace

from consumers import connect
from consumers.append import append
from consumers.reader import Reader
from consumers.services.bot import Bot
from consumers.services.limits import Limits
from consumers.services.lines import run
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.position import Positions
from consumers.services.risk import Risk
from consumers.services.strategy import Wish
from consumers.services.venue import Desk
from deploy.processes import Process
from ingest.contract import instruments, keys
from tests.consumers.cutting import cutting
from tests.consumers.services import scene
from tests.consumers.services.history import held, history, market_of
from tests.consumers.services.judging import violations
from tests.consumers.services.test_limits import LISTED
from tests.eventually import eventually

pytestmark = pytest.mark.slow

BTC = "BTC/USDT"
MOST = Decimal(4)
LIMITS = Limits(
    position={BTC: MOST},
    order_notional=Decimal(1000),
    exposure=Decimal(10_000),
    orders_per_s=1000,
    price_band=Decimal("0.5"),
    price_age_ms=60_000,
)
SERVICES = {
    "risk": lambda redis: Risk(redis, limits=LIMITS),
    "order": lambda redis: Orders(redis, venue=Paper()),
    "position": Positions,
}
LADDER = {
    "bids": tuple((str(price), "2") for price in range(99, 89, -1)),
    "asks": tuple((str(price), "2") for price in range(101, 111)),
}


@contextlib.asynccontextmanager
async def serving(url, make, consumer="a"):
    """A service that goes on whatever becomes of its line; at the end it is cut off in the middle of what it does."""
    redis = connect(url)
    service = make(redis)
    reader = Reader(
        redis,
        group=service.name,
        consumer=consumer,
        partition=service.partition,
        channels=service.channels,
        block_ms=20,
        lease_ms=400,
    )

    async def serve():
        async with reader:
            await run(service, reader, asyncio.Event())

    task = asyncio.create_task(serve())
    try:
        yield service
    finally:
        reader.stop()
        task.cancel()
        await asyncio.wait([task], timeout=10)
        await redis.aclose()


@pytest.fixture
async def market(redis):
    await redis.hset(keys.instruments("binance"), BTC, instruments.encode(LISTED))
    tick = scene.ticker(1, bid="99", ask="101")
    await append(redis, [replace(tick, body=replace(tick.body, received_ns=time.time_ns())), scene.book(1, **LADDER)])
    return redis


async def settled(redis):
    """Whether all that was wanted has come to where it ends."""
    for channel, group in (
        ("intents", "risk"),
        ("approved", "order"),
        ("fills", "risk"),
        ("orders", "risk"),
        ("fills", "position"),
    ):
        key = scene.key(channel)
        g, n = (value.decode() if value else "" for value in await redis.hmget(key.state, "g", "n"))
        at = (await redis.hget(keys.handled("binance", group), str(key)) or b"- 0").decode().split()
        if n and at[:2] != [g, n]:
            return False
    fields = [field async for name in redis.scan_iter("md:{binance}:kept:*") for field in await redis.hkeys(name)]
    return not any(field.startswith(b"out ") for field in fields)


def wanted(dice, number):
    """An intent of any kind, sense or nonsense."""
    more = {"account": dice.choice("ab"), "decided_ns": time.time_ns(), "valid_until_ns": time.time_ns() + 60 * 10**9}
    side, amount = dice.choice(["buy", "sell"]), dice.choice(["1", "2", "0.5", "0.0001", "0"])
    kind = dice.choice(["market", "limit", "limit", "limit", "cancel"])
    if kind == "cancel":
        more |= {"cancels": str(dice.randrange(number + 1))}
    elif kind == "limit":
        more |= {"price": str(dice.randrange(95, 106)), "time_in_force": dice.choice([None, "ioc", "post_only"])}
    return scene.intent(str(number), side, "0" if kind == "cancel" else amount, order_type=kind, **more)


def traded(dice, number):
    price, side = dice.randrange(93, 108), dice.choice(["buy", "sell"])
    return scene.trade(number, price, side=side, received_ns=time.time_ns())


async def play(redis, dice, first, count):
    """Some intents, with trades between them."""
    for number in range(first, first + count):
        await append(redis, [wanted(dice, number)])
        await append(redis, [traded(dice, number + 1)])


async def found(redis, limits=LIMITS):
    where = redis, "binance", BTC
    seen = await history(*where)
    return seen, violations(seen, limits, await market_of(*where), await held(*where))


@pytest.mark.parametrize("seed", [1, 2])
async def test_over_a_line_that_breaks_every_intent_is_one_order_and_no_limit_is_exceeded(market, redis_server, seed):
    async with cutting(redis_server.port, b"EVALSHA", every=7) as url, contextlib.AsyncExitStack() as stack:
        for make in SERVICES.values():
            await stack.enter_async_context(serving(url, make))
        await play(market, random.Random(seed), 0, 60)
        await eventually(lambda: settled(market), within_seconds=60)
    seen, wrong = await found(market)
    assert wrong == []
    assert {each.channel for each in seen} == {"intents", "approved", "fills", "orders", "positions"}


async def test_services_that_die_one_after_another_lose_and_double_nothing(market, redis_server):
    dice = random.Random(3)
    for life in range(4):
        async with contextlib.AsyncExitStack() as stack:
            for make in SERVICES.values():
                await stack.enter_async_context(serving(redis_server.url, make, consumer=f"life-{life}"))
            await play(market, dice, life * 15, 15)
            if life == 3:
                await eventually(lambda: settled(market), within_seconds=60)
    seen, wrong = await found(market)
    assert (wrong, sum(each.channel == "intents" for each in seen)) == ([], 60)


async def test_processes_that_are_killed_lose_and_double_nothing(market, redis_server, tmp_path):
    dice, number = random.Random(4), 0
    env = {
        "CONSUMER_REDIS_URL": redis_server.url,
        "CONSUMER_LEASE_MS": "500",
        "CONSUMER_BLOCK_MS": "20",
        "CONSUMER_MAX_POSITION": f"{BTC}:{MOST}",
        "CONSUMER_MAX_ORDERS_PER_S": "1000",
        "CONSUMER_PRICE_BAND": "0.5",
        "CONSUMER_PRICE_AGE_MS": "600000",
    }
    alive = {name: Process(name, tmp_path, "consumers", "run", name, env=env) for name in SERVICES}
    try:
        for _ in range(4):
            await play(market, dice, number, 20)
            number += 20
            before = await market.xlen(str(scene.key("orders")))
            await eventually(lambda before=before: _grows(market, before), within_seconds=60)
            name = dice.choice(sorted(alive))
            _kill(alive[name])
            alive[name] = Process(name, tmp_path, "consumers", "run", name, env=env)
        await eventually(lambda: settled(market), within_seconds=120)
    finally:
        for process in alive.values():
            process.end()
    seen, wrong = await found(market, replace(LIMITS, price_age_ms=600_000))
    assert (wrong, sum(each.channel == "intents" for each in seen)) == ([], number)


def _kill(process):
    process._process.kill()
    process._process.wait()


async def _grows(redis, before):
    return await redis.xlen(str(scene.key("orders"))) > before


class Buyer(Struct):
    """Buys upon each trade."""

    def on_trade(self, key, trade):
        yield Wish(side="buy", amount=Decimal(1))


async def test_from_a_price_to_a_position(market, redis_server):
    async with contextlib.AsyncExitStack() as stack:
        for make in (lambda redis: Bot(redis, "bot", Buyer), *SERVICES.values()):
            await stack.enter_async_context(serving(redis_server.url, make))
        await append(market, [scene.trade(number, 100, received_ns=time.time_ns()) for number in range(1, 7)])
        name = keys.position("binance", "paper", BTC)
        await eventually(lambda: _is(market, name, b"4"))
        await eventually(lambda: _has(market, "orders", 10))
    seen, wrong = await found(market)
    refused = [each.body.reason for each in seen if each.channel == "orders" and each.body.status == "rejected"]
    assert (wrong, refused) == ([], ["position: 5 is above 4"] * 2)


async def _is(redis, name, quantity):
    return await redis.hget(name, "quantity") == quantity


async def _has(redis, channel, entries):
    return await redis.xlen(str(scene.key(channel))) == entries


class Forgetful(Risk):
    """A negative control: it approves all there is, and names it anew each time."""

    async def handle(self, delivery):
        if delivery.key.channel == "intents":
            body = replace(delivery.event, intent_id=f"{delivery.event.intent_id}-{time.time_ns()}")
            approved = scene.approved("x")
            await append(self._redis, [replace(approved, s=body.intent_id, body=body)])
        await delivery.ack()


class Hasty(Orders):
    """A negative control: it acknowledges before it has any effect."""

    async def handle(self, delivery):
        if delivery.key.channel == "approved" and await delivery.commit(("HSET", "hasty:{binance}", "acknowledged", 1)):
            step = await self._step(Desk(), delivery)
            await append(self._redis, step.events)


@pytest.mark.parametrize(
    ("wrong", "approved", "kinds"),
    [
        # What is approved is filled only once all of it is: else fills might keep it within the limit by chance.
        ({"risk": lambda redis: Forgetful(redis, limits=LIMITS)}, 40, ("has no answer", "could buy", "could sell")),
        ({"order": lambda redis: Hasty(redis, venue=Paper())}, 0, ("was approved and is no order",)),
    ],
    ids=["names anew", "acknowledges first"],
)
async def test_the_checks_find_what_a_service_does_wrong(market, redis_server, wrong, approved, kinds):
    makes = SERVICES | wrong
    async with cutting(redis_server.port, b"EVALSHA", every=5) as url, contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(serving(url, makes.pop("risk")))
        await play(market, random.Random(1), 0, 40)
        await eventually(lambda: _approves(market, approved), within_seconds=60)
        for make in makes.values():
            await stack.enter_async_context(serving(url, make))
        await eventually(lambda: settled(market), within_seconds=60)
    _, said = await found(market)
    assert [any(kind in each for each in said) for kind in kinds] == [True] * len(kinds)


async def _approves(redis, intents):
    return await redis.xlen(str(scene.key("approved"))) >= intents
