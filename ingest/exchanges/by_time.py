"""Trades by id where REST knows them by time only: a search that ends at the page which has the id."""

from collections.abc import Sequence
from typing import NamedTuple

_MARGIN_NS = 10_000_000
"""An id is looked for a little before its neighbour's time, which others may have, too, or which was rounded."""
_NEAR = 500
_MOST_TRIES = 30
_KEPT = 100


class Timed(NamedTuple):
    """A trade's id and its time."""

    id: int
    ns: int


class TradePages:
    """Of one symbol: which ids are known to be of which time, and where that makes us look."""

    def __init__(self, most: int) -> None:
        """A page that is asked for without a time has the newest `most` trades, or all that there are."""
        self._most = most
        self._known: list[Timed] = []
        self._below: Timed | None = None
        """What the last question began right behind, if it did not guess."""
        self._from_first = False
        """Whether it was for the first trades of all."""
        self._newest = False
        """Whether it was for the newest page."""
        self._short = False
        """Whether that had fewer than it could."""
        self._tries = 0

    def since(self, first: int) -> int | None:
        """The time from which on to ask for a page that should have `first`; None for the newest page."""
        below = max((point for point in self._known if point.id < first), default=None)
        above = min((point for point in self._known if point.id >= first), default=None)
        self._below = None
        self._from_first, self._newest = False, below is None and above is None
        if below is not None:
            if above is None or first - below.id <= _NEAR or self._tries > _MOST_TRIES // 2:
                self._below = below
                return below.ns - _MARGIN_NS
            share = (first - below.id - _NEAR // 2) / (above.id - below.id)
            return below.ns + int(share * (above.ns - below.ns)) - _MARGIN_NS
        if above is None:
            return None
        since_ns = 0 if self._short else max(0, above.ns - self._way_back_ns(above, first) - _MARGIN_NS)
        self._from_first = since_ns == 0
        return since_ns

    def found(self, page: Sequence[Timed], first: int) -> bool:
        """Whether this page, oldest first, is the answer: it has `first`, or shows that there is none to be had."""
        self._tries += 1
        if page:
            stuck = self._below is not None and page[-1].id <= self._below.id
            # Ids that are higher and older are of a series that has ended.
            now = [point for point in self._known if point.id <= page[-1].id or point.ns >= page[-1].ns]
            self._known = sorted({*now, page[0], page[-1]})[-_KEPT:]
        else:
            stuck = True
        has = bool(page) and page[0].id <= first <= page[-1].id
        jumps = self._below is not None and bool(page) and page[0].id > first
        passes = self._below is not None and bool(page) and any(row.id >= first for row in page)
        self._short = self._newest and len(page) < self._most
        none_older = self._from_first and bool(page) and page[0].id > first
        if has or stuck or jumps or passes or none_older or self._tries >= _MOST_TRIES:
            self._tries = 0
            return True
        return False

    def _way_back_ns(self, above: Timed, first: int) -> int:
        """As many trades as are missing took so long of late; ever further back, and soon to the first of all.

        Few questions may be asked, and an exchange that has just begun to count anew has none that are older.
        """
        newest = self._known[-1]
        each_ns = (newest.ns - above.ns) / (newest.id - above.id) if newest.id > above.id else 1e9
        return int((above.id - first + 1) * each_ns * 1.5 * 2.0 ** min(self._tries**2, 60)) + 1_000_000_000
