"""Judges what is left when everybody rests: exact, whatever went wrong before.

`ingest.audit` decides what is lost, doubled, turned round, altered or invented. What it lets pass is decided here:
every loss has one event with its exact range, no event stands without a loss, every book is right at every entry,
every closed candle is there once, every ticker was said.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import pairwise

from msgspec import Struct, msgpack, structs

from ingest.audit.account import Account
from ingest.audit.report import StreamReport
from ingest.contract.codec import Entry, UnreadableEntry, decode
from ingest.contract.events import Candle, Delta, Gap, Snapshot, Ticker, Trade
from ingest.contract.keys import parse_key
from ingest.simulator import ledger
from tests.chaos.books import books
from tests.chaos.chronicle import Past, RawEntry
from tests.chaos.exchange import Truth
from tests.chaos.losses import Finding, gaps_of_book, gaps_of_trades, registry

_EXAMPLES = 8
_ANEW = re.compile(r"~\d+")
"""In the name of a source that has begun to count anew."""


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


def judge(key: str, past: Past, lives: Sequence[Truth]) -> Verdict:
    """What became of what was emitted, in each of the exchange's lives; where one ends and another begins is said.

    But not of candles, for time goes on, nor of tickers, whose sources get new names.
    """
    if parse_key(key).interval or parse_key(key).channel == "ticker":
        candles = [candle for life in lives for candle in life.candles]
        return _judge(key, past, Truth([record for life in lives for record in life.emitted], None, candles))
    series = list(_series(past))
    if len(series) == len(lives):
        verdicts = [_judge(key, part, truth) for part, truth in zip(series, lives, strict=True)]
        return reduce(_and, verdicts)
    emitted = [record for life in lives for record in life.emitted]
    verdict = _judge(key, past, Truth(emitted, lives[0].depth, lives[-1].candles))
    words = f"the exchange began anew {len(lives) - 1} times, the stream says so {len(series) - 1} times"
    return structs.replace(verdict, wrong=verdict.wrong + 1, words=(words, *verdict.words))


def _series(past: Past) -> Iterator[Past]:
    """Cut where the stream says that the exchange began anew."""
    at = [i for i, (_, fields) in enumerate(past.entries) if fields.get(b"type") == b"gap" and _begins_anew(fields)]
    for first, last in pairwise((0, *at, len(past.entries))):
        yield structs.replace(past, entries=past.entries[first:last])


def _begins_anew(fields: Mapping[bytes, bytes]) -> bool:
    gap = msgpack.decode(fields[b"data"], type=Gap)
    return gap.reason == "series_restart"


def _and(one: Verdict, other: Verdict) -> Verdict:
    mine, others = structs.asdict(one), structs.asdict(other)
    return Verdict(**{name: mine[name] if name == "key" else mine[name] + others[name] for name in mine})


def _judge(key: str, past: Past, truth: Truth) -> Verdict:
    account = Account(key, truth.emitted)
    for entry_id, fields in past.entries:
        account.read(entry_id, fields)
    report = account.close(past.registered)
    entries = list(_readable(past.entries))
    channel = parse_key(key).channel
    faults = [*_twice(entries), *_renamed(entries, past.witnessed)]
    if channel in ("trades", "orderbook"):
        faults += registry(entries, past.registered)
    if channel == "trades":
        faults += gaps_of_trades(entries, truth.emitted)
    elif channel == "orderbook":
        faults += gaps_of_book(entries, truth.emitted)
        faults += books(entries, truth)
    elif channel == "ticker":
        faults += _tickers(entries, truth.emitted)
    else:
        faults += _candles(entries, truth.candles)
    return _verdict(report, faults, before_is_lost=channel == "trades")


def _verdict(report: StreamReport, faults: Sequence[Finding], *, before_is_lost: bool) -> Verdict:
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


def _twice(entries: Sequence[Entry]) -> Iterator[Finding]:
    """An identity names one entry for ever. Of snapshots, deltas and trades the account knows."""
    seen: set[str] = set()
    for entry in entries:
        if isinstance(entry.event, Snapshot | Delta | Trade):
            continue
        if entry.s in seen:
            yield "doubled", f"{entry.type} {entry.s} comes twice"
        seen.add(entry.s)


def _renamed(entries: Sequence[Entry], witnessed: Iterable[RawEntry]) -> Iterator[Finding]:
    """A number of a generation means one event for ever: readers keep their place by it."""
    said = {(entry.g, entry.n): entry.s for entry in entries}
    for seen in _readable(witnessed):
        if (now := said.get((seen.g, seen.n), seen.s)) != seen.s:
            yield "wrong", f"n={seen.n} of {seen.g} was {seen.type} {seen.s} and is {now}"


def _tickers(entries: Sequence[Entry], emitted: Sequence[ledger.Record]) -> Iterator[Finding]:
    """Some of what was said, and of each source what it said last: by then nothing was wrong any more."""
    heard = {_ANEW.sub("", entry.s) for entry in entries if isinstance(entry.event, Ticker)}
    for s in sorted(heard - {record.s for record in emitted}):
        yield "wrong", f"ticker {s} was never emitted"
    newest = {record.s.partition(".")[0]: record.s for record in emitted}
    for s in newest.values():
        if s not in heard:
            yield "lost", f"ticker {s} was the last one, and is not in the stream"


def _candles(entries: Sequence[Entry], truth: Sequence[ledger.Candle]) -> Iterator[Finding]:
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
