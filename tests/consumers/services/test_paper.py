"""The paper exchange against its rules: no order leaves the diagram, no fill comes from nowhere, every turn is kept."""

from collections import defaultdict
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from consumers.book import Book
from consumers.services.fees import TABLE, BadFees, Fees, fees
from consumers.services.paper import Paper
from consumers.services.venue import NEXT, TERMINAL, Desk, Ticket
from ingest.contract.events import Fill, Intent, Order, Snapshot, Trade
from ingest.contract.keys import StreamKey

FREE = {"binance": Fees(Decimal(0), Decimal(0))}
TRADES = StreamKey("binance", "trades", "BTC/USDT")
BIDS = (("99", "3"), ("98", "5"))
ASKS = (("101", "2"), ("102", "4"))


def book(bids=BIDS, asks=ASKS):
    it = Book()
    it.apply(Snapshot(bids=bids, asks=asks, received_ns=0))
    return it


def wanted(intent_id="i", side="buy", amount="1", price=None, tif=None, *, now_ns=10, **more):
    fields = {"account": "paper", "bot": "b", "decided_ns": 0, "valid_until_ns": 100} | more
    kind = fields.pop("order_type", "market" if price is None else "limit")
    body = Intent(
        intent_id=intent_id, side=side, amount=amount, order_type=kind, price=price, time_in_force=tif, **fields
    )
    return Ticket("binance", "BTC/USDT", body, now_ns)


def cancel(target, **more):
    return wanted(f"x{target}", amount="0", order_type="cancel", cancels=target, **more)


def trade(price, amount, side="sell", at_ns=20, **more):
    return Trade(price=price, amount=amount, side=side, received_ns=at_ns, **more)


class Seen:
    """A desk that is played with, and all that it said."""

    def __init__(self, fees=FREE):
        self.paper = Paper(fees)
        self.desk = Desk()
        self.events = []

    def place(self, ticket, live=True, **sides):
        return self._take(self.paper.place(self.desk, ticket, book(**sides) if live else None))

    def hear(self, event, now_ns=20):
        return self._take(self.paper.hear(self.desk, TRADES, event, now_ns))

    def _take(self, step):
        # As it is after a crash: what is kept must say all of it.
        self.desk = msgspec.msgpack.decode(msgspec.msgpack.encode(step.desk), type=Desk)
        assert self.desk == step.desk
        self.events += step.events
        return self

    @property
    def orders(self):
        return [event.body for event in self.events if isinstance(event.body, Order)]

    @property
    def fills(self):
        return [event.body for event in self.events if isinstance(event.body, Fill)]

    @property
    def said(self):
        return [(order.status, order.filled) for order in self.orders]

    @property
    def filled(self):
        return [(fill.price, fill.amount, fill.liquidity) for fill in self.fills]


def test_a_limit_order_takes_what_it_crosses_and_rests_for_the_rest():
    seen = Seen().place(wanted(amount="3", price="101"))
    assert (seen.said, seen.filled, [(w.ahead, w.revision) for w in seen.desk.working]) == (
        [("new", "0"), ("partially_filled", "2")],
        [("101", "2", "taker")],
        [(0, 2)],
    )


def test_what_rests_joins_behind_what_is_shown_and_trades_at_its_price_eat_that_first():
    seen = Seen().place(wanted(amount="2", price="99"))
    for amount in ("2", "0.5", "1.5", "9"):
        seen.hear(trade("99", amount))
    assert (seen.said, seen.filled, seen.desk) == (
        [("new", "0"), ("open", "0"), ("partially_filled", "1"), ("filled", "2")],
        [("99", "1", "maker"), ("99", "1", "maker")],
        Desk(),
    )


def test_a_trade_beyond_its_price_fills_it_at_its_price_and_by_no_more_than_was_traded():
    seen = Seen().place(wanted(amount="2", price="99")).hear(trade("98.5", "1.25"))
    assert seen.filled == [("99", "1.25", "maker")]


def test_a_trade_with_a_taker_on_its_own_side_is_not_its_turn():
    seen = Seen().place(wanted(amount="2", price="99.5")).hear(trade("99.5", "9", side="buy"))
    assert seen.filled == []


def test_one_trade_is_shared_by_price_then_by_age():
    seen = Seen()
    for name, price in (("a", "99.1"), ("b", "99.2"), ("c", "99.2")):
        seen.place(wanted(name, amount="2", price=price))
    seen.hear(trade("99.1", "5"))
    assert [(fill.intent_id, fill.amount) for fill in seen.fills] == [("b", "2"), ("c", "2"), ("a", "1")]


def test_two_orders_at_one_price_share_what_is_behind_the_queue():
    seen = Seen()
    for name in "ab":
        seen.place(wanted(name, amount="1", price="99"))
    for amount in ("3.5", "1"):
        seen.hear(trade("99", amount))
    assert [(fill.intent_id, fill.amount) for fill in seen.fills] == [("a", "0.5"), ("a", "0.5"), ("b", "0.5")]


@pytest.mark.parametrize("more", [{"at_ns": 9}, {"backfilled": True, "exchange_ns": 9}, {"backfilled": True}])
def test_trades_from_before_an_order_do_not_fill_it(more):
    assert Seen().place(wanted(amount="1", price="99.5")).hear(trade("90", "9", **more)).filled == []


def test_post_only_is_refused_if_it_would_take_and_rests_otherwise():
    crosses, rests = (Seen().place(wanted(price=price, tif="post_only")) for price in ("101", "100.99"))
    assert (crosses.said, rests.said) == ([("rejected", "0")], [("new", "0"), ("open", "0")])


def test_immediate_or_cancel_leaves_nothing():
    seen = Seen().place(wanted(amount="3", price="101", tif="ioc"))
    assert (seen.said, seen.desk) == ([("new", "0"), ("partially_filled", "2"), ("canceled", "2")], Desk())


def test_a_cancel_ends_an_order_of_the_same_account_and_of_no_other():
    seen = (
        Seen().place(wanted("a", price="99")).place(cancel("a", account="other")).place(cancel("a")).place(cancel("a"))
    )
    assert [(order.intent_id, order.status) for order in seen.orders] == [
        ("a", "new"),
        ("a", "open"),
        ("xa", "rejected"),
        ("a", "canceled"),
        ("xa", "rejected"),
    ]


def test_what_comes_too_late_expires():
    assert Seen().place(wanted(now_ns=101)).said == [("expired", "0")]


@pytest.mark.parametrize(
    ("ticket", "reason"),
    [
        (wanted(amount="0.00"), "the amount is not above 0"),
        (wanted(price="0.0"), "a limit order without a price above 0"),
        (wanted(order_type="limit"), "a limit order without a price above 0"),
        (wanted(tif="post_only"), "post_only, but a market order takes"),
    ],
)
def test_nonsense_is_refused_with_its_reason(ticket, reason):
    assert [order.reason for order in Seen().place(ticket).orders] == [reason]


def test_without_a_live_book_nothing_is_placed():
    assert [order.reason for order in Seen().place(wanted(), live=False).orders] == ["no live book"]


def test_an_intent_whose_order_works_already_changes_nothing():
    seen = Seen().place(wanted(price="99"))
    before = seen.desk, list(seen.events)
    assert (seen.place(wanted(price="99")).desk, seen.events) == before


def test_makers_and_takers_pay_what_the_table_says():
    seen = Seen(fees(["binance:-0.0001:0.0004"])).place(wanted(amount="3", price="101")).hear(trade("100", "9"))
    assert [fill.fees for fill in seen.fills] == [(("USDT", "0.0808"),), (("USDT", "-0.0101"),)]


@pytest.mark.parametrize("text", ["binance", "binance:1:0", "binance:nan:0", "binance:x:0", "a:0:0:0"])
def test_fees_that_are_none_are_refused(text):
    with pytest.raises(BadFees):
        fees([text])


def test_the_table_has_the_fees_of_every_exchange():
    assert set(TABLE) == {"binance", "bybit", "coinbase", "kraken", "okx"}


SIDES = some.sampled_from(["buy", "sell"])
AMOUNTS = some.integers(1, 12).map(lambda n: f"{n / 2}")
PRICES = some.integers(96, 104).map(str)
PLACED = some.tuples(
    some.just("place"), SIDES, AMOUNTS, some.none() | PRICES, some.sampled_from([None, "gtc", "ioc", "post_only"])
)
CANCELED = some.tuples(some.just("cancel"), some.integers(0, 12))
TRADED = some.tuples(some.just("trade"), PRICES, AMOUNTS, SIDES)
HISTORIES = some.lists(PLACED | CANCELED | TRADED, max_size=25)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(HISTORIES)
def test_whatever_happens_orders_keep_to_the_diagram_and_fills_to_what_there_is(history):
    seen, names = Seen(), 0
    for what, *how in history:
        before = len(seen.fills)
        if what == "place":
            seen.place(wanted(str(names), *how))
            names += 1
        elif what == "cancel":
            seen.place(cancel(str(*how)))
        else:
            seen.hear(trade(*how))
            assert sum(Decimal(fill.amount) for fill in seen.fills[before:]) <= Decimal(how[1])
    assert working(seen) == {each.order for each in seen.desk.working}
    assert len({event.s for event in seen.events if isinstance(event.body, Fill)}) == len(seen.fills)


def working(seen):
    """The orders that are not over, once all that was said is found to keep the rules."""
    newest, had = {}, defaultdict(Decimal)
    for event in seen.events:
        body = event.body
        if isinstance(body, Fill):
            order = newest[body.order_id]
            had[body.order_id] += Decimal(body.amount)
            assert (body.side, body.account) == (order.side, order.account)
            assert (
                order.price is None
                or (Decimal(body.price) - Decimal(order.price)) * (1 if body.side == "buy" else -1) <= 0
            )
        else:
            before = newest.get(body.order_id)
            # A cancel that finds nothing is answered as often as it is asked.
            assert body.status in NEXT[before.status if before else ""] or body.intent_id.startswith("x")
            assert had[body.order_id] == Decimal(body.filled) <= Decimal(body.amount)
            newest[body.order_id] = body
    for order in newest.values():
        assert had[order.order_id] == Decimal(order.filled)
        assert (order.status == "filled") == (0 < Decimal(order.amount) == Decimal(order.filled))
    return {order for order in newest.values() if order.status not in TERMINAL}


def test_the_check_finds_a_fill_too_many_and_a_state_too_late():
    seen = Seen().place(wanted())
    for event in (seen.events[1], seen.events[2]):
        seen.events.append(event)
        with pytest.raises(AssertionError):
            working(seen)
        seen.events.pop()


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    some.sampled_from([("buy", "99", "3"), ("buy", "98", "5"), ("buy", "97", "0"), ("sell", "102", "4")]),
    AMOUNTS,
    some.lists(some.tuples(PRICES, AMOUNTS, SIDES), max_size=20),
)
def test_a_resting_order_is_filled_as_a_queue_would_be(order, amount, trades):
    side, price, ahead = order
    left, ahead = Decimal(amount), Decimal(ahead)
    seen = Seen().place(wanted(side=side, amount=amount, price=price))
    for at, size, taker in trades:
        seen.hear(trade(at, size, taker))
        size = Decimal(size)
        if int(at) < int(price) if side == "buy" else int(at) > int(price):
            left, ahead = max(Decimal(0), left - size), Decimal(0)
        elif at == price and taker != side:
            # One line of people: those ahead are served first.
            served = min(ahead, size)
            ahead, left = ahead - served, max(Decimal(0), left - (size - served))
    assert Decimal(amount) - sum(Decimal(fill.amount) for fill in seen.fills) == left
