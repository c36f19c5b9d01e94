"""The bot: prices become intents, each once, whatever comes again and whatever the strategy does."""

from decimal import Decimal

import pytest
from msgspec import Struct
from msgspec.structs import replace
from redis.exceptions import ResponseError

from consumers.append import append
from consumers.services.bot import Bot
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.seat import Seat
from consumers.services.strategy import Alarm, Wish
from ingest.contract import keys
from ingest.contract.events import Delta, Event, Intent
from ingest.contract.keys import StreamKey
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


class Above(Struct):
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


class ByEntry(Bot):
    """The wrong way: an intent named by the entry, which is another one once the event is appended again."""

    class seat(Seat):  # noqa: N801
        def _intent(self, key, entry, index, wish):
            event = super()._intent(key, entry, index, wish)
            intent_id = f"{self._terms.bot}/{entry.id}/{index}"
            return replace(event, s=intent_id, body=replace(event.body, intent_id=intent_id))


@pytest.mark.parametrize(("kind", "placed"), [(Bot, 1), (ByEntry, 2)])
async def test_an_event_that_comes_again_places_no_second_order(redis, kind, placed):
    await append(redis, [book(1)])
    await deliver(redis, bot(redis, kind=kind), trade(2, 101))
    # Redis has lost the trade and what the bot had kept, and the trade has been appended again.
    await redis.delete(str(key("trades")), key("trades").state, keys.kept("binance", "above", "BTC/USDT"))
    await redis.delete(keys.handled("binance", "above"))
    await deliver(redis, bot(redis, kind=kind), trade(2, 101))
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
            raise RuntimeError("no")
        return super().on_trade(key, trade)


async def test_a_strategy_that_raises_gets_the_next_entry_all_the_same_and_it_is_told(redis):
    await deliver(redis, bot(redis, Fails), trade(1, 101), trade(2, 102))
    (told,) = await bodies(redis, StreamKey("binance", "status"))
    assert (told.state, told.symbol, told.stream) == ("strategy_failed", "BTC/USDT", str(key("trades")))
    assert told.reason.endswith("failure 1: RuntimeError: no")
    assert len(await bodies(redis, key("intents"))) == 1


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
    class Nonsense(Struct):
        def on_ticker(self, key, ticker):
            return [wish]

    await deliver(redis, bot(redis, Nonsense), ticker(1, last="1"))
    told = [status.state for status in await bodies(redis, StreamKey("binance", "status"))]
    assert (told, await redis.exists(str(key("intents")))) == (["strategy_failed"], 0)


async def test_a_wish_may_be_for_another_exchange_and_symbol(redis):
    class Elsewhere(Struct):
        def on_ticker(self, key, ticker):
            yield Wish(side="buy", amount=Decimal(1), symbol="ETH-USDT")
            yield Wish(side="sell", amount=Decimal(1), exchange="kraken", symbol="ETH/USD")

    await deliver(redis, bot(redis, Elsewhere), ticker(1, last="1"))
    kraken = StreamKey("kraken", "intents", "ETH/USD")
    said = [[intent.side for intent in await bodies(redis, where)] for where in (key("intents", "ETH/USDT"), kraken)]
    assert said == [["buy"], ["sell"]]


async def test_what_was_decided_and_not_appended_is_appended_by_the_next_owner(redis):
    await redis.set(str(key("intents")), "in the way")
    with pytest.raises(ResponseError):
        await deliver(redis, bot(redis), trade(1, 101))
    await redis.delete(str(key("intents")))
    await deliver(redis, bot(redis), trade(2, 99))
    assert (len(await bodies(redis, key("intents"))), SEEN) == (1, ["101", "99"])


class Books(Struct):
    """Notes the best bids."""

    def on_book(self, key, book):
        SEEN.append(str(book.best_bid.price))


async def test_a_strategy_sees_a_book_only_while_it_is_complete(redis):
    delta = Delta(bids=(("99.5", "1"),), asks=(), received_ns=NOW_NS)
    changes = [Event(key("orderbook"), str(s), delta, "range", first=str(s)) for s in (2, 5)]
    await deliver(redis, bot(redis, Books), book(1), changes[0], *moved_book(3, bids=(("98", "1"),)), changes[1])
    assert SEEN == ["99", "99.5", "98", "99.5"]


async def test_a_bot_that_starts_in_the_middle_is_shown_what_was_before(redis):
    changes = [
        Event(key("orderbook"), str(s), Delta(bids=((f"99.{s}", "1"),), asks=(), received_ns=NOW_NS), "range", str(s))
        for s in (2, 3, 4)
    ]
    await append(redis, [book(1), *changes])
    await bot(redis, Books).handle((await deliveries(redis, key("orderbook")))[2])
    assert SEEN == ["99", "99.2", "99.3"]


class Counts(Struct):
    """Notes how many trades it has seen."""

    trades: int = 0

    def on_trade(self, key, trade):
        self.trades += 1
        SEEN.append(f"{key.symbol} {self.trades}")


async def test_each_symbol_has_a_strategy_of_its_own(redis):
    elsewhere = replace(trade(1, 101), key=key("trades", "ETH/USDT"))
    await deliver(redis, bot(redis, Counts), trade(1, 101), elsewhere, trade(2, 101))
    assert SEEN == ["BTC/USDT 1", "ETH/USDT 1", "BTC/USDT 2"]


async def test_a_bot_goes_on_with_what_the_one_before_it_remembered(redis):
    for number in range(1, 4):
        await deliver(redis, bot(redis, Counts), trade(number, 101))
    assert SEEN == ["BTC/USDT 1", "BTC/USDT 2", "BTC/USDT 3"]


async def test_another_strategy_under_the_same_name_starts_with_warm_up(redis):
    await deliver(redis, bot(redis), trade(1, 101))
    SEEN.clear()
    await deliver(redis, bot(redis, Counts), trade(2, 101))
    assert SEEN == ["BTC/USDT 1", "BTC/USDT 2"]


class Loops(Struct):
    """Never comes back from the second trade, whatever is raised in it."""

    def on_trade(self, key, trade):
        SEEN.append(trade.price)
        while trade.price == "2":
            try:
                sum(range(1000))
            except Exception:  # noqa: BLE001 - that is what it does wrong
                SEEN.append("caught")


async def test_a_strategy_that_loops_is_halted_with_a_reason_and_others_go_on(redis):
    looping, other = bot(redis, Loops, limit_s=0.05), Bot(redis, "other", Above, now_ns=lambda: NOW_NS)
    for number in (1, 2, 3):
        await deliver(redis, looping, trade(number, number))
    (told,) = await bodies(redis, StreamKey("binance", "status"))
    assert (SEEN, told.state) == (["1", "2"], "strategy_halted")
    assert told.reason.endswith("took more than 0.05 s: it hears nothing more until the bot is started anew")
    await deliver(redis, other, trade(4, 104))
    assert len(await bodies(redis, key("intents"))) == 1


class Sleeper(Struct):
    """Wants to be woken a second after the first trade."""

    set: bool = False

    def on_trade(self, key, trade):
        SEEN.append(trade.price)
        if not self.set:
            self.set = True
            yield Alarm(after_ms=1000, name="up")

    def on_alarm(self, key, alarm):
        SEEN.append(alarm.name)


async def test_an_alarm_rings_before_the_entry_that_shows_that_it_is_time_also_after_a_crash(redis):
    for number, after_ns in ((1, 0), (2, SECOND_NS - 1), (3, SECOND_NS), (4, SECOND_NS)):
        await deliver(redis, bot(redis, Sleeper), trade(number, number, received_ns=NOW_NS + after_ns))
    assert SEEN == ["1", "2", "up", "3", "4"]


class Hoards(Struct):
    """Remembers too much, or what it cannot read again."""

    kept: str = ""

    def on_trade(self, key, trade):
        SEEN.append(self.kept)
        self.kept = "x" * (1 << 20) if trade.price == "2" else 7 if trade.price == "3" else trade.price
        yield Wish(side="buy", amount=Decimal(1))


async def test_a_strategy_that_remembers_what_cannot_be_kept_is_as_it_was_before(redis):
    await deliver(redis, bot(redis, Hoards), *(trade(number, number) for number in (1, 2, 3, 4, 5)))
    told = [status.reason.partition(": ")[2] for status in await bodies(redis, StreamKey("binance", "status"))]
    assert (SEEN, len(await bodies(redis, key("intents")))) == (["", "1", "1", "1", "4"], 3)
    assert told == [
        "ValueError: it remembers 1048587 bytes, above the 1048576 allowed",
        "ValidationError: Expected `str`, got `int` - at `$.kept`",
    ]
