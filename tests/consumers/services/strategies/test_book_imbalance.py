"""The example on books: it leans to the side on which more is on offer, once at a time, and not for long."""

from decimal import Decimal

from consumers.book import Book
from consumers.services.strategies.book_imbalance import BookImbalance
from consumers.services.strategy import Alarm, Wish
from ingest.contract.events import Snapshot
from ingest.contract.keys import StreamKey

KEY = StreamKey("binance", "orderbook", "BTC/USDT")
IN, OUT = (Wish(side=side, amount=Decimal("0.01")) for side in ("buy", "sell"))


def book(bid_amount, ask_amount):
    whole = Book()
    whole.apply(Snapshot(bids=(("99", bid_amount),), asks=(("101", ask_amount),), received_ns=1))
    return whole


def test_it_buys_where_far_more_is_to_be_bought_and_sells_when_its_time_is_over():
    strategy, out = BookImbalance(), Alarm(after_ms=5_000, name="out")
    shown = [list(strategy.on_book(KEY, book(*amounts))) for amounts in (("2", "1"), ("3", "1"), ("9", "1"))]
    assert [*shown, list(strategy.on_alarm(KEY, out))] == [[], [IN, out], [], [OUT]]
    assert list(strategy.on_book(KEY, book("3", "1"))) == [IN, out]
