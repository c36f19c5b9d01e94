"""Judges what is left when everybody rests: exact, whatever went wrong before.

`ingest.audit` decides what is doubled, turned round, altered or invented. What it lets pass is decided here: all
that was emitted is there or said to be lost, every loss has one event with its exact range, no event stands without a
loss, every book is right at every entry, every closed candle is there once or in a gap, and where tickers are left out
the stream says so.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain, pairwise

from msgspec import Struct, structs

from ingest.audit.account import Account
from ingest.audit.registry import begins_anew
from ingest.contract.codec import Entry, UnreadableEntry, decode
from ingest.contract.events import Candle, Delta, Gap, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import parse_key
from ingest.simulator import ledger
from ingest.simulator.bars import INTERVALS
from tests.chaos.books import books
from tests.chaos.chronicle import Past, Range, RawEntry
from tests.chaos.endings import Part, begins_at, excused, misplaced
from tests.chaos.exchange import Truth, has_order
from tests.chaos.losses import Finding, gaps_of_book, gaps_of_trades, lost_still, registry
from tests.chaos.opaque import registered_windows, trades_by_time

Fields = dict[bytes, bytes]

_COLUMNS = ("lost", "doubled", "inverted", "unfounded", "wrong")
_OF_CANDLES = ("open", "high", "low", "close", "volume")
_EXAMPLES = 8
ANEW = re.compile(r"~\d+")
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

    But not of candles, for time goes on, nor of tickers, whose sources get new names, nor of trades whose ids have no
    order.
    """
    channel, interval = parse_key(key).channel, parse_key(key).interval or ""
    numbered = channel in ("orderbook", "trades") and has_order(parse_key(key))
    if not numbered:
        spoken = [life.emitted for life in lives]
        candles = [candle for life in lives for candle in life.candles]
        unsent = {s for life in lives for s in (*life.unsent, *_overtaken(life))}
        lives = [Truth([record for life in lives for record in life.emitted], None, candles, unsent)]
    chapters = [list(_readable(chapter.entries)) for chapter in past.chapters]
    # Of a state, an old one that is written again later than a new one is not the same as before.
    told = chapters if channel == "ticker" else _told_once(chapters)
    whole = [*chain.from_iterable(told)]
    findings = [
        *_unreadable(past, chapters),
        *_renamed(whole, past.witnessed),
        *chain.from_iterable(map(_holes, chapters)),
    ]
    if channel == "ticker":
        findings += _tickers(whole, lives[0])
    elif numbered:
        findings += _registries(past, chapters)
        findings += _lives(channel, chapters, lives)
        findings += misplaced(_cut(chapters, lives), partial(_nearest, lives))
    elif channel == "trades":
        findings += trades_by_time(chapters, spoken)
        findings += registered_windows(chapters, past.chapters)
    else:
        findings += _candles(told, lives[0].candles)
        findings += registered_windows(chapters, past.chapters, INTERVALS[interval] // 1_000_000)
    for life, part, raw in _parts(past, chapters, lives) if channel != "trades" or numbered else ():
        findings += _sound(key, part, raw, lives[life])
    return Verdict(
        key=key,
        emitted=sum(len(truth.emitted) for truth in lives),
        entries=sum(map(len, chapters)),
        gaps=sum(isinstance(entry.event, Gap) and entry.event.after_g is None for entry in whole),
        words=tuple(words for _, words in findings if words)[:_EXAMPLES],
        **{column: sum(kind == column for kind, _ in findings) for column in _COLUMNS},
    )


def _told_once(chapters: Iterable[Sequence[Entry]]) -> list[list[Entry]]:
    """What each chapter has that none before it had; and where a series begins, said again or not."""
    known: set[tuple[str, str]] = set()
    told = []
    for chapter in chapters:
        told.append([entry for entry in chapter if begins_anew(entry) or (entry.type, entry.s) not in known])
        known.update((entry.type, entry.s) for entry in chapter)
    return told


def _series(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut where the stream says that the exchange began anew."""
    at = [i for i, entry in enumerate(entries) if begins_anew(entry)]
    for first, last in pairwise((0, *at, len(entries))):
        yield list(entries[first:last])


def _lives(channel: str, chapters: Sequence[Sequence[Entry]], lives: Sequence[Truth]) -> Iterator[Finding]:
    """Each of the exchange's lives is in the stream, and whole; what may be missing of it is told, see `Excuses`."""
    stood = _cut(chapters, lives)
    told = [part for chapter in _told_once(chapters) for part in _series(chapter)]
    parts = [structs.replace(part, entries=entries) for part, entries in zip(stood, told, strict=True)]
    excuses = excused(parts, partial(_nearest, lives), is_book=channel == "orderbook")
    for life, truth in enumerate(lives):
        own = [part for part in parts if part.life == life]
        entries = [entry for part in own for entry in part.entries]
        owed = excuses.owed(life, truth.emitted)
        if not any(entry.s.isdigit() for entry in entries) and owed and life not in excuses.unsaid:
            yield "wrong", f"the exchange began anew {len(lives) - 1} times, of time {life} the stream says nothing"
        elif life not in excuses.unsaid:
            yield from _numbered(channel, entries, owed, excuses.of(life))
        if channel == "trades":
            yield from gaps_of_trades(entries, truth.emitted)
        else:
            yield from gaps_of_book([(p.chapter, p.entries) for p in stood if p.life == life], truth.emitted)


def _cut(chapters: Sequence[Sequence[Entry]], lives: Sequence[Truth]) -> list[Part]:
    """By chapter and series."""
    return [
        Part(_life(part, lives), chapter, begins_at(part), part)
        for chapter, said in enumerate(chapters)
        for part in _series(said)
    ]


def _life(part: Sequence[Entry], lives: Sequence[Truth]) -> int:
    """To which a part belongs: that whose ids are nearest; of several that begin alike, that which said the same."""
    number = next((int(entry.s) for entry in part if entry.s.isdigit()), None)
    if number is None:
        return 0
    nearest = _all_nearest(lives, number)
    deltas = {entry.s: (entry.event.bids, entry.event.asks) for entry in part if isinstance(entry.event, Delta)}
    for life in nearest if len(nearest) > 1 else ():
        said = (each for each in lives[life].emitted if isinstance(each, ledger.Delta) and each.s in deltas)
        if any(deltas[each.s] == (each.bids, each.asks) for each in said):
            return life
    return nearest[0]


def _nearest(lives: Sequence[Truth], number: int) -> int:
    return _all_nearest(lives, number)[0]


def _all_nearest(lives: Sequence[Truth], number: int) -> list[int]:
    away = [abs((int(life.emitted[0].s) if life.emitted else 1 << 60) - number) for life in lives]
    return [life for life, distance in enumerate(away) if distance == min(away)]


def _parts(
    past: Past, chapters: Sequence[Sequence[Entry]], lives: Sequence[Truth]
) -> Iterator[tuple[int, list[Entry], dict[str, Fields]]]:
    """Each chapter cut likewise, as read and as it stood there, and to which of the exchange's lives a part belongs."""
    for chapter, entries in zip(past.chapters, chapters, strict=True):
        raw = {entry_id.decode(): fields for entry_id, fields in chapter.entries}
        for part in _series(entries):
            yield _life(part, lives), part, raw


def _registries(past: Past, chapters: Sequence[Sequence[Entry]]) -> Iterator[Finding]:
    """Whenever the server forgot which gaps it kept, and in the end: of the series that it was in."""
    era: list[Sequence[Entry]] = []
    for chapter, entries in zip(past.chapters, chapters, strict=True):
        era.append(entries)
        if chapter.registered is not None:
            *_, series = _series([*chain.from_iterable(_told_once(era))])
            yield from registry(series, chapter.registered)
            era = []


def _numbered(
    channel: str, entries: Sequence[Entry], emitted: Sequence[ledger.Record], excuses: Sequence[Range]
) -> Iterator[Finding]:
    """Nothing is trimmed in a run, and a worker hears a symbol's first trade of all; a book begins with a snapshot."""
    kinds = (Trade,) if channel == "trades" else (Delta,)
    there = {entry.s for entry in entries if isinstance(entry.event, kinds)}
    gaps = lost_still(entries)
    begins = 0
    if channel == "orderbook":
        begins = next((int(entry.s) for entry in entries if isinstance(entry.event, Snapshot | Delta)), 0)
    for record in emitted:
        number = int(record.s)
        # Of two chapters each may have a gap of its own, one within the other.
        lost = any(first <= number <= last for first, last in gaps)
        told = any(first <= number <= last for first, last in excuses)
        if record.s not in there and not lost and not told and number > begins:
            yield "lost", f"{type(record).__name__.lower()} {record.s} was emitted and is not in the stream"


def _sound(key: str, entries: Sequence[Entry], raw: Mapping[str, Fields], truth: Truth) -> Iterator[Finding]:
    """What stood there together is in order, each once, as the exchange said it."""
    account = Account(key, truth.emitted)
    for entry in entries:
        account.read(entry.id.encode(), raw[entry.id])
    report = account.close(())
    yield from [("doubled", "")] * report.duplicates
    yield from [("inverted", "")] * report.disorder
    yield from [("wrong", "")] * (report.invented + report.differs)
    # What is missing is missing here, and may be elsewhere; of numbers see _holes.
    yield from [
        ("", words) for words in report.examples if not words.startswith("n=") and "emitted and is" not in words
    ]
    yield from _twice(entries)
    yield from _statuses(entries)
    if parse_key(key).channel == "orderbook":
        yield from books(entries, truth)


def _unreadable(past: Past, chapters: Sequence[Sequence[Entry]]) -> Iterator[Finding]:
    raw, readable = sum(len(chapter.entries) for chapter in past.chapters), sum(map(len, chapters))
    if raw != readable:
        yield "wrong", f"{raw - readable} entries cannot be read"


def _holes(entries: Iterable[Entry]) -> Iterator[Finding]:
    """Numbers go on by one, and from 1 in each generation, which says behind which entry it begins."""
    g, n = "", 0
    for entry in entries:
        if entry.n != (n + 1 if entry.g == g else 1):
            yield "wrong", f"n={entry.n} of {entry.g} stands behind n={n} of {g}"
        elif entry.g != g and g and not _follows(entry, g, n):
            yield "wrong", f"{entry.g} begins behind n={n} of {g}, and does not say so"
        g, n = entry.g, entry.n


def _follows(entry: Entry, g: str, n: int) -> bool:
    gap = entry.event
    return isinstance(gap, Gap) and (gap.after_g, gap.after_n) == (g, n)


def _readable(raw: Iterable[RawEntry]) -> Iterator[Entry]:
    for entry_id, fields in raw:
        try:
            yield decode(entry_id, fields)
        except UnreadableEntry:
            continue  # they are counted


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


def _tickers(entries: Sequence[Entry], truth: Truth) -> Iterator[Finding]:
    """Of each source what it said, up to the last; where any was left out, `stale` or a loss of Redis's is told before.

    A `stale` where nothing was left out is harmless: nobody listened for a while, and nothing was said.
    """
    there = {ANEW.sub("", entry.s) for entry in entries if isinstance(entry.event, Ticker)}
    emitted = [record for record in truth.emitted if record.s in there or record.s not in truth.unsent]
    said = {record.s: i for i, record in enumerate(emitted)}
    missing: dict[str, list[int]] = defaultdict(list)
    newest = {}
    for s, i in said.items():
        newest[_source(s)] = i
        if s not in there:
            missing[_source(s)].append(i)
    heard: dict[str, int] = {}
    silent: set[str] = set()
    for entry in entries:
        if _is_silence(entry):
            silent.update(heard)
        if not isinstance(entry.event, Ticker):
            continue
        s = ANEW.sub("", entry.s)
        source = _source(s)
        if s not in said:
            yield "wrong", f"ticker {s} was never emitted"
            continue
        now, before = said[s], heard.get(source, said[s])
        left_out = bisect_left(missing[source], now) - bisect_right(missing[source], before)
        if left_out > 0 and source not in silent:
            yield "lost", f"{left_out} tickers before {s} are not there, and nothing says that it was silent"
        heard[source] = now
        silent.discard(source)
    for source, i in newest.items():
        if heard.get(source) != i:
            yield "lost", f"ticker {emitted[i].s} was the last one, and is not in the stream"


def _overtaken(life: Truth) -> Iterator[str]:
    """Tickers that were emitted behind newer ones: a snapshot has in it what its exchange says a moment later."""
    newest: dict[str, int] = {}
    for record in life.emitted:
        if isinstance(record, ledger.Ticker):
            source, _, mark = record.s.rpartition(".")
            if int(mark) < newest.get(source, 0):
                yield record.s
            newest[source] = max(int(mark), newest.get(source, 0))


def _source(s: str) -> str:
    return s.rpartition(".")[0]


def _is_silence(entry: Entry) -> bool:
    match entry.event:
        case Status(state="stale") | Gap(after_g=str()):
            return True
    return False


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


def _candles(told: Sequence[Sequence[Entry]], truth: Sequence[ledger.Candle]) -> Iterator[Finding]:
    """From the first closed one that is there: each of them once and right, but where a gap in time says otherwise.

    A gap may be of what stood in the stream before it was taken away.
    """
    heard: dict[int, Candle] = {}
    spans: list[Gap] = []
    for entries in told:
        closed = [e for e in entries if isinstance(e.event, Candle) and e.event.closed]
        in_order = [e.event.open_ns for e in closed if isinstance(e.event, Candle) and not e.late]
        gaps = [e.event for e in entries if isinstance(e.event, Gap) and e.event.from_ns is not None]
        heard |= {e.event.open_ns: e.event for e in closed if isinstance(e.event, Candle)}
        spans += gaps
        for gap in gaps:
            if there := [open_ns for open_ns in in_order if _covers(gap, open_ns)]:
                yield "unfounded", f"{gap.from_ns}-{gap.to_ns} is registered as lost, but candle {there[0]} is there"
    oldest = min(heard, default=None)
    for said in truth:
        candle = heard.get(said.open_ns)
        if candle is None:
            if oldest is not None and said.open_ns >= oldest and not any(_covers(gap, said.open_ns) for gap in spans):
                yield "lost", f"candle {said.s} closed and is not in the stream"
        elif any(Decimal(getattr(candle, name)) != Decimal(getattr(said, name)) for name in _OF_CANDLES):
            yield "wrong", f"candle {said.s} was {said}, the entry says {candle}"


def _covers(gap: Gap, open_ns: int) -> bool:
    return (gap.from_ns or 0) <= open_ns <= (gap.to_ns or 0)
