"""A bot on history: what its orders would have come to, to the last digit."""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from consumers import Replay
from consumers.append import append
from consumers.console.rehearsed import as_line, outcome
from consumers.services.paper import Paper
from consumers.services.rehearsal import Rehearsal, Result
from consumers.services.seat import Terms
from consumers.services.strategy import Cancel, Wish, thawed
from ingest.contract.events import Delta, Event, Fill
from tests.consumers.services import scene
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
    rehearsal, events = await all_of(redis, Once, Paper(latency_ns=latency_ms * 1_000_000))
    return rehearsal, [event for event in events if isinstance(event.body, Fill)]


async def all_of(redis, kind, venue):
    """The rehearsal, and all that came of it."""
    rehearsal = Rehearsal(Terms(bot="b", kind=kind), venue)
    patterns = [f"binance:{channel}:*" for channel in rehearsal.channels]
    return rehearsal, [event async for step in Replay(redis, patterns) for event in rehearsal.take(step)]


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


class Echoes(Struct):
    """Buys at the first trade, and again upon each fill; rests below, and takes that back when a fill comes."""

    rests: str | None = None
    heard: list[str] = []

    def on_trade(self, key, trade):
        if self.rests is None:
            self.rests = yield Wish("buy", Decimal(1), "limit", Decimal(90))
            yield Wish("buy", Decimal(1))

    def on_fill(self, key, fill):
        self.heard.append(f"bought {fill.amount} at {fill.price}")
        yield Wish("buy", Decimal(1))
        yield Cancel(self.rests)

    def on_order(self, key, order):
        self.heard.append(order.status)


def names(events):
    """What came, by channel and in which order."""
    return [f"{event.key.channel} {getattr(event.body, 'status', '')}".strip() for event in events]


def own(fill_id, **more):
    """A fill of what the strategy wishes second."""
    said = scene.fill(fill_id, "buy", "1", "95", **more)
    return replace(said, body=replace(said.body, intent_id="b/md:{binance}:trades:BTC-USDT/1/1"))


async def test_it_hears_of_its_orders_on_paper_and_wishes_upon_them_with_the_next_entry(redis):
    # What was recorded of it is not for its ears here: it came of what it wished then.
    await scene.write(redis, [book(1)], [trade(1, 100)], [own("f1")], [trade(2, 100)])
    rehearsal, events = await all_of(redis, Echoes, Paper())
    wished, bought = ["intents", "intents"], ["orders new", "fills", "orders filled"]
    rests = ["orders new", "orders open"]
    assert names(events) == [*wished, *rests, *bought, *wished, *bought, "orders canceled", *wished]
    heard = thawed(Echoes, rehearsal._seats["binance", "BTC/USDT"].notes.strategy).heard
    assert heard == ["new", "open", *["new", "bought 1 at 101", "filled"] * 2, "canceled"]


async def test_or_it_hears_of_those_that_were_recorded_and_none_is_executed(redis):
    await scene.write(redis, [book(1)], [trade(1, 100)], [own("f1", fee="0.5")], [scene.fill("f2", "buy", "7", "95")])
    await scene.write(redis, [trade(2, 100)])
    rehearsal, events = await all_of(redis, Echoes, None)
    assert names(events) == ["intents", "intents", "fills", "intents", "intents"]
    assert events[-1].body.cancels == "b/md:{binance}:trades:BTC-USDT/1/0"
    assert rehearsal.results["USDT"].pnl == Decimal("4.5")
