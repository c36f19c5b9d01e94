"""Judges what is left when everybody rests: exact, whatever went wrong before.

`ingest.audit` decides what is lost, doubled, turned round, altered or invented. What it lets pass is decided here:
every loss has one event with its exact range, no event stands without a loss, every book is right at every entry,
every closed candle is there once or in a gap, every ticker was said, and where some are left out the stream says so.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import pairwise

from msgspec import Struct, msgpack, structs

from ingest.audit.account import Account
from ingest.audit.report import StreamReport
from ingest.contract.codec import Entry, UnreadableEntry, decode
from ingest.contract.events import Candle, Delta, Gap, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import parse_key
from ingest.simulator import ledger
from tests.chaos.books import books
from tests.chaos.chronicle import Past, RawEntry
from tests.chaos.exchange import Truth
from tests.chaos.losses import Finding, gaps_of_book, gaps_of_trades, registry

_EXAMPLES = 8


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
    """What became of what was emitted, in each of the exchange's lives; where one ends and another begins is said."""
    verdict = _over_lives(key, past, lives)
    holes = [words for chapter in past.chapters or [past.entries] for words in _holes(_readable(chapter))]
    words = (*holes, *verdict.words)[:_EXAMPLES]
    return structs.replace(verdict, wrong=verdict.wrong + len(holes), words=words)


def _holes(entries: Iterable[Entry]) -> Iterator[str]:
    """Numbers go on by one, and from 1 in each generation."""
    g, n = "", 0
    for entry in entries:
        if entry.n != (n + 1 if entry.g == g else 1):
            yield f"n={entry.n} of {entry.g} stands behind n={n} of {g}"
        g, n = entry.g, entry.n


def _over_lives(key: str, past: Past, lives: Sequence[Truth]) -> Verdict:
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
    faults += _statuses(entries)
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
        # Not the report's breaks: here chapters stand joined that were not.
        wrong=report.unreadable + report.invented + report.differs + found["wrong"],
        words=(
            *(words for words in report.examples if not words.startswith("n=")),
            *(words for kind, words in faults if kind != "gap"),
        )[:_EXAMPLES],
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
    """Of each source what it said, in order, up to the last; where some of it is left out, `stale` stands there.

    A `stale` where nothing was left out is harmless: nobody listened for a while, and nothing was said.
    """
    said = {record.s: i for i, record in enumerate(emitted)}
    sources: dict[str, list[int]] = defaultdict(list)
    for s, i in said.items():
        sources[s.rpartition(".")[0]].append(i)
    heard: dict[str, int] = {}
    silent: set[str] = set()
    for entry in entries:
        if _is_stale(entry):
            silent.update(heard)
        if not isinstance(entry.event, Ticker):
            continue
        source = entry.s.rpartition(".")[0]
        if entry.s not in said:
            yield "wrong", f"ticker {entry.s} was never emitted"
            continue
        now, before = said[entry.s], heard.get(source, said[entry.s])
        left_out = bisect_left(sources[source], now) - bisect_right(sources[source], before)
        if left_out > 0 and source not in silent:
            yield "lost", f"{left_out} tickers before {entry.s} are not there, and nothing says that it was silent"
        heard[source] = now
        silent.discard(source)
    for source, indices in sources.items():
        if heard.get(source) != indices[-1]:
            yield "lost", f"ticker {emitted[indices[-1]].s} was the last one, and is not in the stream"


def _is_stale(entry: Entry) -> bool:
    return isinstance(entry.event, Status) and entry.event.state == "stale"


def _statuses(entries: Sequence[Entry]) -> Iterator[Finding]:
    """A word about the stream is not repeated before something has come that it does not hold for."""
    said = None
    for entry in entries:
        match entry.event:
            case Status(state=state):
                if state == said:
                    yield "wrong", f"status {entry.s} says {state} once more"
                said = state
            case Gap(after_g=str()):
                said = None
            case Ticker() | Snapshot() | Delta():
                said = said if said == "live" else None


def _candles(entries: Sequence[Entry], truth: Sequence[ledger.Candle]) -> Iterator[Finding]:
    """From the first closed one that is there: each of them once and right, but where a gap in time says otherwise."""
    closed = [e for e in entries if isinstance(e.event, Candle) and e.event.closed]
    heard = {e.event.open_ns: e.event for e in closed}
    spans = [e.event for e in entries if isinstance(e.event, Gap) and e.event.from_ns is not None]
    in_order = {e.event.open_ns for e in closed if not e.late}
    for gap in spans:
        if there := [open_ns for open_ns in in_order if _covers(gap, open_ns)]:
            yield "unfounded", f"{gap.from_ns}-{gap.to_ns} is registered as lost, but candle {there[0]} is there"
    oldest = min(heard, default=None)
    for said in truth:
        candle = heard.get(said.open_ns)
        if candle is None:
            if oldest is not None and said.open_ns >= oldest and not any(_covers(gap, said.open_ns) for gap in spans):
                yield "lost", f"candle {said.s} closed and is not in the stream"
        elif any(getattr(candle, name) != getattr(said, name) for name in ("open", "high", "low", "close", "volume")):
            yield "wrong", f"candle {said.s} was {said}, the entry says {candle}"


def _covers(gap: Gap, open_ns: int) -> bool:
    return (gap.from_ns or 0) <= open_ns <= (gap.to_ns or 0)
