"""A book without ids, counted by who writes it: kept at all times, and said by the one whose stream it is."""

from collections.abc import Callable, Sequence

from msgspec import structs

from ingest.contract.events import MAX_LEVELS, Delta, Event, Levels, Snapshot
from ingest.contract.keys import StreamKey
from ingest.exchanges.best_audit import Best, BestAudit
from ingest.exchanges.book import Level
from ingest.exchanges.exchange import NEVER, Kept, Reconnect, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.sorted_book import SortedBook
from ingest.exchanges.topic import BookWanted, Wanted

SNAPSHOT_EVERY_NS = 10_000_000_000
SNAPSHOT_WITHIN_NS = 10_000_000_000
"""So long a snapshot may take to come, before it is asked for again."""
RETRY_NS = 5_000_000_000
"""Between two requests for a snapshot, at least."""
_ATTEMPTS = 3
"""Snapshots in a row that nothing good follows; one more, and the connection is given up."""
_MS = 1_000_000


def _fits(_book: SortedBook) -> bool:
    return True


class CountedBook:
    """One symbol's book. Whoever may write it begins a session: the whole book, and behind that every change.

    Without leave to write it is a warm spare: it keeps the book and says nothing, until it gets leave and begins with
    what it has. When the book turns out to be wrong, the conversation is asked for a fresh snapshot, and a new session
    begins with it; the time between the two is registered, because changes that nobody counted may be missing in it.
    """

    kept = Kept(
        named="session and counter, ours",
        noticed="the connection is lost",
        mended="a `gap` of time, and a fresh snapshot",
        far="the whole book",
    )

    def __init__(
        self, key: StreamKey, session: Session, position: str | None, depth: int | None, *, audited: bool = False
    ) -> None:
        """`position` is where the stream stands; `depth` how many levels a side the exchange tells of, None for all.

        One that no checksum proves is to be `audited`: it wants the best prices by REST now and then.
        """
        self.key = key
        at, _, said_ms = (position or "").partition("@")
        self._at = at or None
        self._session = session
        self._depth = depth
        self._owned = False
        self._book: SortedBook | None = None
        self._name = ""
        """Of the session in the stream; empty before there is one."""
        self._count = 0
        self._began_ms = 0
        self._said_ms = 0
        self._why = "not connected" if said_ms else "start"
        self._lost_ms = int(said_ms) if said_ms else None
        """From when on changes may be missing in the stream, if any may."""
        self._ask_at = NEVER
        self._asked_ns = -RETRY_NS
        self._attempts = 0
        self._changes = 0
        self._snapshot_ns = 0
        self._heard_ns = 0
        self._newest: tuple[Levels, Levels] | None = None
        """The changes that were heard last, since the snapshot."""
        self._audit = BestAudit(key, on=audited)

    @property
    def position(self) -> str | None:
        """Where the stream stands; and if that is our word, behind `@` the ms from which on changes may be missing."""
        since_ms = self._said_ms if self._lost_ms is None and self._name else self._lost_ms
        return self._at if since_ms is None else f"{self._at}@{since_ms}"

    @property
    def warm(self) -> bool:
        """Whether there is a book, that is right as far as one knows."""
        return self._book is not None

    def own(self, now_ns: int) -> list[Event]:
        """From now on it is ours to say; with another leave than before, it is begun anew."""
        self._owned = True
        if self._book is None:
            return [self._session.status(self.key, "syncing", self._why, self._at)]
        return self._begin(now_ns)

    def disown(self) -> None:
        """Fall silent, and go on listening."""
        self._owned = False
        self._name = ""
        self._lost_ms = None
        self._audit.end()

    def open(self, now_ns: int) -> list[Event]:
        """The subscription stands, and a snapshot should come."""
        if self._book is not None:
            return []
        if self._ask_at == NEVER:
            self._expect(now_ns)
        return [self._session.status(self.key, "syncing", self._why, self._at)] if self._owned else []

    def closed(self, reason: str) -> list[Event]:
        """Nothing is heard from now on."""
        return [self._session.status(self.key, "stale", reason, self._at)] if self._owned else []

    def due(self) -> int:
        """When something is next wanted."""
        return min(self._ask_at, self._audit.due())

    def wants(self, now_ns: int) -> list[Wanted]:
        """A fresh snapshot, or the best prices. Raises Reconnect if several snapshots in a row were of no use."""
        if self._book and (doubt := self._audit.doubt(now_ns)):
            return [*self.resync(doubt, now_ns), *self.wants(now_ns)]
        if self._ask_at > now_ns:
            return [*self._audit.wants(self._book.best, now_ns)] if self._book else []
        self._attempts += 1
        if self._attempts > _ATTEMPTS:
            raise Reconnect(f"{self.key.symbol}: no sound book after {_ATTEMPTS} attempts: {self._why}")
        self._asked_ns = now_ns
        self._expect(now_ns)
        return [BookWanted()]

    def snapshot(
        self,
        bids: Sequence[Level],
        asks: Sequence[Level],
        exchange_ns: int | None,
        now_ns: int,
        fits: Callable[[SortedBook], bool] = _fits,
    ) -> list[Event]:
        """The whole book, as it is now. `fits` says whether it is what the exchange says it is."""
        before = self.resync("another snapshot came", now_ns)
        self._heard_ns = now_ns
        self._newest = None
        self._book = SortedBook(bids, asks, self._depth)
        if self._book.crossed or not fits(self._book):
            return [*before, *self.resync("a snapshot is not what it says", now_ns)]
        self._ask_at = NEVER
        return [*before, *self._begin(now_ns, exchange_ns)] if self._owned else before

    def delta(self, delta: Delta, now_ns: int, fits: Callable[[SortedBook], bool] = _fits) -> list[Event]:
        """Changes, in their order; what they push beyond the depth is removed by what is said.

        The same changes once more change nothing, and are not said.
        """
        book = self._book
        if book is None:
            return []
        before, self._newest, self._heard_ns = self._newest, (delta.bids, delta.asks), now_ns
        cut_bids, cut_asks = book.apply(delta.bids, delta.asks)
        if book.crossed:
            return self.resync("the book is crossed", now_ns)
        if not fits(book):
            return self.resync("the book does not have the exchange's checksum", now_ns)
        self._attempts = 0
        if self._audit.watching:
            self._audit.saw(book.best)
        if not self._owned or self._newest == before:
            return []
        if cut_bids or cut_asks:
            bids, asks = (*delta.bids, *_removed(cut_bids)), (*delta.asks, *_removed(cut_asks))
            delta = structs.replace(delta, bids=bids, asks=asks)
        self._changes += len(delta.bids) + len(delta.asks)
        said = [self._say(delta, now_ns)]
        if self._changes > len(book) and now_ns - self._snapshot_ns >= SNAPSHOT_EVERY_NS:
            said.append(self._whole(book, None, now_ns))
        return said

    def resync(self, reason: str, now_ns: int) -> list[Event]:
        """This symbol alone starts anew, with a fresh snapshot."""
        if self._book is None:
            return []
        self._book = None
        self._audit.end()
        self._why = reason
        self._ask_at = max(now_ns, self._asked_ns + RETRY_NS)
        if not self._name:
            return []
        self._lose_from(self._said_ms)
        return [self._session.status(self.key, "suspect", reason, self._at)]

    def located(self, standing: Standing | None, now_ns: int) -> Sequence[Event]:
        """Nothing is missed that could be looked up."""
        return ()

    def failed(self, reason: str, now_ns: int) -> Sequence[Event]:
        """The best prices can be had another time."""
        self._audit.failed(now_ns)
        return ()

    def best(self, theirs: Best, now_ns: int) -> None:
        """The best prices that the exchange has, by REST."""
        self._audit.answered(theirs, now_ns)

    def refused(self, position: str | None, now_ns: int) -> list[Event]:
        """The stream lost our session, or never had it: how much of it, nobody knows. What we have is said anew."""
        if not self._name:
            return []
        self._lose_from(self._began_ms)
        self._why = "the stream did not take a session"
        return [] if self._book is None else self._begin(now_ns)

    def _expect(self, now_ns: int) -> None:
        self._ask_at = now_ns + SNAPSHOT_WITHIN_NS

    def _lose_from(self, ms: int) -> None:
        self._lost_ms = ms if self._lost_ms is None else min(ms, self._lost_ms)

    def _begin(self, now_ns: int, exchange_ns: int | None = None) -> list[Event]:
        """A new session, behind the time in which changes may be missing."""
        assert self._book is not None
        lost: list[Event] = []
        if self._lost_ms is not None:
            lost = [self._session.unverifiable(self.key, self._lost_ms, now_ns // _MS, self._why)]
            self._lost_ms = None
        self._name, self._count = self._session.identity(), 0
        self._began_ms = now_ns // _MS
        self._audit.begin(now_ns)
        whole = self._whole(self._book, exchange_ns, now_ns)
        return [*lost, whole, self._session.status(self.key, "live", self._why)]

    def _whole(self, book: SortedBook, exchange_ns: int | None, now_ns: int) -> Event:
        bids, asks = book.levels(MAX_LEVELS)
        depth = MAX_LEVELS if MAX_LEVELS in (len(bids), len(asks)) else self._depth
        self._changes = 0
        self._snapshot_ns = now_ns
        body = Snapshot(bids=bids, asks=asks, received_ns=self._heard_ns, exchange_ns=exchange_ns, depth=depth)
        return self._say(body, now_ns)

    def _say(self, body: Snapshot | Delta, now_ns: int) -> Event:
        self._count += 1
        self._said_ms = now_ns // _MS
        self._at = f"{self._name}.{self._count}"
        return Event(self.key, self._at, body, "session")


def _removed(levels: Sequence[Level]) -> list[Level]:
    return [(price, "0") for price, _ in levels]
