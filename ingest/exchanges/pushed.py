"""A book that comes whole with the subscription, and then by changes that each follow the one before."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from ingest.contract.events import Delta, Event, Snapshot
from ingest.contract.keys import StreamKey
from ingest.exchanges.book import Level
from ingest.exchanges.exchange import NEVER, Kept, Locate, Reconnect, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.sorted_book import SortedBook
from ingest.exchanges.topic import BookWanted, Hold, SubscriptionWanted, Wanted

BUFFERED_CHANGES = 5_000
"""Changes that wait until it is known where the stream stands; one more, and another whole book is asked for."""
WITHIN_NS = 5_000_000_000
"""So long a whole book may take to come, and so far apart two are asked for."""
SNAPSHOT_EVERY_NS = 10_000_000_000
QUIET_NS = 30_000_000_000
"""A book that did not change for so long is compared with the exchange's."""
LATE_NS = 5_000_000_000
"""Changes that are in the exchange's book and did not come within this will not come."""
_ATTEMPTS = 4
"""Whole books in a row of which nothing came; one more, and the connection is given up."""
_OLDER = 3
"""So many whole books in a row, seconds apart, that are older than the stream, say that the exchange counts anew."""
_AGAIN = 5
"""So many changes in a row that were said already, likewise."""
_FAR = 1_000_000
"""What lies so far behind does not come twice: the exchange counts anew."""


class _Change(NamedTuple):
    """The ids `first`…`last`."""

    first: int
    last: int
    delta: Delta


class Whole(NamedTuple):
    """A whole book as of `last`, best first."""

    last: int
    bids: Sequence[Level]
    asks: Sequence[Level]
    exchange_ns: int | None


class PushedBook:
    """One symbol: syncing → live, and back to syncing when the chain of ids breaks or the book makes no sense."""

    kept = Kept(
        named="the last update in it",
        noticed="updates follow one another; nobody pays more than others take",
        mended="a `gap`, and the whole book anew",
        far="the whole book",
    )

    def __init__(self, key: StreamKey, session: Session, position: str | None, depth: int | None) -> None:
        """`position` is the id at which the stream stands; `depth`, how many levels a side there are at most."""
        self.key = key
        self.last = None if position is None else int(position)
        self._session = session
        self._depth = depth
        self._book: SortedBook | None = None
        self._whole: Whole | None = None
        self._waiting: list[_Change] = []
        """What follows `_whole`, as long as it is not known how that joins the stream."""
        self._hold = Hold()
        self._why = "start"
        self._ask_at = NEVER
        self._asked_ns = -WITHIN_NS
        self._attempts = 0
        self._older = 0
        self._again = 0
        self._anew = False
        self._changes = 0
        self._snapshot_ns = 0
        self._compare_at = NEVER
        self._ahead: int | None = None

    @property
    def position(self) -> str | None:
        """The newest id said."""
        return None if self.last is None else str(self.last)

    @property
    def live(self) -> bool:
        """Whether the book is in sync, so that changes are said as they come."""
        return self._book is not None

    @property
    def waiting(self) -> int:
        """Changes that wait until it is known where the stream stands."""
        return len(self._waiting)

    def open(self, now_ns: int) -> list[Event]:
        """The subscription stands: a whole book is on its way, or here already."""
        if self._book is not None:
            return []
        if self._whole is None:
            self._expect(now_ns)
        return [self._session.status(self.key, "syncing", self._why, self.position)]

    def closed(self, reason: str) -> list[Event]:
        """Nothing is heard from now on."""
        return [self._session.status(self.key, "stale", reason, self.position)]

    def due(self) -> int:
        """When something is next wanted."""
        return min(self._ask_at, self._hold.due(), self._compare_at)

    def wants(self, now_ns: int) -> list[Wanted]:
        """A whole book, or where the stream stands. Raises Reconnect if several in a row were of no use."""
        wanted: list[Wanted] = []
        if self._ask_at <= now_ns:
            self._attempts += 1
            if self._attempts > _ATTEMPTS:
                raise Reconnect(f"{self.key.symbol}: no sound book after {_ATTEMPTS} attempts: {self._why}")
            self._asked_ns = now_ns
            self._expect(now_ns)
            wanted.append(BookWanted())
        if self._hold.due() <= now_ns:
            self._hold.looking()
            wanted.append(Locate(self.key))
        if self._compare_at <= now_ns:
            wanted += self._compare(now_ns)
        return wanted

    def snapshot(self, whole: Whole, now_ns: int, *, anew: bool = False) -> list[Event]:
        """The whole book. `anew` says that the exchange has begun to count there."""
        if self._book is not None and whole.last == self.last:
            return []
        events = self.resync("the whole book came anew", now_ns)
        self._whole = whole
        self._waiting.clear()
        self._ask_at = NEVER
        if SortedBook(whole.bids, whole.asks, self._depth).crossed:
            self._ask("the whole book is crossed", now_ns)
        elif self.last is not None and (anew or whole.last < self.last):
            self._behind(self.last, whole.last, now_ns, anew=anew)
        return [*events, *self._settle(now_ns)]

    def delta(self, first: int, last: int, delta: Delta, now_ns: int) -> list[Event]:
        """The changes `first`…`last`."""
        if self._book is None:
            return self._wait(_Change(first, last, delta), now_ns)
        assert self.last is not None
        if last <= self.last:
            self._again += 1
            far = last <= self.last - _FAR or self._again >= _AGAIN
            return self.resync(f"id {last} comes behind {self.last}", now_ns) if far else []
        if first > self.last + 1:
            return self.resync(f"ids {self.last + 1} to {first - 1} never came", now_ns)
        events = self._say(_Change(first, last, delta), now_ns)
        if self._book and self._changes > len(self._book) and now_ns - self._snapshot_ns >= SNAPSHOT_EVERY_NS:
            events.append(self._say_whole(self._book, None, now_ns))
        return events

    def stands_at(self, last_id: int, now_ns: int) -> None:
        """So does the exchange's book, of which nothing has come for long."""
        if self.last is not None and last_id > self.last:
            self._ahead, self._compare_at = last_id, now_ns + LATE_NS

    def located(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """Another writer may have said what we missed; while the stream moves on, one does."""
        if self._whole is None:
            self._hold.end()
            return []
        if standing is None:
            self._hold.still(None, now_ns)
            return []
        position = None if standing.position is None else int(standing.position)
        if self._anew:
            return self._restart(standing, position, now_ns)
        # What we said ourselves may be on its way still.
        self.last = max(self.last or 0, position or 0)
        if self._whole.last <= self.last:
            self._hold.end()
            self._expect(now_ns)
            return self._settle(now_ns)
        return self._join(now_ns) if self._hold.still(standing, now_ns) else []

    def resync(self, reason: str, now_ns: int) -> list[Event]:
        """This symbol alone starts anew; what it misses is registered once the next whole book says how far it goes."""
        if self._book is None:
            return []
        self._book = None
        self._compare_at = NEVER
        self._ask(reason, now_ns)
        return [self._session.status(self.key, "suspect", reason, self.position)]

    def refused(self, position: str | None, now_ns: int) -> list[Event]:
        """The stream stands at `position` and does not take what was said after it."""
        self.last = None if position is None else int(position)
        return self.resync(f"the stream stands at {position}", now_ns)

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """Nothing is lost by a comparison that fails: there is another one."""
        return []

    def _expect(self, now_ns: int) -> None:
        self._ask_at = now_ns + WITHIN_NS

    def _ask(self, reason: str, now_ns: int) -> None:
        """What is here is of no use."""
        self._why = reason
        self._whole = None
        self._waiting.clear()
        self._hold.end()
        self._ask_at = max(now_ns, self._asked_ns + WITHIN_NS)

    def _behind(self, stands: int, last_id: int, now_ns: int, *, anew: bool) -> None:
        """Another writer was ahead of this book, and what follows it will show that; or the exchange counts anew."""
        self._older += 1
        self._anew = self._anew or anew or self._older >= _OLDER or stands - last_id > _FAR
        self._ask_at = max(now_ns, self._asked_ns + WITHIN_NS)

    def _wait(self, change: _Change, now_ns: int) -> list[Event]:
        """Only what follows a whole book without a hole can be joined."""
        if self._whole is None:
            return []
        newest = self._waiting[-1].last if self._waiting else self._whole.last
        if change.last <= newest:
            return []
        if change.first > newest + 1 or len(self._waiting) >= BUFFERED_CHANGES:
            self._ask(f"ids {newest + 1} to {change.first - 1} never came", now_ns)
            return []
        self._waiting.append(change)
        return self._settle(now_ns)

    def _settle(self, now_ns: int) -> list[Event]:
        """The book, once it reaches the stream; what lies between the two others may still say."""
        if self._whole is None:
            return []
        newest = self._waiting[-1].last if self._waiting else self._whole.last
        if self._anew or (self.last is not None and self._whole.last > self.last):
            self._ask_at = NEVER
            self._hold.begin(now_ns)
            return []
        return self._join(now_ns) if self.last is None or newest >= self.last else []

    def _restart(self, standing: Standing, position: int | None, now_ns: int) -> list[Event]:
        """The exchange's ids begin anew: say it, unless another writer has."""
        assert self._whole is not None
        self._anew, self._older = False, 0
        self._hold.end()
        if position is None or (self.last is not None and position < self.last):
            self.last = position
            return self._settle(now_ns)
        self.last = self._whole.last
        return [self._session.restart(self.key, standing, self.last - 1), *self._join(now_ns)]

    def _join(self, now_ns: int) -> list[Event]:
        """What is lost before the book, the book, and what was heard since."""
        assert self._whole is not None
        whole, self._whole = self._whole, None
        waiting, self._waiting = self._waiting, []
        self._hold.end()
        self._ask_at, self._attempts, self._older = NEVER, 0, 0
        self._book = book = SortedBook(whole.bids, whole.asks, self._depth)
        lost = []
        if self.last is not None and whole.last > self.last:
            lost = [self._session.lost(self.key, self.last + 1, whole.last, self._why)]
        stands = max(whole.last, self.last or 0)
        for change in waiting:
            if change.last <= stands:
                book.apply(change.delta.bids, change.delta.asks)
        self.last = stands
        events = [*lost, self._say_whole(book, whole.exchange_ns, now_ns)]
        events += chain.from_iterable(self._say(change, now_ns) for change in waiting if change.last > stands)
        return [*events, self._session.status(self.key, "live", self._why)] if self.live else events

    def _say(self, change: _Change, now_ns: int) -> list[Event]:
        """Unless somebody pays what somebody takes then: nothing else would tell of a book that is not right."""
        book, delta = self._book, change.delta
        if book is None:
            return []
        book.apply(delta.bids, delta.asks)
        if book.crossed:
            return self.resync(f"the book is crossed at {change.last}", now_ns)
        self._changes += len(delta.bids) + len(delta.asks)
        self.last, self._again = change.last, 0
        self._compare_at = now_ns + QUIET_NS
        return [Event(self.key, str(change.last), delta, "range", str(change.first))]

    def _say_whole(self, book: SortedBook, exchange_ns: int | None, now_ns: int) -> Event:
        bids, asks = book.levels()
        cut = self._depth is not None and max(len(bids), len(asks)) >= self._depth
        self._changes, self._snapshot_ns = 0, now_ns
        self._compare_at = now_ns + QUIET_NS
        snapshot = Snapshot(
            bids=bids, asks=asks, received_ns=now_ns, exchange_ns=exchange_ns, depth=self._depth if cut else None
        )
        return Event(self.key, str(self.last), snapshot, "snapshot")

    def _compare(self, now_ns: int) -> list[Wanted]:
        """Quiet books and deaf ones look the same from here."""
        ahead, self._ahead = self._ahead, None
        self._compare_at = now_ns + QUIET_NS if self.live else NEVER
        if not self.live or self.last is None:
            return []
        if ahead is None:
            return [BookWanted(just_its_id=True)]
        return [SubscriptionWanted()] if ahead > self.last else []
