"""A book whose updates each name the one before, and whose subscription begins with the whole of it."""

from collections.abc import Sequence

from msgspec import structs

from ingest.contract.events import Delta, Event
from ingest.exchanges.book import Level
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.ranged import RangedBook

WHOLE_WITHIN_NS = 5_000_000_000
"""So long the whole book may take to come by itself; then REST is asked for it."""


class ChainedBook(RangedBook):
    """One symbol: a RangedBook, as an update covers the ids from the one behind that which it names up to its own.

    The exchange may count from a lower id on, and says so by naming a higher one before it.
    """

    kept = structs.replace(RangedBook.kept, noticed="each update names the one before")

    def open(self, now_ns: int) -> list[Event]:
        """The subscription stands, and the whole book comes by itself; it may be there already."""
        if self.live:
            return []
        events = super().open(now_ns)
        self._fetch_at = now_ns + WHOLE_WITHIN_NS
        return events

    def whole(self, last_id: int, bids: Sequence[Level], asks: Sequence[Level], now_ns: int) -> list[Event]:
        """All of it, best first, as a subscription begins with it."""
        events: list[Event] = []
        if self.live and self.last is not None and last_id > self.last:
            events = self.resync("the whole book came anew", now_ns)
        return [*events, *self.snapshot(last_id, bids, asks, NEVER, now_ns)]

    def update(self, previous_id: int, last_id: int, delta: Delta, now_ns: int) -> Sequence[Event]:
        """What has changed since the update `previous_id`."""
        if last_id < previous_id == self._newest:
            return self._restarts(last_id, delta, now_ns)
        return self.delta(previous_id + 1, last_id, delta, now_ns)
