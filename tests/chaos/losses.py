"""Whether every loss has one event with its exact range, and every such event its loss."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ingest.audit.registry import still_open
from ingest.contract.codec import Entry
from ingest.contract.events import Delta, Gap, Snapshot, Trade
from ingest.simulator import ledger
from tests.chaos.chronicle import Range

Finding = tuple[str, str]
"""Which column of the verdict, and why."""


def lost_range(entry: Entry) -> Range | None:
    gap = entry.event
    if isinstance(gap, Gap) and gap.first_id and gap.last_id:
        return int(gap.first_id), int(gap.last_id)
    return None


def registry(entries: Sequence[Entry], registered: Sequence[Range]) -> Iterator[Finding]:
    """What the server keeps as lost is what the entries say, less what came late; and no id is lost twice."""
    said = sorted(lost for entry in entries if (lost := lost_range(entry)))
    for (first, last), (next_first, next_last) in pairwise(said):
        if next_first <= last:
            yield "unfounded", f"{next_first}-{next_last} was registered although {first}-{last} was"
    if (open_still := lost_still(entries)) != sorted(registered):
        yield "unfounded", f"entries say that {open_still} is lost, the server keeps {sorted(registered)}"


def lost_still(entries: Sequence[Entry]) -> list[Range]:
    """What the entries say is lost, less what came late."""
    said = sorted(lost for entry in entries if (lost := lost_range(entry)))
    return sorted(still_open(said, [(int(entry.s), int(entry.s)) for entry in entries if entry.late]))


def gaps_of_trades(entries: Sequence[Entry], emitted: Sequence[ledger.Record]) -> Iterator[Finding]:
    """Every id of a gap was emitted, and is in the stream only as a late fill. The account has the converse."""
    ids = [int(record.s) for record in emitted]
    written = {int(entry.s) for entry in entries if isinstance(entry.event, Trade) and not entry.late}
    for entry in entries:
        if lost := lost_range(entry):
            first, last = lost
            truly = ids[bisect_left(ids, first) : bisect_right(ids, last)]
            if len(truly) != last - first + 1:
                yield "unfounded", f"of {first}-{last} only {len(truly)} trades were emitted"
            if there := [trade for trade in truly if trade in written]:
                yield (
                    "unfounded",
                    f"{first}-{last} is registered as lost, but {len(there)} of it are there: {there[:3]}",
                )


def gaps_of_book(parts: Sequence[tuple[int, Sequence[Entry]]], emitted: Sequence[ledger.Record]) -> Iterator[Finding]:
    """A gap reaches from what stands before it to the snapshot behind it, and a delta in between is missing.

    `parts` are of one series, each with the chapter that it is in. What stood in a chapter before was taken away whole:
    a gap that is the first in its chapter may reach back behind where that ended.
    """
    starts, deltas = [int(record.first) for record in emitted], [(int(r.first), int(r.s), r.s) for r in emitted]
    numbered = [
        (chapter, entry)
        for chapter, entries in parts
        for entry in entries
        if isinstance(entry.event, Delta | Snapshot) or lost_range(entry)
    ]
    for i, (chapter, entry) in enumerate(numbered):
        lost = lost_range(entry)
        if lost is None:
            continue
        first, last = lost
        earlier, before = numbered[i - 1] if i else (chapter, None)
        reaches_back = earlier != chapter
        if before is not None and first - 1 != _end(before) and not (reaches_back and first - 1 < _end(before)):
            yield "unfounded", f"{first}-{last} is registered as lost behind {before.type} {_end(before)}"
        _, behind = numbered[i + 1] if i + 1 < len(numbered) else (chapter, None)
        if behind is not None and not (isinstance(behind.event, Snapshot) and int(behind.s) == last):
            yield "unfounded", f"{first}-{last} is registered as lost before {behind.type} {behind.s}"
        near = deltas[max(0, bisect_right(starts, first) - 1) : bisect_right(starts, last)]
        written = {
            e.s for where, e in numbered if isinstance(e.event, Delta) and (where == chapter or not reaches_back)
        }
        missing = [s for begin, end, s in near if end >= first and begin <= last and s not in written]
        if not missing:
            yield "unfounded", f"{first}-{last} is registered as lost, but no delta of it is missing"


def _end(entry: Entry) -> int:
    lost = lost_range(entry)
    return lost[1] if lost else int(entry.s)
