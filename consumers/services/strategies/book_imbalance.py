"""A strategy on order books, with a timer: it leans to the side on which more is on offer, and not for long."""

from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct

from consumers.book import Book
from consumers.services.strategy import Alarm, Wish
from ingest.contract.keys import StreamKey


class BookImbalance(Struct):
    """Buys where the best bids are by far larger than the best asks, and sells the same amount `hold_ms` later.

    What is on offer at the best prices says where the next trades push: with three times as much to buy as to sell, the
    price is more likely to rise. That is over in seconds, so it goes out by time; and it has one position at most.
    """

    depth: int = 5
    """Levels of each side that count."""
    times: Decimal = Decimal(3)
    hold_ms: int = 5_000
    amount: Decimal = Decimal("0.01")
    holds: bool = False

    def on_book(self, key: StreamKey, book: Book) -> Iterator[Wish | Alarm]:
        """Called with the whole book after each change of it, while nothing of it is missing."""
        bids, asks = book.bids(self.depth), book.asks(self.depth)
        offered, wanted = sum(level.amount for level in asks), sum(level.amount for level in bids)
        if self.holds or not offered or wanted < self.times * offered:
            return
        self.holds = True
        yield Wish(side="buy", amount=self.amount)
        yield Alarm(after_ms=self.hold_ms, name="out")

    def on_alarm(self, key: StreamKey, alarm: Alarm) -> Iterator[Wish]:
        """Called once that time has passed in what it hears: on history, this is as soon as the history is there."""
        self.holds = False
        yield Wish(side="sell", amount=self.amount)
