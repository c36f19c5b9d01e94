"""A bot on history: what its orders would have come to, to the last digit."""

from decimal import Decimal

from msgspec import Struct

from consumers import Replay
from consumers.append import append
from consumers.console.rehearsed import as_line, outcome
from consumers.services.paper import Paper
from consumers.services.rehearsal import Rehearsal, Result
from consumers.services.seat import Terms
from consumers.services.strategy import Wish
from ingest.contract.events import Delta, Event, Fill
from tests.consumers.services.scene import NOW_NS, SECOND_NS, book, key, trade


class Once(Struct):
    """Buys at the first trade, there and where there is no book."""

    bought: bool = False

    def on_trade(self, key, trade):
        if not self.bought:
            self.bought = True
            yield Wish(side="buy", amount=Decimal(1))
            yield Wish(side="buy", amount=Decimal(1), symbol="NO/BOOK")


async def rehearsed(redis, latency_ms=0):
    rehearsal = Rehearsal(Terms(bot="b", kind=Once), Paper(latency_ns=latency_ms * 1_000_000))
    patterns = [f"binance:{channel}:*" for channel in rehearsal.channels]
    events = [event async for step in Replay(redis, patterns) for event in rehearsal.take(step)]
    return rehearsal, [event for event in events if isinstance(event.body, Fill)]


async def test_profit_is_at_the_price_of_the_moment_and_drawdown_from_its_peak(redis):
    for number, price in enumerate((100, 110, 105, 109), 1):
        await append(redis, [*([book(1)] if number == 1 else []), trade(number, price)])
    rehearsal, fills = await rehearsed(redis)
    assert rehearsal.results == {
        "USDT": Result(pnl=Decimal("7.899"), peak=Decimal("8.899"), drawdown=Decimal("5.000")),
    }
    assert [as_line(fill, fill.body, rehearsal) for fill in fills] == [
        "binance  BTC/USDT   buy  1 at 101  fees 0.101 USDT  holds 1  pnl 7.899 USDT"
    ]
    assert outcome(rehearsal) == [
        "2 intents, 1 of them rejected, 1 fills",
        "binance BTC/USDT: holds 1, pnl 7.899 USDT",
        "in all: pnl 7.899 USDT, drawdown 5 USDT",
    ]


async def test_an_order_meets_the_book_of_when_it_reaches_the_exchange(redis):
    dearer = Delta(bids=(), asks=(("101", "0"), ("103", "1")), received_ns=NOW_NS)
    await append(redis, [book(1), trade(1, 100)])
    await append(redis, [Event(key("orderbook"), "2", dearer, "range", "2")])
    await append(redis, [trade(2, 100, received_ns=NOW_NS + SECOND_NS)])
    prices = [(await rehearsed(redis, latency_ms))[1][0].body.price for latency_ms in (0, 500)]
    assert prices == ["101", "103"]
