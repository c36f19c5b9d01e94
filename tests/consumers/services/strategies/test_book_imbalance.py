"""The example on books: it leans to the side on which more is on offer, once at a time, and not for long."""

from decimal import Decimal

from msgspec.structs import replace

from consumers.book import Book
from consumers.services.strategies.book_imbalance import BookImbalance
from consumers.services.strategy import Alarm, Wish
from ingest.contract.events import Snapshot
from ingest.contract.keys import StreamKey
from tests.consumers.services import scene

KEY = StreamKey("binance", "orderbook", "BTC/USDT")
BUY = Wish(side="buy", amount=Decimal("9.9"), order_type="limit", price=Decimal(101), time_in_force="ioc")
OUT, OVER = Alarm(after_ms=5_000, name="out"), Alarm(after_ms=10_000, name="over")


def book(bid_amount, ask_amount):
    whole = Book()
    whole.apply(Snapshot(bids=(("99", bid_amount),), asks=(("101", ask_amount),), received_ns=1))
    return whole


def filled(strategy, side, amount):
    strategy.on_fill(KEY, scene.fill("f", side, amount, "101").body)


def shown(strategy, *amounts):
    return list(strategy.on_book(KEY, book(*amounts)))


def test_it_buys_where_far_more_is_to_be_bought_and_sells_what_it_got_when_its_time_is_over():
    strategy = BookImbalance()
    said = [shown(strategy, *amounts) for amounts in (("2", "1"), ("3", "1"), ("9", "1"))]
    filled(strategy, "buy", "9.9")
    said.append(list(strategy.on_alarm(KEY, OUT)))
    filled(strategy, "sell", "9.9")
    said.append(list(strategy.on_alarm(KEY, OVER)))
    said.append(shown(strategy, "3", "1"))
    assert said == [[], [BUY, OUT], [], [Wish(side="sell", amount=Decimal("9.9")), OVER], [], [BUY, OUT]]


def test_what_it_did_not_get_it_does_not_sell():
    strategy = BookImbalance()
    assert [shown(strategy, "3", "1"), list(strategy.on_alarm(KEY, OUT))] == [[BUY, OUT], []]
    assert shown(strategy, "3", "1") == [BUY, OUT]


def test_what_it_could_not_sell_it_sells_the_next_time_and_buys_so_much_less():
    strategy = BookImbalance()
    assert shown(strategy, "3", "1") == [BUY, OUT]
    filled(strategy, "buy", "2")
    assert list(strategy.on_alarm(KEY, OUT)) == [Wish(side="sell", amount=Decimal(2)), OVER]
    filled(strategy, "sell", "0.5")
    assert [shown(strategy, "3", "1"), list(strategy.on_alarm(KEY, OVER))] == [[], []]
    assert shown(strategy, "3", "1") == [replace(BUY, amount=Decimal("8.4")), OUT]
    assert list(strategy.on_alarm(KEY, OUT)) == [Wish(side="sell", amount=Decimal("1.5")), OVER]
