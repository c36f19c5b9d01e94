"""Ids that nobody promises to be counted, and that seem to be: a step of more than one says that something is missing.

It may not be: where the exchange's list shows, again and again, that there is nothing in between, steps say nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ingest.contract.events import Trade

_MOST = 1_000
"""Steps that are looked into at once."""
_FALSE = 3
"""After so many in a row between which there is nothing, ids are not counted."""


class Told(NamedTuple):
    """A trade, its id, and the exchange's time of it."""

    id: str
    ms: int
    trade: Trade


class Found(NamedTuple):
    """What a list of the exchange says of all steps: what is of their time, and how much of it it does not reach."""

    rows: Sequence[Told]
    unknown_ms: tuple[int, int] | None


class Steps:
    """One symbol's, on one connection."""

    def __init__(self) -> None:
        self._newest: Told | None = None
        self._doubts: list[tuple[Told, Told]] = []
        self._false = 0

    @property
    def open(self) -> bool:
        """Whether something may be missing."""
        return bool(self._doubts)

    @property
    def span_ms(self) -> tuple[int, int]:
        """From the first to the last trade between which something may be missing."""
        return min(before.ms for before, _ in self._doubts), max(behind.ms for _, behind in self._doubts)

    def follow(self, told: Told) -> None:
        """The next trade, in the order of time."""
        before, self._newest = self._newest, told
        if before is None or self._false >= _FALSE or not (before.id.isdecimal() and told.id.isdecimal()):
            return
        if int(told.id) - int(before.id) > 1 and len(self._doubts) < _MOST:
            self._doubts.append((before, told))

    def look(self, page: Sequence[Told], *, whole: bool) -> Found | None:
        """The newest trades, oldest first, `whole` if there are no others. None if they end before the last step."""
        first_ms, last_ms = self.span_ms
        places = {row.id: i for i, row in enumerate(page)}
        if not page or (page[-1].ms <= last_ms and self._doubts[-1][1].id not in places):
            return None
        for before, behind in self._doubts:
            if before.id in places and behind.id in places:
                adjacent = places[behind.id] == places[before.id] + 1
                self._false = self._false + 1 if adjacent else 0
        rows = [row for row in page if first_ms <= row.ms <= last_ms]
        reaches = whole or page[0].ms < first_ms
        self._doubts.clear()
        return Found(rows, None if reaches else (first_ms, min(page[0].ms, last_ms)))

    def forget(self) -> tuple[int, int]:
        """Nobody can tell: all of `span_ms` remains unknown."""
        span_ms = self.span_ms
        self._doubts.clear()
        return span_ms
