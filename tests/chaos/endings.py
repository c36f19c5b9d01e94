"""What may be missing where an exchange's ids begin anew, and nothing more: what the stream says of that.

A series that has ended is said by no exchange again. So a `series_restart` names the id from which on it may be
missing: the one behind the last that was in the stream. Nothing else of an old series may be.

And where Redis forgets a series that it had, which then is begun again, a book is not the same as before: what came
before the snapshot with which it begins the second time has gone with what Redis forgot. That is told by the
`rollback`, and by the `series_restart` that follows it.

And where ids began anew yet again before anybody was sure that they had, the `series_restart` names a time up to which
other series of trades may have come and gone. Of a book it need not: that was told to be out of order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from ingest.audit.registry import ROLLBACK, begins_anew
from ingest.contract.codec import Entry
from ingest.contract.events import Delta, Gap, Snapshot, Trade
from ingest.simulator.ledger import Record
from ingest.simulator.ledger import Trade as TradeRecord
from tests.chaos.chronicle import Range
from tests.chaos.losses import Finding, lost_range

_FOREVER = 1 << 60


class Part(Struct, frozen=True):
    """A stretch of one chapter that belongs to one of the exchange's lives; it may begin with a `series_restart`."""

    life: int
    chapter: int
    begins: int | None
    """Its first id when it stood there, told before or not."""
    entries: Sequence[Entry]

    @property
    def restart(self) -> Gap | None:
        """That with which it begins."""
        first = self.entries[0] if self.entries else None
        return first.event if first and begins_anew(first) and isinstance(first.event, Gap) else None

    @property
    def ends(self) -> int | None:
        """Its newest id, heard or lost; None if it has none."""
        return max((last for _, last in _ids(self.entries)), default=None)

    @property
    def rolls_back(self) -> bool:
        """Whether Redis lost something in it."""
        return any(isinstance(entry.event, Gap) and entry.event.reason == ROLLBACK for entry in self.entries)


def begins_at(entries: Sequence[Entry]) -> int | None:
    """The first id of these."""
    return next((first for first, _ in _ids(entries)), None)


def _ids(entries: Sequence[Entry]) -> Iterator[Range]:
    for entry in entries:
        if lost := lost_range(entry):
            yield lost
        elif isinstance(entry.event, Trade | Delta | Snapshot):
            yield int(entry.s), int(entry.s)


class Excuses(Struct, frozen=True):
    """What need not be there: ranges of ids, by life, and lives of which nothing need be."""

    ranges: Sequence[tuple[int, Range]]
    unsaid: frozenset[int]
    passed_ns: Mapping[int, int]
    """Lives of which nothing need be there that is not newer than this."""

    def of(self, life: int) -> list[Range]:
        return [excuse for whose, excuse in self.ranges if whose == life]

    def owed(self, life: int, emitted: Sequence[Record]) -> Sequence[Record]:
        """What of a life has to be there, but for `of`."""
        since_ns = self.passed_ns.get(life)
        if since_ns is None:
            return emitted
        return [said for said in emitted if not (isinstance(said, TradeRecord) and said.exchange_ns <= since_ns)]


def excused(parts: Sequence[Part], life_of: Callable[[int], int], *, is_book: bool) -> Excuses:
    """By what the stream says. `parts` have what was told for the first time; `life_of` an id is whose it is."""
    ranges: list[tuple[int, Range]] = []
    unsaid: set[int] = set()
    passed_ns: dict[int, int] = {}
    newest: dict[int, int] = {}
    forgot, chapter = False, 0
    before: Part | None = None
    for part in parts:
        forgot = forgot or part.chapter != chapter
        chapter = part.chapter
        if part.restart and part.restart.first_id:
            first = int(part.restart.first_id)
            ended = before.life if before and before.ends == first - 1 else life_of(first - 1)
            if ended != part.life:
                ranges.append((ended, (first, _FOREVER)))
            between = range(ended + 1, part.life)
            # A book that has yet to begin says nothing, and has told so.
            if is_book:
                unsaid.update(between)
            if part.restart.to_ns is not None:
                passed_ns.update(dict.fromkeys(between, part.restart.to_ns))
        if part.restart and forgot and is_book and part.life in newest and part.begins is not None:
            ranges.append((part.life, (newest[part.life] + 1, part.begins)))
        if part.ends is not None:
            newest[part.life] = max(part.ends, newest.get(part.life, 0))
        forgot, before = part.rolls_back or (forgot and part.restart is None), part
    passed_ns = {life: ns for life, ns in passed_ns.items() if life not in newest}
    return Excuses(ranges, frozenset(unsaid - newest.keys()), passed_ns)


def misplaced(parts: Sequence[Part], life_of: Callable[[int], int]) -> Iterator[Finding]:
    """A series ends where the stream stood, and another begins. `parts` have all that stood there together."""
    for before, part in pairwise(parts):
        said = part.restart and part.restart.first_id
        if part.restart and said and life_of(int(said) - 1) == part.life:
            yield "unfounded", f"a series is said to end before {said}, and it goes on"
        elif part.restart and before.chapter == part.chapter and before.ends not in (None, int(said or 0) - 1):
            yield "unfounded", f"a series that ended at {before.ends} is said to be missing from {said} on"
