"""Half an hour of a simulated exchange: what bots wished live, they wish again on history, to the byte."""

import contextlib
from decimal import Decimal

import pytest

from consumers import Replay
from consumers.append import append
from consumers.console.rehearsed import as_json
from consumers.services.bot import Bot
from consumers.services.limits import Limits
from consumers.services.notes import Terms
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.rehearsal import Rehearsal
from consumers.services.risk import Risk
from consumers.services.strategies.book_imbalance import BookImbalance
from consumers.services.strategies.moving_average import MovingAverage
from ingest.catalogue import Catalogue
from ingest.contract import keys
from ingest.exchanges import EXCHANGES
from tests.consumers.services import scene
from tests.consumers.services.test_flow import serving
from tests.eventually import eventually
from tests.ingest.exchanges.joined import Joined

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USDT", "SOL/USDT")
CHANNELS = ("candles-1m", "orderbook", "ticker", "trades")
BOTS = {"average": MovingAverage, "imbalance": BookImbalance}
STEP_S = 5
"""So late, by the market's clock, an order may be: it is as good as that and no longer."""
EVER_MS = 10**13
LIMITS = Limits(
    order_notional=Decimal(2_000),
    exposure=Decimal(10_000),
    orders_per_s=100,
    price_band=Decimal("0.05"),
    price_age_ms=60_000,
)


class Recorded(Joined):
    """A market of which all that is said is kept, to be written where services read it."""

    def __init__(self, **more):
        self.said = []
        super().__init__(EXCHANGES["binance"](), SYMBOLS, CHANNELS, **more)

    def write(self, events):
        self.said += events
        return super().write(events)


async def settled(redis, groups, symbols=SYMBOLS):
    """Whether all groups, which read these channels, have handled all there is, and told what follows from it."""
    streams = [keys.parse_key(name.decode()) for name in await redis.smembers(keys.streams("binance"))]
    pipe = redis.pipeline(transaction=True)
    for key in streams:
        pipe.hmget(key.state, "g", "n")
    for name in groups:
        pipe.hgetall(keys.handled("binance", name))
    for name in groups:
        for symbol in symbols:
            pipe.hkeys(keys.kept("binance", name, symbol))
    answers = await pipe.execute()
    ends = dict(zip(streams, answers, strict=False))
    for channels, handled in zip(groups.values(), answers[len(streams) :], strict=False):
        for key, end in ends.items():
            if key.channel in channels and handled.get(str(key).encode(), b"- 0 0").split()[:2] != end:
                return False
    return not any(field.startswith(b"out ") for kept in answers[len(streams) + len(groups) :] for field in kept)


async def live(redis, url, seed):
    """The half hour as it happens, with bots that trade in it."""
    market = Recorded(rate=2, seed=seed)

    def now_ns():
        return market.now_ns

    catalogue = Catalogue(redis, "binance")
    catalogue.take(market.instruments, market.now_ns)
    await catalogue.write()
    async with contextlib.AsyncExitStack() as stack:
        made = [
            *(
                lambda redis, name=name, kind=kind: Bot(redis, name, kind, live_within_ms=EVER_MS, now_ns=now_ns)
                for name, kind in BOTS.items()
            ),
            lambda redis: Risk(redis, limits=LIMITS, now_ns=now_ns),
            lambda redis: Orders(redis, venue=Paper(), now_ns=now_ns),
        ]
        services = [await stack.enter_async_context(serving(url, make)) for make in made]
        groups = {service.name: service.channels for service in services}
        for _ in range(0, 30 * 60, STEP_S):
            market.run(STEP_S)
            await append(redis, market.said)
            market.said = []
            await eventually(lambda: settled(redis, groups), within_seconds=30)


async def wished(redis):
    """The intents of each bot and symbol, as they are on the bus."""
    said = {(bot, symbol): [] for bot in BOTS for symbol in SYMBOLS}
    for symbol in SYMBOLS:
        for intent in await scene.bodies(redis, scene.key("intents", symbol)):
            said[intent.bot, symbol].append(intent)
    return said


async def replayed(redis, bot, venue):
    """What comes of it on history: all intents, by symbol, and all that is printed."""
    rehearsal = Rehearsal(Terms(bot=bot, kind=BOTS[bot], live_within_ms=EVER_MS), venue)
    patterns = [f"binance:{channel}:*" for channel in rehearsal.channels]
    events = [event async for step in Replay(redis, patterns) for event in rehearsal.take(step)]
    intents = {
        (bot, symbol): [event.body for event in events if event.key == scene.key("intents", symbol)]
        for symbol in SYMBOLS
    }
    return intents, "\n".join(map(as_json, events))


async def refusals(redis):
    """Why orders were refused. Of what was filled in part, so little may be left that no exchange takes it."""
    orders = [order for symbol in SYMBOLS for order in await scene.bodies(redis, scene.key("orders", symbol))]
    return [order.reason for order in orders if order.status == "rejected"]


def sides(intents):
    return {intent.side for some in intents.values() for intent in some}


async def test_what_was_live_is_the_same_on_history_and_history_the_same_twice(redis, redis_server):
    await live(redis, redis_server.url, seed=8)
    said = await wished(redis)
    for bot in BOTS:
        was = {key: intents for key, intents in said.items() if key[0] == bot}
        recorded, again = [await replayed(redis, bot, None) for _ in range(2)]
        assert (recorded, recorded[0]) == (again, was)
        paper, again = [await replayed(redis, bot, Paper()) for _ in range(2)]
        assert paper == again
        assert sides(was) == sides(paper[0]) == {"buy", "sell"}
    assert said["average", "SOL/USDT"]
    assert {reason.partition(":")[0] for reason in await refusals(redis)} <= {"below the least value"}
