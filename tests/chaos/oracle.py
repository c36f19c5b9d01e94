"""Judges what is left when everybody rests: exact, whatever went wrong before.

`ingest.audit` decides what is lost, doubled, turned round, altered or invented. What it lets pass is decided here:
every loss has one event with its exact range, no event stands without a loss, every book is right at every entry,
every closed candle is there once, every ticker was said.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from ingest.audit.account import Account
from ingest.audit.report import StreamReport
from ingest.contract.codec import Entry, UnreadableEntry, decode
from ingest.contract.events import Candle, Delta, Gap, Snapshot, Ticker, Trade
from ingest.contract.keys import parse_key
from ingest.simulator import ledger
from tests.chaos.market import Depth

Range = tuple[int, int]
RawEntry = tuple[bytes, Mapping[bytes, bytes]]
_EXAMPLES = 8


class Past(Struct, frozen=True):
    """One stream, and what the exchange says of it."""

    key: str
    entries: Sequence[RawEntry]
    registered: Sequence[Range]
    """The gaps that the server keeps."""
    emitted: Sequence[ledger.Record]
    depth: Depth | None = None
    """Of a book: what it was at some moment, every later change of which is in `emitted`."""
    candles: Sequence[ledger.Candle] = ()
    """Of candles: all that closed, heard by anybody or not."""


class Verdict(Struct, frozen=True, kw_only=True):
    """On one stream. All but the first three must be 0."""

    key: str
    emitted: int
    entries: int
    gaps: int
    """Events of loss, of which some or all ids may have come late."""
    lost: int
    """Emitted, and neither in the stream nor in a gap."""
    doubled: int
    inverted: int
    unfounded: int
    """Gaps that say too much or too little, twice, or something else than the server keeps."""
    wrong: int
    """Anything else."""
    words: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.inverted or self.unfounded or self.wrong)


def judge(past: Past) -> Verdict:
    """What became of what was emitted."""
    account = Account(past.key, past.emitted)
    for entry_id, fields in past.entries:
        account.read(entry_id, fields)
    report = account.close(past.registered)
    entries = list(_readable(past.entries))
    channel = parse_key(past.key).channel
    faults: list[tuple[str, str]] = [*_twice(entries)]
    if channel in ("trades", "orderbook"):
        faults += _registry(entries, past.registered)
    if channel == "trades":
        faults += _gaps_of_trades(entries, past.emitted)
    elif channel == "orderbook":
        faults += _gaps_of_book(entries, past.emitted)
        faults += _books(entries, past)
    elif channel == "ticker":
        faults += _tickers(entries, past.emitted)
    else:
        faults += _candles(entries, past.candles)
    return _verdict(report, faults, before_is_lost=channel == "trades")


def _verdict(report: StreamReport, faults: Sequence[tuple[str, str]], *, before_is_lost: bool) -> Verdict:
    found = Counter(kind for kind, _ in faults)
    return Verdict(
        key=report.key,
        emitted=report.emitted,
        entries=report.entries,
        gaps=found["gap"],
        # Nothing is trimmed in a run, and a worker hears a symbol's first trade of all.
        lost=report.unaccounted + found["lost"] + (report.before if before_is_lost else 0),
        doubled=report.duplicates + found["doubled"],
        inverted=report.disorder,
        unfounded=found["unfounded"],
        wrong=report.breaks + report.unreadable + report.invented + report.differs + found["wrong"],
        words=(*report.examples, *(words for kind, words in faults if kind != "gap"))[:_EXAMPLES],
    )


def _readable(raw: Iterable[RawEntry]) -> Iterator[Entry]:
    for entry_id, fields in raw:
        try:
            yield decode(entry_id, fields)
        except UnreadableEntry:
            continue  # the account has counted it


def _twice(entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    """An identity names one entry for ever. Of snapshots, deltas and trades the account knows."""
    seen: set[str] = set()
    for entry in entries:
        if isinstance(entry.event, Snapshot | Delta | Trade):
            continue
        if entry.s in seen:
            yield "doubled", f"{entry.type} {entry.s} comes twice"
        seen.add(entry.s)


def _lost_range(entry: Entry) -> Range | None:
    gap = entry.event
    if isinstance(gap, Gap) and gap.first_id and gap.last_id:
        return int(gap.first_id), int(gap.last_id)
    return None


def _registry(entries: Sequence[Entry], registered: Sequence[Range]) -> Iterator[tuple[str, str]]:
    """What the server keeps as lost is what the entries say, less what came late; and no id is lost twice."""
    said = sorted(lost for entry in entries if (lost := _lost_range(entry)))
    yield from [("gap", "")] * len(said)
    for (first, last), (next_first, next_last) in pairwise(said):
        if next_first <= last:
            yield "unfounded", f"{next_first}-{next_last} was registered although {first}-{last} was"
    late = sorted(int(entry.s) for entry in entries if entry.late)
    open_still = [part for lost in said for part in _without(lost, late)]
    if open_still != sorted(registered):
        yield "unfounded", f"entries say that {open_still} is lost, the server keeps {sorted(registered)}"


def _without(lost: Range, late: Sequence[int]) -> Iterator[Range]:
    first, last = lost
    for filled in late[bisect_left(late, first) : bisect_right(late, last)]:
        if first < filled:
            yield first, filled - 1
        first = filled + 1
    if first <= last:
        yield first, last


def _gaps_of_trades(entries: Sequence[Entry], emitted: Sequence[ledger.Record]) -> Iterator[tuple[str, str]]:
    """Every id of a gap was emitted, and is in the stream only as a late fill. The account has the converse."""
    ids = [int(record.s) for record in emitted]
    written = {int(entry.s) for entry in entries if isinstance(entry.event, Trade) and not entry.late}
    for entry in entries:
        if lost := _lost_range(entry):
            first, last = lost
            truly = ids[bisect_left(ids, first) : bisect_right(ids, last)]
            if len(truly) != last - first + 1:
                yield "unfounded", f"of {first}-{last} only {len(truly)} trades were emitted"
            if there := [trade for trade in truly if trade in written]:
                yield (
                    "unfounded",
                    f"{first}-{last} is registered as lost, but {len(there)} of it are there: {there[:3]}",
                )


def _gaps_of_book(entries: Sequence[Entry], emitted: Sequence[ledger.Record]) -> Iterator[tuple[str, str]]:
    """A gap reaches from what stands before it to the snapshot behind it, and a delta in between is missing."""
    written = {entry.s for entry in entries if isinstance(entry.event, Delta)}
    starts, deltas = [int(record.first) for record in emitted], [(int(r.first), int(r.s), r.s) for r in emitted]
    numbered = [entry for entry in entries if isinstance(entry.event, Delta | Snapshot) or _lost_range(entry)]
    for before, entry, behind in zip([None, *numbered], numbered, [*numbered[1:], None], strict=False):
        lost = _lost_range(entry)
        if lost is None:
            continue
        first, last = lost
        if before is not None and _end(before) != first - 1:
            yield "unfounded", f"{first}-{last} is registered as lost behind {before.type} {_end(before)}"
        if behind is not None and not (isinstance(behind.event, Snapshot) and int(behind.s) == last):
            yield "unfounded", f"{first}-{last} is registered as lost before {behind.type} {behind.s}"
        near = deltas[max(0, bisect_right(starts, first) - 1) : bisect_right(starts, last)]
        missing = [s for begin, end, s in near if end >= first and begin <= last and s not in written]
        if not missing:
            yield "unfounded", f"{first}-{last} is registered as lost, but no delta of it is missing"


def _end(entry: Entry) -> int:
    lost = _lost_range(entry)
    return lost[1] if lost else int(entry.s)


def _books(entries: Sequence[Entry], past: Past) -> Iterator[tuple[str, str]]:
    """What a reader makes of snapshots and deltas is the exchange's book after every delta, or nothing at all."""
    assert past.depth is not None
    truth = _History(past.depth, past.emitted)
    book: tuple[dict[str, str], dict[str, str]] | None = None
    epoch = 0
    for entry in entries:
        event = entry.event
        if isinstance(event, Snapshot):
            book = dict(event.bids), dict(event.asks)
            if entry.epoch is None or entry.epoch < epoch:
                yield "wrong", f"snapshot {entry.s} is of epoch {entry.epoch}, behind {epoch}"
            epoch = entry.epoch or 0
        elif isinstance(event, Gap):
            book = None
        elif isinstance(event, Delta):
            if book is None or entry.epoch != epoch:
                yield "wrong", f"delta {entry.s} of epoch {entry.epoch} belongs to no snapshot"
                continue
            _apply(book, event)
            truth.advance(int(entry.s))
            if truth.last_id == int(entry.s) and book != truth.book:
                yield "wrong", f"the book at {entry.s} is not the exchange's: {_unlike(book, truth.book)}"
                book = None


class _History:
    """The exchange's book, moved forwards by its own deltas."""

    def __init__(self, start: Depth, emitted: Iterable[ledger.Record]) -> None:
        self.last_id = start.last_id
        self.book = dict(start.bids), dict(start.asks)
        self._deltas = [record for record in emitted if isinstance(record, ledger.Delta)]
        self._at = 0

    def advance(self, to: int) -> None:
        """Apply what is behind the start and not behind `to`."""
        while self._at < len(self._deltas) and int(self._deltas[self._at].s) <= to:
            delta = self._deltas[self._at]
            self._at += 1
            if int(delta.s) > self.last_id:
                _apply(self.book, delta)
                self.last_id = int(delta.s)


def _apply(book: tuple[dict[str, str], dict[str, str]], delta: Delta | ledger.Delta) -> None:
    for side, levels in zip(book, (delta.bids, delta.asks), strict=True):
        for price, amount in levels:
            if amount.strip("0."):
                side[price] = amount
            else:
                side.pop(price, None)


def _unlike(book: tuple[dict[str, str], dict[str, str]], truth: tuple[dict[str, str], dict[str, str]]) -> str:
    unlike = [
        f"{name} {price} {mine.get(price)} for {theirs.get(price)}"
        for name, mine, theirs in zip(("bid", "ask"), book, truth, strict=True)
        for price in mine.keys() | theirs.keys()
        if mine.get(price) != theirs.get(price)
    ]
    return f"{len(unlike)} levels, {', '.join(unlike[:2])}"


def _tickers(entries: Sequence[Entry], emitted: Sequence[ledger.Record]) -> Iterator[tuple[str, str]]:
    known = {record.s for record in emitted}
    for entry in entries:
        if isinstance(entry.event, Ticker) and entry.s not in known:
            yield "wrong", f"ticker {entry.s} was never emitted"


def _candles(entries: Sequence[Entry], truth: Sequence[ledger.Candle]) -> Iterator[tuple[str, str]]:
    """From the first closed one that is there: each of them, but where a gap in time says otherwise."""
    closed = {e.event.open_ns: e.event for e in entries if isinstance(e.event, Candle) and e.event.closed}
    spans = [e.event for e in entries if isinstance(e.event, Gap) and e.event.from_ns is not None]
    oldest = min(closed, default=None)
    for said in truth:
        heard = closed.get(said.open_ns)
        if heard is None:
            excused = any((gap.from_ns or 0) <= said.open_ns <= (gap.to_ns or 0) for gap in spans)
            if oldest is not None and said.open_ns >= oldest and not excused:
                yield "lost", f"candle {said.s} closed and is not in the stream"
        elif any(getattr(heard, name) != getattr(said, name) for name in ("open", "high", "low", "close", "volume")):
            yield "wrong", f"candle {said.s} was {said}, the entry says {heard}"
