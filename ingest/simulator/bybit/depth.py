"""A book as deep as somebody subscribed to it: what is told of a change, under ids that only this depth has."""

from typing import Final, NamedTuple

from ingest.simulator.bybit.frames import Listed, Sides
from ingest.simulator.texts import MS

EVERY_NS: Final = {1: 10 * MS, 50: 20 * MS, 200: 100 * MS, 1000: 200 * MS}
"""How often each depth is told."""


class Told(NamedTuple):
    """A frame's worth of a book."""

    u: int
    sides: Sides


class Depth:
    """One symbol's book, cut at `levels` a side, as all who subscribed to that depth have it."""

    def __init__(self, listed: Listed, levels: int, base: int) -> None:
        """Its ids go on behind those of any that there was before, if `base` is the same."""
        self.listed = listed
        self.levels = levels
        self.u = listed.pair.book.update_id - base
        self._bids, self._asks = self._cut()

    @property
    def whole(self) -> Told:
        """All of it, as of the last change that was told."""
        return Told(self.u, (self.listed.levels(self._bids.items()), self.listed.levels(self._asks.items())))

    def follow(self) -> Told | None:
        """Catch up with the book, if it has changed. A level that falls out of the depth is told as removed."""
        before, (self._bids, self._asks) = (self._bids, self._asks), self._cut()
        bids, asks = _changes(before[0], self._bids), _changes(before[1], self._asks)
        if not (bids or asks):
            return None
        self.u += 1
        return Told(self.u, (self.listed.levels(bids), self.listed.levels(asks)))

    def begin_anew(self) -> Told:
        """The service has started again: the whole book is number 1."""
        self.u = 1
        self._bids, self._asks = self._cut()
        return self.whole

    def _cut(self) -> tuple[dict[int, int], dict[int, int]]:
        book = self.listed.pair.book
        return dict(book.bids.levels(self.levels)), dict(book.asks.levels(self.levels))


def _changes(before: dict[int, int], now: dict[int, int]) -> list[tuple[int, int]]:
    gone = [(price, 0) for price in before if price not in now]
    return gone + [(price, lots) for price, lots in now.items() if before.get(price) != lots]
