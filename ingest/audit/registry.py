"""What a stream says it lost, set against what its registry keeps as lost."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from ingest.audit.report import Finding
from ingest.contract.codec import Entry
from ingest.contract.events import Gap

Range = tuple[int, int]
"""Both inclusive: ids, or where there are none, milliseconds."""

ROLLBACK = "rollback"
RESTART = "series_restart"
"""Why a generation begins: the server has lost entries, or the exchange has begun its ids anew."""

_MS = 1_000_000


def lost_range(entry: Entry) -> Range | None:
    """What a gap says is missing here. None for what is no gap, begins a generation, or tells of a group's loss."""
    gap = entry.event
    if not isinstance(gap, Gap):
        return None
    if gap.first_id and gap.last_id and (gap.first_id + gap.last_id).isdecimal():
        return int(gap.first_id), int(gap.last_id)
    if gap.from_ns is not None and gap.to_ns is not None:
        return gap.from_ns // _MS, gap.to_ns // _MS
    return None


def begins_anew(entry: Entry) -> bool:
    """Whether the exchange counts from another beginning here."""
    return isinstance(entry.event, Gap) and entry.event.reason == RESTART


def still_open(lost: Iterable[Range], late: Iterable[Range]) -> list[Range]:
    """What of the lost is missing still, ascending: late fills have taken their ids out."""
    filled = sorted(late)
    return [part for gap in sorted(lost) for part in _without(gap, filled)]


def _without(gap: Range, filled: Sequence[Range]) -> Iterator[Range]:
    first, last = gap
    for begin, end in filled[bisect_left(filled, (first, 0)) :]:
        if begin > last:
            break
        if first < begin:
            yield first, begin - 1
        first = end + 1
    if first <= last:
        yield first, last


class Registry:
    """The gaps and late fills of a stream, in the order of its entries."""

    def __init__(self) -> None:
        self._lost: list[Range] = []
        self._late: list[Range] = []

    def begin_anew(self) -> None:
        """The exchange counts from another beginning: the script has forgotten what was lost before."""
        self._lost.clear()
        self._late.clear()

    def lose(self, lost: Range) -> None:
        """A gap says so."""
        self._lost.append(lost)

    def fill(self, late: Range) -> None:
        """Something came late."""
        self._late.append(late)

    def check(self, kept: Sequence[Range], oldest: int | None) -> Iterator[Finding]:
        """Compare with what the registry keeps. What is older than the id `oldest` was said before the stream begins.

        With None nothing can be told to be too much there.
        """
        said = set(still_open(self._lost, self._late))
        for first, last in sorted(said - set(kept)):
            yield Finding("unfounded", 1, f"{first}-{last} is lost, entries say; the registry does not keep it")
        for first, last in kept:
            if oldest is not None and last >= oldest and (first, last) not in said:
                yield Finding("unfounded", 1, f"the registry keeps {first}-{last} as lost, and no entry says so")
        for first, last in self._late:
            if oldest is not None and first >= oldest and not any(a <= first and last <= b for a, b in self._lost):
                yield Finding("unfounded", 1, f"{first}-{last} came late, and no entry says that it was lost")
        for (_, last), (first, _) in pairwise(sorted(self._late)):
            if first <= last:
                yield Finding("duplicates", 1, f"{first} came late twice")
