"""Live, after crashes and on history, the same entries become the same intents, to the byte."""

import asyncio
import contextlib
import json
import random
import time
from decimal import Decimal

import msgspec
import pytest
from msgspec import Struct, convert
from msgspec.structs import replace

from consumers import Replay
from consumers.append import append
from consumers.services.bot import Bot
from consumers.services.limits import Limits
from consumers.services.notes import Notes, Terms
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.rehearsal import Rehearsal
from consumers.services.risk import Risk
from consumers.services.seat import Seat
from consumers.services.strategy import Alarm, Cancel, Wish, thawed
from deploy.processes import Process
from ingest.contract import instruments, keys
from ingest.contract.events import Delta, Event, Fill, Intent
from tests.consumers.cutting import cutting
from tests.consumers.services import scene
from tests.consumers.services.test_flow import serving
from tests.consumers.services.test_half_hour import settled
from tests.consumers.services.test_limits import LISTED
from tests.consumers.test_main import alone
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USDT", "ETH/USDT")
CHANNELS = ("orderbook", "ticker", "trades")
LONG_MS = 600_000
PAPER = Paper()


class Touchy(Struct):
    """Hears of everything, and what it wishes depends on all it has heard and in which order."""

    mixed: int = 1

    def on_trade(self, key, trade):
        return self.say(int(trade.price))

    def on_ticker(self, key, ticker):
        return self.say(int(ticker.last))

    def on_book(self, key, book):
        return self.say(int(book.best_bid.amount))

    def on_alarm(self, key, alarm):
        return self.say(alarm.after_ms)

    def say(self, heard):
        self.mixed = (self.mixed * 31 + heard) % 1009
        if self.mixed % 3 == 0:
            yield Wish(side="buy" if self.mixed % 2 else "sell", amount=Decimal(self.mixed))
        if self.mixed % 5 == 0:
            yield Alarm(after_ms=self.mixed % 11, name=str(self.mixed % 2))


def happened(dice, symbol, s, ahead_ns=0):
    """The next event of one of the streams, at this moment; `s` has how far each is."""
    now_ns, channel = time.time_ns() + ahead_ns, dice.choice(CHANNELS)
    number = s[symbol, channel] = s.get((symbol, channel), 1) + 1
    if channel == "trades":
        event = scene.trade(number - 1, dice.randrange(90, 110), received_ns=now_ns)
    elif channel == "ticker":
        event = scene.ticker(number, last=str(dice.randrange(90, 110)))
        event = replace(event, body=replace(event.body, received_ns=now_ns))
    else:
        bids = (("99", str(dice.randrange(1, 50))),)
        event = Event(
            scene.key(channel), str(number), Delta(bids=bids, asks=(), received_ns=now_ns), "range", str(number)
        )
    return replace(event, key=scene.key(channel, symbol))


async def play(redis, dice, count, s, ahead_ns=0):
    """So much of a market."""
    for _ in range(count):
        await append(redis, [happened(dice, dice.choice(SYMBOLS), s, ahead_ns) for _ in range(dice.randrange(1, 4))])


@pytest.fixture
async def market(redis):
    for symbol in SYMBOLS:
        first = scene.book(1, bids=(("99", "1"),))
        body = replace(first.body, received_ns=time.time_ns())
        await append(redis, [replace(first, key=scene.key("orderbook", symbol), body=body)])
    return redis


def touchy(kind=Bot):
    return lambda redis, **more: kind(redis, "bot", Touchy, live_within_ms=LONG_MS, **more)


async def handled(redis):
    for symbol in SYMBOLS:
        for channel in CHANNELS:
            key = scene.key(channel, symbol)
            at = (await redis.hget(keys.handled("binance", "bot"), str(key)) or b"- 0").split()[1]
            if at != await redis.hget(key.state, "n"):
                return False
        fields = await redis.hkeys(keys.kept("binance", "bot", symbol))
        if any(field.startswith(b"out ") for field in fields):
            return False
    return True


async def said(redis):
    """The intents of each symbol, as they are on the bus."""
    return {symbol: await scene.bodies(redis, scene.key("intents", symbol)) for symbol in SYMBOLS}


async def rehearsed(redis, until=None, venue=PAPER, **terms):
    """The same on history; and fills, and the whole rehearsal."""
    rehearsal = Rehearsal(Terms(**{"bot": "bot", "kind": Touchy, "live_within_ms": LONG_MS} | terms), venue)
    patterns = [f"binance:{channel}:*" for channel in rehearsal.channels]
    events = [event async for step in Replay(redis, patterns, until=until) for event in rehearsal.take(step)]
    intents = {
        symbol: [event.body for event in events if event.key == scene.key("intents", symbol)] for symbol in SYMBOLS
    }
    return intents, [event.body for event in events if isinstance(event.body, Fill)], rehearsal


async def test_what_is_live_is_the_same_on_history(market, redis_server):
    async with serving(redis_server.url, touchy()):
        await play(market, random.Random(1), 150, {})
        await eventually(lambda: handled(market))
    intents, fills, rehearsal = await rehearsed(market)
    assert await said(market) == intents
    assert min(len(each) for each in intents.values()) > 20
    again = await rehearsed(market)
    assert (intents, fills, rehearsal.results) == (*again[:2], again[2].results)


async def disturbed(redis, url, dice, kind):
    """A bot that is cut off five times in the midst of what it does, on a line that loses replies."""
    s = {}
    for life in range(5):
        async with serving(url, touchy(kind), consumer=f"life-{life}"):
            await play(redis, dice, 30, s)
            if life == 4:
                await eventually(lambda: handled(redis), within_seconds=30)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_bot_that_dies_again_and_again_says_what_one_that_lives_does(market, redis_server, seed):
    async with cutting(redis_server.port, b"EVALSHA", every=7) as url:
        await disturbed(market, url, random.Random(seed), Bot)
    intents, *_ = await rehearsed(market)
    assert await said(market) == intents
    assert min(len(each) for each in intents.values()) > 20


async def test_a_process_that_is_killed_again_and_again_says_what_one_that_lives_does(market, redis_server, tmp_path):
    env = {"CONSUMER_REDIS_URL": redis_server.url, "CONSUMER_BLOCK_MS": "20", "CONSUMER_LEASE_MS": "500"}
    arguments = ("consumers", "run", "bot", "--strategy", f"{__name__}:Touchy")
    # From a clock that is ahead, so that nothing is warm-up, however slow this machine is.
    dice, s, ahead_ns = random.Random(5), {}, 3_600 * 10**9
    for life in range(4):
        process = Process(f"bot-{life}", tmp_path, *arguments, env=env)
        try:
            before = sum(map(len, (await said(market)).values()))
            await play(market, dice, 25, s, ahead_ns)
            await eventually(lambda before=before: says_more(market, before), within_seconds=30)
            await play(market, dice, 25, s, ahead_ns)
            if life == 3:
                await eventually(lambda: handled(market), within_seconds=30)
        finally:
            process._process.kill()
            process._process.wait()
    intents, *_ = await rehearsed(market)
    assert await said(market) == intents


async def says_more(redis, before):
    return sum(map(len, (await said(redis)).values())) > before


class Amnesiac(Bot):
    """Wrong: it knows what it was shown, and not what it thought of it."""

    class seat(Seat):  # noqa: N801
        def __init__(self, terms, exchange, symbol, notes):
            super().__init__(terms, exchange, symbol, replace(Notes(), places=notes.places))
            self.notes = replace(self.notes, places=notes.places)


class Hasty(Bot):
    """Wrong: it takes entries of different streams in the order in which they happen to be read."""

    async def _before(self, seat, key, entry):
        for nothing in ():
            yield nothing


class ByEntry(Bot):
    """Wrong: it names intents by entries."""

    class seat(Seat):  # noqa: N801
        def _intent(self, key, entry, index, wish):
            event = super()._intent(key, entry, index, wish)
            return replace(event, s=entry.id, body=replace(event.body, intent_id=entry.id))


@pytest.mark.parametrize("kind", [Amnesiac, Hasty, ByEntry])
async def test_the_comparison_finds_a_bot_that_does_it_wrong(market, redis_server, kind):
    await disturbed(market, redis_server.url, random.Random(1), kind)
    intents, *_ = await rehearsed(market)
    assert await said(market) != intents


async def remembered(redis):
    """What the strategies remember."""
    kept = [await redis.hget(keys.kept("binance", "bot", symbol), "state") for symbol in SYMBOLS]
    return [msgspec.msgpack.decode(state, type=Notes).strategy for state in kept]


async def test_a_bot_that_comes_late_remembers_all_and_wishes_nothing(market, redis_server):
    await play(market, random.Random(1), 150, {})
    later_ns = time.time_ns() + 2 * LONG_MS * 1_000_000
    async with serving(redis_server.url, lambda redis: touchy()(redis, now_ns=lambda: later_ns)):
        await eventually(lambda: handled(market))
    _, _, rehearsal = await rehearsed(market)
    assert await said(market) == {symbol: [] for symbol in SYMBOLS}
    assert await remembered(market) == [rehearsal._seats["binance", symbol].notes.strategy for symbol in SYMBOLS]


async def test_the_command_prints_the_same_of_the_same_history(market, redis_server):
    await play(market, random.Random(1), 150, {})
    again = ("run", "bot", "--strategy", f"{__name__}:Touchy", "--replay", "-1h", "--json")
    first, second = [await asyncio.to_thread(alone, redis_server.url, *again) for _ in range(2)]
    assert (first, first[0]) == (second, 0)
    lines = [json.loads(line) for line in first[1].splitlines()]
    told = [convert(line["data"], Intent) for line in lines if line["channel"] == "intents"]
    intents, fills, _ = await rehearsed(market)
    assert sorted(told, key=str) == sorted([each for some in intents.values() for each in some], key=str)
    assert sum(line["channel"] == "fills" for line in lines) == len(fills) > 0
    recorded = (await asyncio.to_thread(alone, redis_server.url, *again, "--recorded"))[1].splitlines()
    assert recorded == [line for line in first[1].splitlines() if json.loads(line)["channel"] == "intents"]


class Trader(Struct):
    """What it wishes depends on what has become of what it wished before, and in which order it heard of it."""

    mixed: int = 1
    rests: str | None = None
    fills: int = 0

    def on_trade(self, key, trade):
        self.mix(int(trade.price))
        if self.mixed % 4 == 3 and self.rests:
            yield Cancel(self.rests)
            self.rests = None
        elif self.mixed % 4:
            in_force = ("gtc", "ioc", "post_only")[self.mixed % 3]
            side, price = ("buy", 100) if self.mixed % 2 else ("sell", 98)
            self.rests = yield Wish(side, Decimal(2), "limit", Decimal(price + self.mixed % 3), time_in_force=in_force)

    def on_fill(self, key, fill):
        self.fills += 1
        self.mix(int(Decimal(fill.price) * Decimal(fill.amount)))
        if self.mixed % 3 == 0:
            yield Wish("sell" if fill.side == "buy" else "buy", Decimal(fill.amount))

    def on_order(self, key, order):
        self.mix(len(order.status) + int(order.updated_ns % 1000))
        if order.status == "rejected":
            yield Alarm(5)

    def on_alarm(self, key, alarm):
        self.mix(alarm.after_ms)

    def mix(self, heard):
        self.mixed = (self.mixed * 31 + heard) % 1009


GENEROUS = Limits(
    order_notional=Decimal(1_000_000),
    exposure=Decimal(1_000_000),
    orders_per_s=1_000,
    price_band=Decimal(1),
    price_age_ms=LONG_MS,
)


async def test_a_bot_that_dies_again_and_again_hears_of_its_orders_as_one_that_lives(market, redis_server):
    rows = {symbol: instruments.encode(replace(LISTED, symbol=symbol, tick_size="1")) for symbol in SYMBOLS}
    await market.hset(keys.instruments("binance"), mapping=rows)
    s, dice = {}, random.Random(7)
    groups = {"bot": ("trades", "fills", "orders"), "risk": Risk.channels, "order": ("approved", "trades")}

    def trader(redis):
        # However slow it is on this line, what it wishes is an order.
        return Bot(redis, "bot", Trader, live_within_ms=LONG_MS, valid_ms=LONG_MS)

    async with contextlib.AsyncExitStack() as stack:
        for make in (lambda redis: Risk(redis, limits=GENEROUS), lambda redis: Orders(redis, venue=Paper())):
            await stack.enter_async_context(serving(redis_server.url, make))
        url = await stack.enter_async_context(cutting(redis_server.port, b"EVALSHA", every=7))
        for life in range(5):
            async with serving(url, trader, consumer=f"life-{life}"):
                await play(market, dice, 40, s)
                if life == 4:
                    await eventually(lambda: settled(market, groups, SYMBOLS), within_seconds=60)
    terms = {"kind": Trader, "valid_ms": LONG_MS}
    (intents, fills, rehearsal), again = [await rehearsed(market, venue=None, **terms) for _ in range(2)]
    assert (await said(market), intents, fills) == (intents, *again[:2])
    wanted = {each.order_type for some in intents.values() for each in some}
    assert (wanted, len(fills) > 20) == ({"limit", "market", "cancel"}, True)
    kept = [thawed(Trader, each) for each in await remembered(market)]
    assert sum(each.fills for each in kept) == len(fills)
    # What has become of them on paper, now, is something else, and makes it wish something else.
    assert (await rehearsed(market, **terms))[0] != intents
    assert [rehearsal._seats["binance", symbol].notes.strategy for symbol in SYMBOLS] == await remembered(market)


WALK = """
from msgspec import Struct
from consumers.services.strategy import Wish

class Loops(Struct):
    def on_trade(self, key, trade):
        while True:
            pass

class Buys(Struct):
    def on_trade(self, key, trade):
        yield Wish(side="buy", amount=1)
"""


async def test_of_two_bots_in_a_process_one_that_loops_does_not_keep_the_other(market, redis_server, tmp_path):
    (tmp_path / "my_strategies.py").write_text(WALK)
    env = {"CONSUMER_REDIS_URL": redis_server.url, "CONSUMER_BLOCK_MS": "20", "PYTHONPATH": str(tmp_path)}
    bots = ("--strategy", "loops=my_strategies:Loops", "--strategy", "buys=my_strategies:Buys")
    process = Process("bots", tmp_path, "consumers", "run", "bot", *bots, env=env)
    try:
        for number in range(1, 4):
            await append(market, [scene.trade(number, 100, received_ns=time.time_ns())])
        await eventually(lambda: has_said(market, 3), within_seconds=30)
    finally:
        process.end()


async def has_said(redis, intents):
    states = [status.state for status in await scene.bodies(redis, scene.StreamKey("binance", "status"))]
    return states == ["strategy_halted"] and len(await scene.bodies(redis, scene.key("intents"))) == intents
