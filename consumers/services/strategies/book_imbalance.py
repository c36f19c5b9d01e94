"""A strategy on order books, with a timer: it leans to the side on which more is on offer, and not for long."""

from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct

from consumers.book import Book
from consumers.services.strategy import Alarm, Wish, worth
from ingest.contract.events import Fill
from ingest.contract.keys import StreamKey


class BookImbalance(Struct):
    """Buys where the best bids are by far larger than the best asks, and sells what it got `hold_ms` later.

    What is on offer at the best prices says where the next trades push: with three times as much to buy as to sell, the
    price is more likely to rise. That is over in seconds, so it goes out by time; and it has one position at most.
    """

    depth: int = 5
    """Levels of each side that count."""
    times: Decimal = Decimal(3)
    hold_ms: int = 5_000
    value: Decimal = Decimal(1_000)
    """What to buy for, in the quote currency."""
    busy: bool = False
    held: Decimal = Decimal(0)

    def on_book(self, key: StreamKey, book: Book) -> Iterator[Wish | Alarm]:
        """Called with the whole book after each change of it, while nothing of it is missing."""
        bids, asks = book.bids(self.depth), book.asks(self.depth)
        offered, wanted = sum(level.amount for level in asks), sum(level.amount for level in bids)
        if self.busy or not offered or wanted < self.times * offered:
            return
        self.busy = True
        # At the best price or not at all: what the next one costs is what it hopes to earn.
        best = asks[0].price
        amount = worth(self.value, best) - self.held
        if amount > 0:
            yield Wish(side="buy", amount=amount, order_type="limit", price=best, time_in_force="ioc")
        yield Alarm(after_ms=self.hold_ms, name="out")

    def on_fill(self, key: StreamKey, fill: Fill) -> None:
        """Called with each fill of its orders: only what was really bought is sold."""
        self.held += Decimal(fill.amount) if fill.side == "buy" else -Decimal(fill.amount)

    def on_alarm(self, key: StreamKey, alarm: Alarm) -> Iterator[Wish | Alarm]:
        """Called once that time has passed in what it hears: on history, this is as soon as the history is there."""
        if alarm.name == "out" and self.held > 0:
            yield Wish(side="sell", amount=self.held)
            # An intent is good for 5 s, so by then the order is over. What is still held, as it was refused for being
            # worth too little, is sold the next time.
            yield Alarm(after_ms=2 * self.hold_ms, name="over")
        else:
            self.busy = False
