"""A book whose deltas cover ranges of update ids, joined to a snapshot by REST; said only while it is in sync."""

from collections.abc import Sequence

from ingest.contract.events import Delta, Event, Gap, Snapshot
from ingest.contract.keys import StreamKey
from ingest.exchanges.book import Book, Level
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.session import Session

BUFFERED_DELTAS = 5_000
"""Deltas that wait for a snapshot; beyond, the oldest go, and a snapshot that needs them is fetched again."""
SNAPSHOT_EVERY_NS = 10_000_000_000
_FIRST_RETRY_NS = 1_000_000_000
_LONGEST_RETRY_NS = 30_000_000_000


class RangedBook:
    """One symbol: syncing → live, and back to syncing when the chain of ids breaks."""

    def __init__(self, key: StreamKey, session: Session, position: str | None) -> None:
        """`position` is the id at which the stream stands."""
        self.key = key
        self.last = None if position is None else int(position)
        self._session = session
        self._book: Book | None = None
        self._waiting: list[tuple[int, int, Delta]] = []
        self._why = "start"
        self._fetch_at = NEVER
        self._retry_ns = _FIRST_RETRY_NS
        self._changes = 0
        self._snapshot_ns = 0

    @property
    def live(self) -> bool:
        """Whether the book is in sync, so that deltas are said as they come."""
        return self._book is not None

    def open(self, now_ns: int) -> list[Event]:
        """The subscription stands: a snapshot is wanted at once, even if a quiet symbol sends no delta for minutes."""
        self._fetch_at = now_ns
        return [self._session.status(self.key, "syncing", self._why)]

    def due(self) -> int:
        """When a snapshot is to be fetched."""
        return self._fetch_at

    def fetching(self) -> None:
        """The fetch is under way; its answer comes as `snapshot` or `failed`."""
        self._fetch_at = NEVER

    def delta(self, first: int, last: int, delta: Delta, now_ns: int) -> Sequence[Event]:
        """The changes `first`…`last`."""
        if self._book is None:
            self._wait(first, last, delta)
            return ()
        assert self.last is not None
        if last <= self.last:
            return ()
        if first > self.last + 1:
            events = self.resync(f"ids {self.last + 1} to {first - 1} never came", now_ns)
            self._wait(first, last, delta)
            return events
        event = self._say(first, last, delta)
        if self._changes > len(self._book) and now_ns - self._snapshot_ns >= SNAPSHOT_EVERY_NS:
            return event, self._whole(now_ns)
        return (event,)

    def snapshot(
        self, last_id: int, bids: Sequence[Level], asks: Sequence[Level], cut: int, now_ns: int
    ) -> list[Event]:
        """The whole book as of `last_id`, best first, each side cut at `cut` levels."""
        if self._book is not None:
            return []
        newer = [waiting for waiting in self._waiting if waiting[1] > last_id]
        if (newer and newer[0][0] > last_id + 1) or (self.last is not None and last_id < self.last):
            self.failed(now_ns)  # it is older than what must follow it
            return []
        lost = self._lost(last_id)
        self._book = Book(bids, asks, complete_to=cut)
        self._retry_ns = _FIRST_RETRY_NS
        self.last = last_id
        events = [*lost, self._whole(now_ns), *(self._say(*waiting) for waiting in newer)]
        self._waiting.clear()
        return [*events, self._session.status(self.key, "live", self._why)]

    def failed(self, now_ns: int) -> None:
        """No usable snapshot came: try again later, and ever later."""
        self._fetch_at = now_ns + self._retry_ns
        self._retry_ns = min(2 * self._retry_ns, _LONGEST_RETRY_NS)

    def resync(self, reason: str, now_ns: int) -> list[Event]:
        """This symbol alone starts anew; what it misses is registered once the new snapshot tells how far it goes."""
        if self._book is None:
            return []
        self._book = None
        self._why = reason
        self._fetch_at = now_ns
        return [self._session.status(self.key, "suspect", reason)]

    def refused(self, last: str | None, now_ns: int) -> list[Event]:
        """The stream stands at `last` and does not take what was said after it."""
        self.last = None if last is None else int(last)
        return self.resync(f"the stream stands at {last}", now_ns)

    def _say(self, first: int, last: int, delta: Delta) -> Event:
        assert self._book is not None
        self._book.apply(delta.bids, delta.asks)
        self._changes += len(delta.bids) + len(delta.asks)
        self.last = last
        return Event(self.key, str(last), delta, "range", str(first))

    def _whole(self, now_ns: int) -> Event:
        assert self._book is not None
        bids, asks, depth = self._book.levels()
        self._changes = 0
        self._snapshot_ns = now_ns
        snapshot = Snapshot(bids=bids, asks=asks, received_ns=now_ns, depth=depth)
        return Event(self.key, str(self.last), snapshot, "snapshot")

    def _lost(self, last_id: int) -> list[Event]:
        """The deltas between what the stream has and the snapshot: no exchange says them again."""
        if self.last is None or last_id == self.last:
            return []
        first, last = str(self.last + 1), str(last_id)
        gap = Gap(reason=self._why, first_id=first, last_id=last)
        return [Event(self.key, self._session.identity(), gap, "gap", f"{first}-{last}")]

    def _wait(self, first: int, last: int, delta: Delta) -> None:
        if self._waiting and last <= self._waiting[-1][1]:
            return
        if self._waiting and first > self._waiting[-1][1] + 1:
            self._waiting.clear()  # the chain broke again: only what follows the break can be joined
        elif len(self._waiting) >= BUFFERED_DELTAS:
            del self._waiting[0]
        self._waiting.append((first, last, delta))
