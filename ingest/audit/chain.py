"""Whether the ids of a stream follow one another: what is missing between two of them must be said, exactly."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from ingest.audit.registry import Range, lost_range
from ingest.audit.report import Finding
from ingest.contract.codec import Entry
from ingest.contract.events import Candle, Delta, Gap, Snapshot, Trade
from ingest.contract.keys import StreamKey

Covers = Callable[[Entry], Range | None]
"""The first and the last id that an entry answers for; None for what has no place in the chain."""

_MS = 1_000_000
_INTERVAL = re.compile(r"([1-9][0-9]{0,3})([smhdwM])\Z")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def chain_of(key: StreamKey, *, opaque: bool = False) -> "Dense | Book | None":
    """The chain that a stream's entries should form; None where exchanges do not number what is in it.

    `opaque` are trades whose ids have no order.
    """
    if key.channel == "trades":
        return None if opaque else Dense(_ids_of_trade)
    if key.channel == "orderbook":
        return Book()
    if key.interval and (interval := _INTERVAL.match(key.interval)):
        return Dense(partial(_ms_of_candle, int(interval[1]), interval[2]))
    return None


class Dense:
    """Ids without a hole: trades by id, closed candles by the milliseconds of their intervals."""

    def __init__(self, covers: Covers) -> None:
        self.covers = covers
        self.oldest: int | None = None
        self.newest: int | None = None

    def begin_anew(self) -> None:
        """The exchange counts from another beginning."""
        self.oldest = self.newest = None

    def read(self, entry: Entry) -> Finding | None:
        """The next entry, and what is wrong with its place. That an entry is not newer is the account's to say."""
        covered = None if entry.late else self.covers(entry)
        if covered is None:
            return None
        first, last = covered
        newest = self.newest
        if newest is None:
            self.oldest, self.newest = covered
            return None
        self.newest = max(newest, last)
        if isinstance(entry.event, Gap):
            return _misplaced_gap(covered, newest)
        if first > newest + 1:
            return _hole(newest + 1, first - 1)
        if first <= newest < last:
            return Finding("duplicates", newest - first + 1, f"{first}-{newest} come twice, in {entry.type} {entry.s}")
        return None


class Book:
    """Update ids, which ascend, with a gap and a snapshot wherever something is missing between two of them.

    A delta does not carry its first id, so the entries alone do not show that it joins the one before it. It is proven
    all the same: the script takes no delta that does not join, and that nobody else has written to the stream, or
    taken anything out of it, shows in `n`, which is dense and ends where the script's state stands.

    Where a writer counts for want of ids, as `SESSION.COUNTER`, the counter is dense, and each session begins with a
    whole book. That says nothing of what the exchange has said between two sessions: such a book has no `newest`.
    """

    def __init__(self) -> None:
        self.oldest: int | None = None
        self.newest: int | None = None
        self._whole = True
        self._session = ("", 0)

    def covers(self, _entry: Entry) -> None:
        """Nothing of a book comes late."""

    def begin_anew(self) -> None:
        """The exchange counts from another beginning."""
        self.oldest = self.newest = None

    def read(self, entry: Entry) -> Finding | None:
        """The next entry, and what is wrong with its place. That an entry is not newer is the account's to say."""
        by_id = isinstance(entry.event, Gap) and entry.event.first_id
        if by_id and (lost := lost_range(entry)):
            newest = self.newest
            self._advance(*lost)
            self._whole = False
            return None if newest is None else _misplaced_gap(lost, newest)
        if not isinstance(entry.event, Snapshot | Delta):
            return None
        if not entry.s.isdecimal():
            return self._read_session(entry, entry.event)
        return self._read_id(int(entry.s), entry.event)

    def _read_id(self, number: int, event: Snapshot | Delta) -> Finding | None:
        newest = self.newest
        self._advance(number, number)
        if isinstance(event, Snapshot):
            self._whole = True
            return _hole(newest + 1, number) if newest is not None and number > newest else None
        if not self._whole:
            return Finding("holes", 1, f"delta {number} stands behind a gap, without a snapshot between them")
        return None

    def _read_session(self, entry: Entry, event: Snapshot | Delta) -> Finding | None:
        session, _, digits = entry.s.rpartition(".")
        counter = int(digits) if digits.isdecimal() else 0
        (known, newest), self._session = self._session, (session, counter)
        if session != known:
            begins = not known or (isinstance(event, Snapshot) and counter == 1)
            return None if begins else Finding("holes", 1, f"session {session} begins with {entry.type} {counter}")
        if counter > newest + 1:
            return _hole(newest + 1, counter - 1)
        if counter < newest:
            self._session = session, newest
            return Finding("disorder", 1, f"{entry.type} {entry.s} stands behind {newest} of its session")
        return None

    def _advance(self, first: int, last: int) -> None:
        self.oldest = first if self.oldest is None else self.oldest
        self.newest = last if self.newest is None else max(self.newest, last)


def _hole(first: int, last: int) -> Finding:
    return Finding("holes", last - first + 1, f"{first}-{last} are neither in the stream nor in a gap")


def _misplaced_gap(lost: Range, newest: int) -> Finding | None:
    first, last = lost
    if first > newest + 1:
        return _hole(newest + 1, first - 1)
    return Finding("unfounded", 1, f"a gap {first}-{last} stands behind {newest}") if first <= newest else None


def _ids_of_trade(entry: Entry) -> Range | None:
    event = entry.event
    if isinstance(event, Trade) and entry.s.isdecimal():
        return int(entry.s) - (event.count or 1) + 1, int(entry.s)
    return lost_range(entry) if isinstance(event, Gap) and event.first_id else None


def _ms_of_candle(count: int, unit: str, entry: Entry) -> Range | None:
    event = entry.event
    if isinstance(event, Candle):
        open_ms = event.open_ns // _MS
        return (open_ms, _end_ms(open_ms, count, unit) - 1) if event.closed else None
    return lost_range(entry)


def _end_ms(open_ms: int, count: int, unit: str) -> int:
    """Where the next interval begins. Months are as long as they are."""
    if unit != "M":
        return open_ms + count * _UNIT_MS[unit]
    begun = datetime.fromtimestamp(open_ms / 1000, UTC)
    years, month = divmod(begun.month - 1 + count, 12)
    return round(datetime(begun.year + years, month + 1, 1, tzinfo=UTC).timestamp() * 1000)
