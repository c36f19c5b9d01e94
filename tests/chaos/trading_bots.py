"""Strategies that trade a lot, and for no reason: all kinds of orders, some of which must be refused."""

from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct

from consumers.book import Book
from consumers.services.strategy import Alarm, Wish
from ingest.contract.events import Ticker, Trade
from ingest.contract.keys import StreamKey

UNITS = {"BTC": Decimal("0.01"), "ETH": Decimal("0.2")}
"""What is traded at a time, of each base currency: about 600 of the quote currency."""
_SIZES = ("0.5", "0.7", "1", "1", "1", "1.5", "2", "2.2", "0.0001")
"""Of units. The largest ones are more than an order may have, and the last one is off the lot."""
_DISTANCES = ("-0.02", "-0.001", "-0.0002", "0", "0.0002", "0.001", "0.02")
"""Of limits from the price; the first and the last are outside of the price band."""


class Restless(Struct):
    """Hears trades, and wishes something upon one of three."""

    dice: int = 1

    def on_trade(self, key: StreamKey, trade: Trade) -> Iterator[Wish]:
        if not self._roll(3):
            yield self._wish(key, trade)

    def _wish(self, key: StreamKey, trade: Trade) -> Wish:
        side, size = ("buy", "sell")[self._roll(2)], Decimal(_SIZES[self._roll(len(_SIZES))])
        amount = UNITS[key.symbol.partition("/")[0]] * size
        if not self._roll(3):
            return Wish(side=side, amount=amount)
        price = Decimal(trade.price)
        limit = price * (1 + Decimal(_DISTANCES[self._roll(len(_DISTANCES))]))
        return Wish(
            side=side,
            amount=amount,
            order_type="limit",
            price=limit.quantize(Decimal("0.1")),
            time_in_force=(None, "ioc", "post_only", "gtc")[self._roll(4)],
        )

    def _roll(self, sides: int) -> int:
        # Not of what was heard: the same price may come many times.
        self.dice = (self.dice * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self.dice >> 33) % sides


class Leaning(Struct):
    """Hears books and tickers: joins the best price now and then, and goes the other way a moment later."""

    changes: int = 0
    fell: bool = False
    last: Decimal = Decimal(0)
    sides: list[str] = []

    def on_ticker(self, _key: StreamKey, ticker: Ticker) -> None:
        price = Decimal(ticker.last or 0)
        self.fell, self.last = price < self.last, price

    def on_book(self, key: StreamKey, book: Book) -> Iterator[Wish | Alarm]:
        self.changes += 1
        best = book.best_ask if self.fell else book.best_bid
        if self.changes % 15 or best is None:
            return
        side = "sell" if self.fell else "buy"
        yield Wish(side=side, amount=_unit(key), order_type="limit", price=best.price, time_in_force="gtc")
        yield Alarm(after_ms=400, name=side)

    def on_alarm(self, key: StreamKey, alarm: Alarm) -> Iterator[Wish]:
        yield Wish(side="buy" if alarm.name == "sell" else "sell", amount=_unit(key))


def _unit(key: StreamKey) -> Decimal:
    return UNITS[key.symbol.partition("/")[0]]
