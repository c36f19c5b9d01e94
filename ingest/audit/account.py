"""One stream's account: what an exchange emitted, set against what the stream has and what it says it lost."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from operator import eq

from msgspec import structs

from ingest.audit.registry import begins_anew
from ingest.audit.report import EXAMPLES, StreamReport
from ingest.contract.codec import Entry, UnreadableEntry, decode
from ingest.contract.events import Body, Candle, Delta, Snapshot, Ticker, Trade
from ingest.simulator import ledger
from ingest.simulator.ledger import Record

_FOREVER = 1 << 80
_MS = 1_000_000
_NOT_SAID = ("key", "s", "first", "answer")
"""What the bus says elsewhere, or not at all."""
_NUMBERED = (ledger.Trade, ledger.Delta)


class Account:
    """One stream's entries, compared one by one as they are read with what the exchange says it emitted."""

    def __init__(self, key: str, emitted: Iterable[Record] = (), *, opaque: bool = False) -> None:
        """`opaque` says that ids of trades have no order; where that is asked for, their times do, in ms."""
        self._key = key
        self._opaque = opaque
        self._missing = {record.s: record for record in emitted}
        self._emitted = len(self._missing)
        first = next(iter(self._missing.values()), None)
        self._first_id = self._number_of(first) if isinstance(first, _NUMBERED) else _FOREVER
        self._oldest_id: int | None = None
        self._place: tuple[str, int] | None = None
        self._compared: set[str] = set()
        self._said: tuple[str, str] | None = None
        self._newest: dict[str, tuple[int, int]] = {}
        self._counts: Counter[str] = Counter()
        self._examples: list[str] = []

    def read(self, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry | None:
        """The next entry, decoded; None if it cannot be read."""
        self._counts["entries"] += 1
        try:
            entry = decode(entry_id, fields)
        except UnreadableEntry as bad:
            self._wrong("unreadable", f"{entry_id.decode()}: {bad}")
            return None
        self._follow(entry)
        if begins_anew(entry):
            self._newest.clear()
        if entry.event is None:
            return entry
        if self._again(entry, entry.event):
            self._wrong("duplicates", f"{entry.type} {entry.s} comes twice")
            return entry
        self._order(entry, entry.event)
        self._compare(entry, entry.event)
        return entry

    def close(self, gaps: Sequence[tuple[int, int]]) -> StreamReport:
        """The stream ends here; `gaps` are the ranges of ids registered as lost, ascending."""
        for record in self._missing.values():
            kind = self._excuse(record, gaps)
            if kind == "unaccounted":
                self._wrong(kind, f"{type(record).__name__.lower()} {record.s} was emitted and is not in the stream")
            else:
                self._counts[kind] += 1
        report = StreamReport(key=self._key, emitted=self._emitted, gaps=len(gaps), examples=tuple(self._examples))
        return structs.replace(report, **self._counts)

    def _follow(self, entry: Entry) -> None:
        last, self._place = self._place, (entry.g, entry.n)
        if last and entry.n != (last[1] + 1 if entry.g == last[0] else 1):
            self._wrong("breaks", f"n={entry.n} of {entry.g} stands behind n={last[1]} of {last[0]}")

    def _again(self, entry: Entry, event: Body) -> bool:
        """Whether a trade or delta was there before: a ledger says so of all that it has, else only of the newest."""
        if not isinstance(event, Trade | Delta):
            return False
        before, self._said = self._said, (entry.type, entry.s)
        return entry.s in self._compared or before == self._said

    def _order(self, entry: Entry, event: Body) -> None:
        number = self._number(entry.s, event)
        where = _mark(entry.s, event) if number is None else ("", (number, 0))
        if where is None or entry.late:
            return
        line, mark = where
        newest = self._newest.get(line)
        # A snapshot repeats the id of the delta before it, and trades may share a time.
        if newest and (mark < newest or (mark == newest and not (self._opaque or isinstance(event, Snapshot)))):
            self._wrong("disorder", f"{entry.type} {entry.s} stands behind a newer one")
        else:
            self._newest[line] = mark

    def _compare(self, entry: Entry, event: Body) -> None:
        number = self._number(entry.s, event)
        if number is not None and self._oldest_id is None:
            self._oldest_id = number
        # A snapshot may bear the id of a delta, but it does not say what the delta said.
        record = None if isinstance(event, Snapshot) else self._missing.pop(entry.s, None)
        if record is not None:
            self._compared.add(entry.s)
            self._counts["in_stream"] += 1
            if difference := _difference(record, event):
                self._wrong("differs", f"{entry.type} {entry.s}: {difference}")
        elif isinstance(event, Trade | Delta) and number is not None and number > self._first_id:
            self._wrong("invented", f"{entry.type} {entry.s} was never emitted")
        if isinstance(event, Trade) and event.count:
            for merged in range(1, event.count):
                self._counts["in_stream"] += self._missing.pop(str(int(entry.s) - merged), None) is not None

    def _excuse(self, record: Record, gaps: Sequence[tuple[int, int]]) -> str:
        if not isinstance(record, _NUMBERED):
            return "superseded" if self._counts["entries"] else "unaccounted"
        number = self._number_of(record)
        position = bisect_right(gaps, (number, _FOREVER))
        if position and gaps[position - 1][1] >= number:
            return "in_gaps"
        return "before" if self._oldest_id is not None and number <= self._oldest_id else "unaccounted"

    def _number(self, s: str, event: Body) -> int | None:
        """What puts trades and books in order, if anything does."""
        if self._opaque and isinstance(event, Trade):
            return None if event.exchange_ns is None else event.exchange_ns // _MS
        return int(s) if isinstance(event, Trade | Delta | Snapshot) and s.isdecimal() else None

    def _number_of(self, record: ledger.Trade | ledger.Delta) -> int:
        if self._opaque and isinstance(record, ledger.Trade):
            return record.exchange_ns // _MS
        return int(record.s)

    def _wrong(self, kind: str, words: str) -> None:
        self._counts[kind] += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append(words)


def _mark(s: str, event: Body) -> tuple[str, tuple[int, int]] | None:
    """The line of succession that an event belongs to, and its place there; None for what has none."""
    match event:
        case Ticker():
            name, _, mark = s.rpartition(".")
            source, _, series = name.partition("~")  # how often it has begun to count anew
            return (source, (int(series or 0), int(mark))) if mark.isdecimal() else None
        case Candle():
            mark = s.rpartition(".")[2]
            return "", (event.open_ns, int(mark) if mark.isdecimal() else _FOREVER)
    return None


def _difference(record: Record, event: Body) -> str:
    """The first thing that the entry says otherwise, if any. Merged trades are no single trade's equal."""
    if isinstance(event, Trade) and event.count:
        return ""
    # REST may write a number with other digits than the stream does.
    same = _same_number if getattr(event, "backfilled", None) else eq
    for name in record.__struct_fields__:
        emitted, said = getattr(record, name), getattr(event, name, None)
        if name not in _NOT_SAID and emitted is not None and not same(emitted, said):
            return f"{name} was {emitted!r}, the entry says {said!r}"
    return ""


def _same_number(emitted: object, said: object) -> bool:
    if isinstance(emitted, str) and isinstance(said, str) and emitted[:1].isdigit() and said[:1].isdigit():
        return Decimal(emitted) == Decimal(said)
    return emitted == said
