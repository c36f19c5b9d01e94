"""The bot: prices become intents, each once, whatever comes again and whatever the strategy does."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from redis.exceptions import ResponseError

from consumers.append import append
from consumers.services.bot import Bot
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.strategy import Wish
from ingest.contract.events import Delta, Event, Intent
from tests.consumers.services.scene import (
    NOW_NS,
    SECOND_NS,
    bodies,
    book,
    deliver,
    deliveries,
    key,
    moved_book,
    ticker,
    trade,
)

SEEN: list[str] = []
"""What the strategies of one test were shown."""


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


class Above:
    """Buys at every trade above 100."""

    def on_trade(self, key, trade):
        SEEN.append(trade.price)
        if Decimal(trade.price) > 100:
            yield Wish(side="buy", amount=Decimal("0.010"))


def bot(redis, strategy=Above, kind=Bot, now_ns=NOW_NS, **more):
    return kind(redis, "above", strategy, now_ns=lambda: now_ns, **more)


async def test_a_wish_becomes_an_intent_named_by_bot_stream_event_and_place(redis):
    await deliver(redis, bot(redis, account="mine", valid_ms=1000), trade(1, 100), trade(2, 101))
    intent_id = "above/md:{binance}:trades:BTC-USDT/2/0"
    assert await bodies(redis, key("intents")) == [
        Intent(
            intent_id=intent_id,
            account="mine",
            bot="above",
            side="buy",
            order_type="market",
            amount="0.01",
            decided_ns=NOW_NS,
            valid_until_ns=NOW_NS + SECOND_NS,
        )
    ]


class ByTime(Bot):
    """The wrong way: an intent named by when it was decided."""

    def _intent(self, delivery, index, wish, now_ns):
        return renamed(super()._intent(delivery, index, wish, now_ns), f"{self.name}/{now_ns}/{index}")


class ByEntry(Bot):
    """The wrong way: an intent named by the entry, which is another one once the event is appended again."""

    def _intent(self, delivery, index, wish, now_ns):
        return renamed(super()._intent(delivery, index, wish, now_ns), f"{self.name}/{delivery.entry.id}/{index}")


def renamed(event: Event, intent_id: str) -> Event:
    return replace(event, s=intent_id, body=replace(event.body, intent_id=intent_id))


@pytest.mark.parametrize(("kind", "placed"), [(Bot, 1), (ByTime, 2), (ByEntry, 2)])
async def test_an_event_that_comes_again_places_no_second_order(redis, kind, placed):
    await append(redis, [book(1)])
    await append(redis, [trade(2, 101)])
    (first,) = await deliveries(redis, key("trades"))
    await bot(redis, kind=kind).handle(first)
    # The bot died before its ack and starts anew; and Redis lost the trade, so that it has been appended again.
    again = replace(first, redelivered=True, entry=replace(first.entry, id="1-0"))
    await bot(redis, kind=kind, now_ns=NOW_NS + SECOND_NS).handle(again)
    orders = Orders(redis, venue=Paper(), now_ns=lambda: NOW_NS)
    for delivery in await deliveries(redis, key("intents"), "order"):
        await orders.handle(replace(delivery, key=key("approved")))
    assert len({order.order_id for order in await bodies(redis, key("orders"))}) == placed


async def test_old_entries_are_warm_up_only(redis):
    it = bot(redis, live_within_ms=10_000)
    old, fresh = NOW_NS - 10 * SECOND_NS - 1, NOW_NS - 10 * SECOND_NS
    backfilled = trade(3, 103, backfilled=True, exchange_ns=old)
    await deliver(redis, it, trade(1, 101, received_ns=old), trade(2, 102, received_ns=fresh), backfilled)
    intents = [said.intent_id for said in await bodies(redis, key("intents"))]
    assert (SEEN, intents) == (["101", "102", "103"], ["above/md:{binance}:trades:BTC-USDT/2/0"])


class Fails(Above):
    def on_trade(self, key, trade):
        if trade.price == "101":
            raise RuntimeError
        return super().on_trade(key, trade)


async def test_a_strategy_that_raises_gets_the_next_entry_all_the_same(redis):
    it = bot(redis, Fails)
    await deliver(redis, it, trade(1, 101), trade(2, 102))
    assert (it.failures, len(await bodies(redis, key("intents")))) == (1, 1)


@pytest.mark.parametrize(
    "wish",
    [
        Wish(side="buy", amount=Decimal("NaN")),
        Wish(side="buy", amount=Decimal("-1")),
        Wish(side="buy", amount=0.1),
        Wish(side="hold", amount=Decimal(1)),
        Wish(side="buy", amount=Decimal(1), order_type="stop"),
        Wish(side="buy", amount=Decimal(1), order_type="limit", price=Decimal("Infinity")),
        Wish(side="buy", amount=Decimal(1), symbol="BTC:USDT"),
        Wish(side="buy", amount=Decimal(1), exchange="{x}"),
        "buy",
    ],
    ids=str,
)
async def test_a_nonsense_wish_is_the_strategys_failure_and_not_on_the_bus(redis, wish):
    class Nonsense:
        def on_ticker(self, key, ticker):
            return [wish]

    it = bot(redis, Nonsense)
    await deliver(redis, it, ticker(1, last="1"))
    assert (it.failures, await redis.exists(str(key("intents")))) == (1, 0)


async def test_a_wish_may_be_for_another_exchange_and_symbol(redis):
    class Elsewhere:
        def on_ticker(self, key, ticker):
            yield Wish(side="buy", amount=Decimal(1), symbol="ETH-USDT")
            yield Wish(side="sell", amount=Decimal(1), exchange="kraken", symbol="ETH/USD")

    await deliver(redis, bot(redis, Elsewhere), ticker(1, last="1"))
    kraken = type(key("intents"))("kraken", "intents", "ETH/USD")
    said = [[intent.side for intent in await bodies(redis, where)] for where in (key("intents", "ETH/USDT"), kraken)]
    assert said == [["buy"], ["sell"]]


async def test_an_attempt_after_a_failed_append_does_not_show_the_entry_twice(redis):
    it = bot(redis)
    await redis.set(str(key("intents")), "in the way")
    with pytest.raises(ResponseError):
        await deliver(redis, it, trade(1, 101))
    await redis.delete(str(key("intents")))
    (again,) = await deliveries(redis, key("trades"))
    await it.handle(again)
    assert (len(await bodies(redis, key("intents"))), SEEN) == (1, ["101"])


class Books:
    """Notes the best bids."""

    def on_book(self, key, book):
        SEEN.append(str(book.best_bid.price))


async def test_a_strategy_sees_a_book_only_while_it_is_complete(redis):
    delta = Delta(bids=(("99.5", "1"),), asks=(), received_ns=NOW_NS)
    changes = [Event(key("orderbook"), str(s), delta, "range", first=str(s)) for s in (2, 5)]
    await deliver(redis, bot(redis, Books), book(1), changes[0], *moved_book(3, bids=(("98", "1"),)), changes[1])
    assert SEEN == ["99", "99.5", "98", "99.5"]


async def test_a_bot_that_starts_in_the_middle_has_the_book_from_its_first_entry(redis):
    changes = [
        Event(key("orderbook"), str(s), Delta(bids=((f"99.{s}", "1"),), asks=(), received_ns=NOW_NS), "range", str(s))
        for s in (2, 3, 4)
    ]
    await append(redis, [book(1), *changes])
    await bot(redis, Books).handle((await deliveries(redis, key("orderbook")))[2])
    assert SEEN == ["99.3"]


class Counts:
    """Notes how many trades it has seen."""

    def __init__(self):
        self.trades = 0

    def on_trade(self, key, trade):
        self.trades += 1
        SEEN.append(f"{key.symbol} {self.trades}")


async def test_each_symbol_has_a_strategy_of_its_own(redis):
    elsewhere = replace(trade(1, 101), key=key("trades", "ETH/USDT"))
    await deliver(redis, bot(redis, Counts), trade(1, 101), elsewhere, trade(2, 101))
    assert SEEN == ["BTC/USDT 1", "ETH/USDT 1", "BTC/USDT 2"]
