"""A book as far down as somebody subscribed to it: what is told of a change, and the checksum of the book then."""

from collections.abc import Iterable
from itertools import chain, islice
from typing import Final, NamedTuple
from zlib import crc32

from ingest.simulator.book import Book, Side
from ingest.simulator.kraken.frames import Listed

CHECKED_LEVELS: Final = 10
Levels = dict[int, int]
"""Price in ticks → amount in lots, best first."""


class Changed(NamedTuple):
    """The levels of each side that are to be told; amount 0 removes."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Depth:
    """One symbol's book, cut at `levels` a side, as all who subscribed to that depth have it."""

    def __init__(self, listed: Listed, levels: int) -> None:
        self.listed = listed
        self.levels = levels
        self.bids: Levels = {}
        self.asks: Levels = {}
        self.updates = 0
        """How many were told."""
        self.follow()

    def follow(self) -> Changed:
        """Catch up with the book. Of a level that only fell out of range nothing is told: clients cut, too."""
        book = self.listed.pair.book
        before, self.bids, self.asks = (self.bids, self.asks), *self._cut(book)
        return Changed(_changes(before[0], self.bids, book.bids), _changes(before[1], self.asks, book.asks))

    def checksum(self) -> int:
        """As it comes with what is told."""
        asks, bids = islice(self.asks.items(), CHECKED_LEVELS), islice(self.bids.items(), CHECKED_LEVELS)
        price, amount = self.listed.price, self.listed.amount
        return checksum((price(ticks), amount(lots)) for ticks, lots in chain(asks, bids))

    def _cut(self, book: Book) -> tuple[Levels, Levels]:
        return dict(book.bids.levels(self.levels)), dict(book.asks.levels(self.levels))


def checksum(levels: Iterable[tuple[str, str]]) -> int:
    """Of the ten best asks and then the ten best bids, best first: their digits in one text, and its CRC32.

    https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
    """
    return crc32("".join(_digits(price) + _digits(amount) for price, amount in levels).encode())


def _changes(before: Levels, now: Levels, side: Side) -> list[tuple[int, int]]:
    gone = [(price, 0) for price in before if price not in now and price not in side.amounts]
    return gone + [(price, lots) for price, lots in now.items() if before.get(price) != lots]


def _digits(number: str) -> str:
    return number.replace(".", "").lstrip("0")
