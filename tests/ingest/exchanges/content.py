"""Books whose updates have no names at the exchange: judged by what is in them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal

from msgspec import Struct

from ingest.contract.codec import Entry
from ingest.contract.events import Delta, Gap, Snapshot, Status
from ingest.simulator.ledger import Change, Struck
from tests.chaos.books import Sides, apply, side_of
from tests.chaos.exchange import Depth

_WHOLE = 1 << 62
"""Levels of a book that is cut nowhere."""


class Hits(Struct, frozen=True):
    """Which changes faults have hit, by their names in the ledger."""

    kept_back: Collection[str] = ()
    """Those that did not come, or not when it was their turn."""
    late: Collection[str] = ()
    """Those of them that came behind the next one."""


NO_HITS = Hits()


def hits(struck: Iterable[Struck], key: str) -> Hits:
    """On one book."""
    of_it = [(hit.fault.partition(":")[0].partition("@")[0], hit.s) for hit in struck if hit.key == key]
    kept_back = {s for kind, s in of_it if kind in ("gap", "garble", "silent", "reorder")}
    return Hits(kept_back, {s for kind, s in of_it if kind == "reorder"})


def book_by_content(
    entries: Sequence[Entry], start: Depth, changes: Sequence[Change], hit: Hits = NO_HITS, *, proves: bool = True
) -> Iterator[str]:
    """What is wrong with a book.

    After each entry a reader has the exchange's book as it once was, cut: after a delta, as it was next; after a
    snapshot, as it was then or later, and later only if in between it was said that the book is not up to date.

    A change that was kept back may be passed over where the next one makes up for it: that sets the same level, so
    that the checksum fits. And where it then comes late, and fits again, the book is for a moment what it was then.
    Where nothing `proves` a book, it may be any from a change that was kept back until it is the exchange's again.
    """
    depth = next((entry.event.depth or _WHOLE for entry in entries if isinstance(entry.event, Snapshot)), _WHOLE)
    reader = _Reader(_History(start, changes, hit, depth), depth, proves=proves)
    for entry in entries:
        match entry.event:
            case Snapshot() as whole:
                yield from reader.begin(entry.s, whole)
            case Delta() as delta:
                if not reader.follow(delta):
                    yield f"after delta {entry.s} the book is not what the exchange's was next"
                    return
            case Gap() | Status(state="suspect" | "stale"):
                reader.told = True
    yield from reader.end()


class _Reader:
    """Who makes a book of the entries, and finds it among those of the exchange."""

    def __init__(self, truth: "_History", depth: int, *, proves: bool) -> None:
        self.told = True
        """That the book is not up to date."""
        self._truth = truth
        self._depth = depth
        self._proves = proves
        self._at = -1
        self._astray = False
        self._book: Sides | None = None

    def begin(self, s: str, whole: Snapshot) -> Iterator[str]:
        """A snapshot; of a book that nothing proves, one that a reader says may be as wrong as the book."""
        self._book = _applied(({}, {}), whole, self._depth)
        found = self._truth.find(self._book, max(self._at, 0))
        if found is None and self._astray:
            return
        if found is None:
            yield f"snapshot {s} was never the exchange's book behind {self._at}"
        elif found > self._at and not self.told:
            yield f"snapshot {s} leaves out {found - self._at} states, and nothing tells of that"
        self._at = self._at if found is None else found
        self.told = self._astray = False

    def follow(self, delta: Delta) -> bool:
        """A delta, and whether the book is what it may be; before there is one, nothing is known of it."""
        if self._book is None:
            return True
        self._book = _applied(self._book, delta, self._depth)
        found = self._truth.next(self._book, self._at)
        if found is None and (self._astray or (not self._proves and self._truth.strays(self._at))):
            found = self._truth.find(self._book, self._at)
            self._astray = found is None
        if found is not None:
            self._at = found
        return self._astray or found is not None

    def end(self) -> Iterator[str]:
        """There are no more entries."""
        if not (self._astray or self._truth.ends(self._at)):
            left = len(self._truth.states) - 1 - self._at
            yield f"the last {left} of {len(self._truth.states)} states are not there"


class _History:
    """The exchange's book, cut, each time that it was another; where it is not cut, after each change. As digests."""

    def __init__(self, start: Depth, changes: Iterable[Change], hit: Hits, depth: int) -> None:
        whole = side_of(start.bids.items()), side_of(start.asks.items())
        self.states = [_digest(_cut(whole, depth))]
        self._kept_back: set[int] = set()
        self._late: set[int] = set()
        for change in changes:
            whole = _applied(whole, change, _WHOLE)
            now = _digest(_cut(whole, depth))
            if now != self.states[-1] or depth == _WHOLE:
                self.states.append(now)
            if change.s in hit.kept_back:
                self._kept_back.add(len(self.states) - 1)
            if change.s in hit.late:
                self._late.add(len(self.states) - 1)

    def find(self, book: Sides, first: int) -> int | None:
        """When it was this, at the earliest from `first` on."""
        digest = _digest(book)
        return next((i for i in range(first, len(self.states)) if self.states[i] == digest), None)

    def next(self, book: Sides, at: int) -> int | None:
        """Where it stands if behind `at` it was this next, but for what was kept back or is late."""
        digest = _digest(book)
        for i in range(at + 1, len(self.states)):
            if self.states[i] == digest:
                return i
            if i not in self._kept_back and self.states[i] != self.states[at]:
                break
        return at if at - 1 in self._late and self.states[at - 1] == digest else None

    def strays(self, at: int) -> bool:
        """Whether what comes next was kept back."""
        return at + 1 in self._kept_back

    def ends(self, at: int) -> bool:
        """Whether nothing behind `at` was to come."""
        return all(i in self._kept_back for i in range(at + 1, len(self.states)))


def _applied(book: Sides, change: Snapshot | Delta | Change, depth: int) -> Sides:
    whole = book[0].copy(), book[1].copy()
    apply(whole, change)
    return _cut(whole, depth)


def _digest(book: Sides) -> int:
    bids, asks = book
    return hash((frozenset(bids.items()), frozenset(asks.items())))


def _cut(book: Sides, depth: int) -> Sides:
    if depth == _WHOLE:
        return book
    bids, asks = (sorted(side, key=Decimal) for side in book)
    return {price: book[0][price] for price in bids[-depth:]}, {price: book[1][price] for price in asks[:depth]}
