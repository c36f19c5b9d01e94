"""A book whose deltas cover ranges of update ids, joined to a snapshot by REST; said only while it is in sync."""

from collections.abc import Sequence
from typing import NamedTuple

from ingest.contract.events import Delta, Event, Snapshot
from ingest.contract.keys import StreamKey
from ingest.exchanges.best_audit import Best, BestAudit
from ingest.exchanges.book import Book, Level
from ingest.exchanges.exchange import NEVER, Kept, Locate, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import BookWanted, Hold, SubscriptionWanted, Wanted

BUFFERED_DELTAS = 5_000
"""Deltas that wait for a snapshot; beyond, the oldest go, and a snapshot that needs them is fetched again."""
SNAPSHOT_EVERY_NS = 10_000_000_000
QUIET_NS = 300_000_000_000
"""A live book that did not change for so long is compared with the exchange's."""
STEADY_NS = 10_000_000_000
"""A book that is found crossed sooner after its snapshot than this gets the next one later, and ever later."""
DOUBT_NS = 2_000_000_000
"""Nor may nothing but old changes come of it for so long."""
LATE_NS = 5_000_000_000
"""Changes that are in the exchange's book and did not come within this will not come."""
_FIRST_RETRY_NS = 1_000_000_000
_LONGEST_RETRY_NS = 30_000_000_000
_FAR = 1_000_000
"""What lies so far behind does not come twice: the exchange counts anew."""
_DROPPED = 3
"""So many changes in a row that are older than those that wait say so, too."""
_OLDER_SNAPSHOTS = 3
"""So many snapshots in a row, seconds apart, that are older than the stream, say that the exchange counts anew; one
less if there are deltas that say so, too."""


class _Fetched(NamedTuple):
    """A snapshot that fits what was heard, and may come before or behind what the stream has."""

    last_id: int
    book: Book


class RangedBook:
    """One symbol: syncing → live, and back to syncing when the chain of ids breaks."""

    kept = Kept(
        named="last update id",
        noticed="ranges of ids join",
        mended="a `gap`, and a snapshot by REST",
        far="the whole book",
    )

    def __init__(
        self, key: StreamKey, session: Session, position: str | None, depth: int | None = None, *, audited: bool = False
    ) -> None:
        """`position` is the id at which the stream stands; whether `audited`, it wants the best prices now and then.

        `depth` is how many levels a side the exchange tells of, what comes and goes at their end included; None if a
        snapshot is cut somewhere, and what lies behind that is told of, too.
        """
        self.key = key
        self.last = None if position is None else int(position)
        self._session = session
        self._depth = depth
        self._book: Book | None = None
        self._waiting: list[tuple[int, int, Delta]] = []
        self._fetched: _Fetched | None = None
        self._hold = Hold()
        self._why = "start"
        self._fetch_at = NEVER
        self._retry_ns = _FIRST_RETRY_NS
        self._older = 0
        self._changes = 0
        self._snapshot_ns = 0
        self._joined_ns = -STEADY_NS
        self._compare_at = NEVER
        self._found: int | None = None
        """Where the exchange's book stands, if it is not where this one does."""
        self._old = False
        """Whether what came last was old."""
        self._dropped = 0
        """How much in a row was older than what waits."""
        self._audit = BestAudit(key, on=audited)

    @property
    def position(self) -> str | None:
        """The newest id said."""
        return None if self.last is None else str(self.last)

    @property
    def live(self) -> bool:
        """Whether the book is in sync, so that deltas are said as they come."""
        return self._book is not None

    @property
    def waiting(self) -> int:
        """Deltas that wait for a snapshot."""
        return len(self._waiting)

    def open(self, now_ns: int) -> list[Event]:
        """The subscription stands: a snapshot is wanted at once, even if a quiet symbol sends no delta for minutes."""
        self._fetch_at = now_ns
        return [self._session.status(self.key, "syncing", self._why, self.position)]

    def closed(self, reason: str) -> list[Event]:
        """Nothing is heard from now on."""
        return [self._session.status(self.key, "stale", reason, self.position)]

    def due(self) -> int:
        """When something is next wanted."""
        return min(self._fetch_at, self._hold.due(), self._compare_at, self._audit.due())

    def wants(self, now_ns: int) -> list[Wanted]:
        """A snapshot, where the stream stands, or the best prices."""
        wanted: list[Wanted] = []
        if self._book and (doubt := self._audit.doubt(now_ns)):
            wanted += self.resync(doubt, now_ns)
        if self._book:
            wanted += self._audit.wants(self._book.best, now_ns)
        if self._fetch_at <= now_ns:
            self._fetch_at = NEVER
            wanted.append(BookWanted())
        if self._hold.due() <= now_ns:
            self._hold.looking()
            wanted.append(Locate(self.key))
        if self._compare_at <= now_ns:
            wanted += self._compare(now_ns)
        return wanted

    def delta(self, first: int, last: int, delta: Delta, now_ns: int) -> Sequence[Event]:
        """The changes `first`…`last`."""
        if self._book is None:
            self._wait(first, last, delta, now_ns)
            return ()
        assert self.last is not None
        if self.last - _FAR < last <= self.last:
            self._doubt(now_ns)
            return ()
        if last <= self.last:
            events = self.resync(f"id {last} is far behind {self.last}", now_ns)
            self._wait(first, last, delta, now_ns)
            return events
        if first > self.last + 1:
            events = self.resync(f"ids {self.last + 1} to {first - 1} never came", now_ns)
            self._wait(first, last, delta, now_ns)
            return events
        self._book.apply(delta.bids, delta.asks)
        if self._book.crossed:
            return self._crossed(now_ns)
        if self._audit.watching:
            self._audit.saw(self._book.best)
        event = self._say(first, last, delta)
        self._compare_at = now_ns + QUIET_NS
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
        book = Book(bids, asks, complete_to=None if self._depth else cut)
        if book.crossed or (newer and newer[0][0] > last_id + 1 and self._dropped < _DROPPED):
            self._later(now_ns)  # it is not right, or older than what must follow it
            return []
        if newer and newer[0][0] > last_id + 1:
            newer = []  # what waits is of a series that has ended
        self._waiting = newer
        self._fetched = _Fetched(last_id, book)
        self._fetch_at = NEVER
        newest = newer[-1][1] if newer else last_id
        if self.last is None or last_id <= self.last <= newest:
            return self._join(now_ns)
        if last_id > self.last:
            self._hold.begin(now_ns)
            return []
        self._older += 1
        if self._counts_anew:
            self._hold.begin(now_ns)
        else:
            self._later(now_ns)
        return []

    def stands_at(self, last_id: int, now_ns: int) -> None:
        """So does the exchange's book, of which nothing new has come for long."""
        if self.last is not None and last_id > self.last:
            self._found, self._compare_at = last_id, now_ns + LATE_NS
        elif self.last is not None and last_id < self.last and self._old:
            self._found, self._compare_at = last_id, now_ns

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """No usable snapshot came: try again later, and ever later. A comparison is made again in its time."""
        if self._book is None:
            self._later(now_ns)
        self._audit.failed(now_ns)
        return []

    def best(self, theirs: Best, now_ns: int) -> None:
        """The best prices that the exchange has, by REST."""
        self._audit.answered(theirs, now_ns)

    def located(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """Another writer may have said what we missed; while the stream moves on, one does."""
        if self._fetched is None:
            self._hold.end()
            return []
        if standing is None:
            self._hold.still(None, now_ns)
            return []
        if self._counts_anew:
            return self._restart(standing, now_ns)
        position = None if standing.position is None else int(standing.position)
        # What we said ourselves may be on its way still.
        self.last = max(self.last or 0, position or 0)
        if self._fetched.last_id <= self.last or self._hold.still(standing, now_ns):
            return self._join(now_ns)
        return []

    def resync(self, reason: str, now_ns: int) -> list[Event]:
        """This symbol alone starts anew; what it misses is registered once the new snapshot tells how far it goes."""
        if self._book is None:
            return []
        self._book = None
        self._audit.end()
        self._why = reason
        self._fetch_at = now_ns
        return [self._session.status(self.key, "suspect", reason, self.position)]

    def refused(self, position: str | None, now_ns: int) -> list[Event]:
        """The stream stands at `position` and does not take what was said after it."""
        self.last = None if position is None else int(position)
        return self.resync(f"the stream stands at {position}", now_ns)

    @property
    def _counts_anew(self) -> bool:
        if not self._waiting:
            return self._older >= _OLDER_SNAPSHOTS
        return self._older >= _OLDER_SNAPSHOTS - 1 and self.last is not None and self._waiting[-1][1] < self.last

    def _restart(self, standing: Standing, now_ns: int) -> list[Event]:
        """The exchange's ids begin anew: say it, unless another writer has."""
        assert self.last is not None
        self._older = 0
        if standing.position is not None and int(standing.position) < self.last:
            self.last = int(standing.position)
            self._later(now_ns)
            return []
        assert self._fetched is not None
        self.last = self._fetched.last_id
        return [self._session.restart(self.key, standing, self.last - 1), *self._join(now_ns)]

    def _join(self, now_ns: int) -> list[Event]:
        """The snapshot, before it what is lost between the stream and it, and behind it what was heard since."""
        assert self._fetched is not None
        (last_id, self._book), self._fetched = self._fetched, None
        self._hold.end()
        if now_ns - self._joined_ns >= STEADY_NS:
            self._retry_ns = _FIRST_RETRY_NS
        self._joined_ns, self._older = now_ns, 0
        self._old, self._found = False, None
        waiting, self._waiting = self._waiting, []
        lost = []
        # Where the delta that reaches over the snapshot joins the stream as well, nothing is missing.
        joins = waiting and self.last is not None and waiting[0][0] <= self.last + 1
        if self.last is not None and last_id > self.last and not joins:
            lost = [self._session.lost(self.key, self.last + 1, last_id, self._why)]
        self.last = last_id
        events = [*lost, self._whole(now_ns)]
        for i, (first, last, delta) in enumerate(waiting):
            self._book.apply(delta.bids, delta.asks)
            if self._book.crossed:
                self._waiting = waiting[i + 1 :]
                return [*events, *self._crossed(now_ns)]
            events.append(self._say(first, last, delta))
        self._compare_at = now_ns + QUIET_NS
        self._audit.begin(now_ns)
        return [*events, self._session.status(self.key, "live", self._why)]

    def _crossed(self, now_ns: int) -> list[Event]:
        """What was changed last is not said: whatever is wrong, the next snapshot has to be newer than that."""
        events = self.resync("the book is crossed", now_ns)
        if now_ns - self._joined_ns < STEADY_NS:
            self._later(now_ns)
        return events

    def _later(self, now_ns: int) -> None:
        self._fetched = None
        self._fetch_at = now_ns + self._retry_ns
        self._retry_ns = min(2 * self._retry_ns, _LONGEST_RETRY_NS)

    def _compare(self, now_ns: int) -> list[Wanted]:
        """Quiet books and deaf ones look the same from here."""
        found, self._found = self._found, None
        self._compare_at = now_ns + QUIET_NS if self.live else NEVER
        if not self.live or self.last is None:
            return []
        if found is None:
            return [BookWanted(just_its_id=True)]
        if found < self.last and self._old:
            return [*self.resync(f"the exchange's book stands at {found}, behind {self.last}", now_ns)]
        return [SubscriptionWanted()] if found > self.last else []

    @property
    def _newest(self) -> int | None:
        """The newest id that was heard."""
        if self._book is not None:
            return self.last
        return self._waiting[-1][1] if self._waiting else self._fetched.last_id if self._fetched else None

    def _restarts(self, last: int, delta: Delta, now_ns: int) -> list[Event]:
        """The exchange says itself that it counts anew, with these changes: the next snapshot need not say it again."""
        events = self.resync(f"the exchange counts from {last} on, behind {self._newest}", now_ns)
        if self._fetched is not None:
            self._fetched, self._fetch_at = None, now_ns
        self._waiting.clear()
        self._older = _OLDER_SNAPSHOTS
        self._wait(0, last, delta, now_ns)
        return events

    def _doubt(self, now_ns: int) -> None:
        """What comes twice is old, and so is all that comes of an exchange that counts anew."""
        self._old = True
        if self._found is None:
            self._compare_at = min(self._compare_at, now_ns + DOUBT_NS)

    def _say(self, first: int, last: int, delta: Delta) -> Event:
        """Of changes that are in the book."""
        self._changes += len(delta.bids) + len(delta.asks)
        self._old = False
        self.last = last
        return Event(self.key, str(last), delta, "range", str(first))

    def _whole(self, now_ns: int) -> Event:
        assert self._book is not None
        bids, asks, depth = self._book.levels()
        if self._depth and max(len(bids), len(asks)) >= self._depth:
            bids, asks, depth = bids[: self._depth], asks[: self._depth], self._depth
        self._changes = 0
        self._snapshot_ns = now_ns
        snapshot = Snapshot(bids=bids, asks=asks, received_ns=now_ns, depth=depth)
        return Event(self.key, str(self.last), snapshot, "snapshot")

    def _wait(self, first: int, last: int, delta: Delta, now_ns: int) -> None:
        newest = self._newest
        if newest is not None and last <= newest:
            self._dropped += 1
            return
        self._dropped = 0
        broken = newest is not None and first > newest + 1
        if broken:
            self._waiting.clear()  # only what follows the break can be joined, and only to a newer snapshot
        elif len(self._waiting) >= BUFFERED_DELTAS:
            del self._waiting[0]
            broken = True
        if broken and self._fetched is not None:
            self._fetched = None
            self._fetch_at = now_ns
        self._waiting.append((first, last, delta))
