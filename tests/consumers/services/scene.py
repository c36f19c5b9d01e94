"""A market in a few lines: events for tests, put on the bus by the real script and read back as deliveries."""

import contextlib

from msgspec.structs import replace
from redis.exceptions import ResponseError

from consumers import stored
from consumers.append import append
from consumers.delivery import Delivery
from consumers.group import Group, Mark, Tenancy
from ingest.contract import keys
from ingest.contract.events import Event, Fill, Gap, Intent, Snapshot, Ticker, Trade
from ingest.contract.keys import StreamKey

NOW_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


def key(channel, symbol="BTC/USDT"):
    return StreamKey("binance", channel, symbol)


def trade(s, price, *, side="buy", received_ns=NOW_NS, **more):
    body = Trade(price=str(price), amount="1", side=side, received_ns=received_ns, **more)
    return Event(key("trades"), str(s), body, "dense", first=str(s))


def ticker(mark, **prices):
    return Event(key("ticker"), f"book.{mark}", Ticker(received_ns=NOW_NS, **prices), "ticker")


def book(s, bids=(("99", "1"),), asks=(("101", "1"),)):
    return Event(key("orderbook"), str(s), Snapshot(bids=bids, asks=asks, received_ns=NOW_NS), "snapshot")


def moved_book(s, bids=(("99", "1"),), asks=(("101", "1"),)):
    """The same for a stream that has a book: it goes out of sync first."""
    body = Gap(reason="resync", first_id=str(s), last_id=str(s))
    return [Event(key("orderbook"), f"{s}-{s}", body, "gap", first=f"{s}-{s}"), book(s + 1, bids, asks)]


def intent(intent_id, side="buy", amount="1", *, order_type="market", symbol="BTC/USDT", **more):
    fields = {"account": "paper", "bot": "b", "decided_ns": NOW_NS, "valid_until_ns": NOW_NS + SECOND_NS} | more
    body = Intent(intent_id=intent_id, side=side, amount=amount, order_type=order_type, **fields)
    return Event(key("intents", symbol), intent_id, body, "window")


def approved(*args, **more):
    """An intent that may become an order."""
    said = intent(*args, **more)
    return replace(said, key=key("approved", said.key.symbol))


def fill(fill_id, side, amount, price, *, account="paper", fee="0"):
    body = Fill(
        fill_id=fill_id,
        order_id="o",
        intent_id="i",
        account=account,
        side=side,
        price=price,
        amount=amount,
        fees=(("USDT", fee),),
        liquidity="taker",
        exchange_ns=NOW_NS,
        received_ns=NOW_NS,
    )
    return Event(key("fills"), fill_id, body, "window")


class Owner:
    """Who owns everything, for a group: commits as readers do."""

    def __init__(self, redis, group):
        self.redis = redis
        self.group = Group(redis, group, "owner")

    async def commit(self, entry, commands):
        key, mark = entry
        await self.redis.hset(keys.shards(key.exchange, self.group.name), "0", "test 1 - -")
        with contextlib.suppress(ResponseError):
            await self.redis.xgroup_create(str(key), self.group.name, "0")
        await self.group.take_back(key, mark.g.encode(), [mark.id.encode()])
        done = await self.group.commit(key, mark, Tenancy("test", 0, 1), commands)
        return done == 1


async def deliveries(redis, stream, group="service"):
    """All entries of the stream, as a reader would hand them over."""
    owner = Owner(redis, group)
    return [
        Delivery(
            stream,
            entry,
            entry.event,
            hole=0,
            redelivered=False,
            _arrival=(stream, Mark(entry.id, entry.g, entry.n)),
            _holder=owner,
        )
        async for entry in stored.entries(redis, stream, after="0-0")
    ]


async def deliver(redis, service, *events):
    """Append the events and have the service handle them, in order."""
    for event in events:
        await append(redis, [event])
        await service.handle((await deliveries(redis, event.key, service.name))[-1])


async def write(redis, *batches):
    """Each batch in a millisecond of its own: within one, several streams have no order but that of their names."""
    for batch in batches:
        await append(redis, batch)
        written = (await redis.time())[1] // 1000
        while (await redis.time())[1] // 1000 == written:
            pass


async def bodies(redis, stream):
    """What the stream says."""
    return [delivery.event for delivery in await deliveries(redis, stream)]
