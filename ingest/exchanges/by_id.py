"""Trades from an id on, where REST tells only of those before one: a page that ends in time, or a way back."""

from collections.abc import Sequence
from typing import NamedTuple

from ingest.contract.events import Trade

_MOST_PAGES = 250


class Ask(NamedTuple):
    """For a page of the trades before this id; of the newest, if that is None."""

    before: int | None


class PagesBack:
    """Of one symbol: what is asked for, and what of it has come."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many trades a page has, if there are as many."""
        self._limit = limit
        self._first: int | None = None
        self._pages = 0
        self._found: dict[int, Trade] = {}

    def ask(self, first: int | None) -> Ask:
        """Begin to look for the trades from `first` on; for the newest, if that is None."""
        self._first, self._pages, self._found = first, 0, {}
        return Ask(None if first is None else first + self._limit)

    def came(self, rows: Sequence[tuple[int, Trade]]) -> Ask | list[tuple[int, Trade]]:
        """A page: what to ask for next, or what was looked for, oldest first."""
        self._pages += 1
        first = self._first
        if first is None:
            return sorted(rows)
        self._found.update((trade_id, trade) for trade_id, trade in rows if trade_id >= first)
        if self._pages == 1:
            # Where there is nothing, there may be something later, in a series that began late or has a hole.
            return self._all() if self._found else Ask(None)
        oldest = min((trade_id for trade_id, _ in rows), default=0)
        if oldest <= first or len(rows) < self._limit or self._pages >= _MOST_PAGES:
            return self._all()
        return Ask(oldest)

    def _all(self) -> list[tuple[int, Trade]]:
        return [(trade_id, self._found[trade_id]) for trade_id in sorted(self._found)]
