"""Trades whose ids have no order: each is there once, or in a stretch of time that is said to be unverifiable."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from ingest.audit.registry import still_open
from ingest.contract.codec import Entry
from ingest.contract.events import Candle, Gap, Trade
from ingest.simulator import ledger
from tests.chaos.chronicle import Chapter, Range
from tests.chaos.losses import Finding

_MS = 1_000_000
_SAID = ("price", "amount", "side", "exchange_ns")


def trades_by_time(chapters: Sequence[Sequence[Entry]], lives: Sequence[Sequence[ledger.Record]]) -> Iterator[Finding]:
    """What is wrong with them, by what was emitted in each of the exchange's lives.

    A window says that something may be missing, not that it is. So it is right whether anything is or not, but it has
    to begin and end where the stream knows of a trade, else it would say too much. And there may be trades from before
    an exchange said the first of a life, by REST.
    """
    entries = [*chain.from_iterable(chapters)]
    there = {entry.s: entry.event for entry in entries if isinstance(entry.event, Trade)}
    traded = [{record.s: record for record in life if isinstance(record, ledger.Trade)} for life in lives]
    said = {s: trade for life in traded for s, trade in life.items()}
    windows = [window for entry in entries if (window := window_of(entry))]
    yield from chain.from_iterable(map(_in_order, chapters))
    for s, trade in said.items():
        known = there.get(s)
        ms = trade.exchange_ns // _MS
        if known is None and not any(first <= ms <= last for first, last in windows):
            yield "lost", f"trade {s} of {ms} ms was emitted, and neither it nor its time is in the stream"
        elif known is not None and (differ := [each for each in _SAID if getattr(known, each) != getattr(trade, each)]):
            yield "wrong", f"trade {s} says another {', '.join(differ)} than was emitted"
    unheard = [*_unheard(traded)]
    for s in there.keys() - said.keys():
        fetched_ns = there[s].exchange_ns if there[s].backfilled else None
        if fetched_ns is None or not any(since < fetched_ns < until for since, until in unheard):
            yield "wrong", f"trade {s} was never emitted"
    times = {ms for trade in there.values() if (ms := _ms(trade)) is not None}
    for window in windows:
        if not times.issuperset(window):
            yield "unfounded", f"the window {window[0]}-{window[1]} ms is not from a trade to a trade"


def _unheard(traded: Sequence[Mapping[str, ledger.Trade]]) -> Iterator[Range]:
    """Between the last trade of a life and the first of the next, both excluded, in ns."""
    since_ns = -1
    for life in traded:
        if times := [trade.exchange_ns for trade in life.values()]:
            yield since_ns, min(times)
            since_ns = max(times)


def registered_windows(
    chapters: Sequence[Sequence[Entry]], kept: Sequence[Chapter], length_ms: int | None = None
) -> Iterator[Finding]:
    """The server keeps the windows that the entries say, from the time on when it last forgot them.

    Of candles, which last `length_ms`, less what came late; of trades, whatever came late, others may be missing.
    """
    said: set[Range] = set()
    late: list[Range] = []
    for entries, chapter in zip(chapters, kept, strict=True):
        said |= {window for entry in entries if (window := window_of(entry))}
        if length_ms:
            opened = [e.event.open_ns // _MS for e in entries if e.late and isinstance(e.event, Candle)]
            late += [(ms, ms + length_ms - 1) for ms in opened]
        if chapter.registered is not None:
            if (open_still := still_open(said, late)) != sorted(chapter.registered):
                yield "unfounded", f"entries say the windows {open_still}, the server keeps {chapter.registered}"
            said, late = set(), []


def window_of(entry: Entry) -> Range | None:
    """In ms, both inclusive."""
    gap = entry.event
    if isinstance(gap, Gap) and gap.from_ns is not None and gap.to_ns is not None:
        return gap.from_ns // _MS, gap.to_ns // _MS
    return None


def _in_order(entries: Sequence[Entry]) -> Iterator[Finding]:
    """What stood there together."""
    seen: set[str] = set()
    newest_ms = 0
    for entry in entries:
        if entry.s in seen:
            yield "doubled", f"{entry.type} {entry.s} comes twice"
        seen.add(entry.s)
        if isinstance(entry.event, Trade) and (ms := _ms(entry.event)) is not None:
            if ms < newest_ms and not entry.late:
                yield "inverted", f"trade {entry.s} stands behind a later one, and does not say that it is late"
            newest_ms = max(newest_ms, ms)


def _ms(trade: Trade) -> int | None:
    return None if trade.exchange_ns is None else trade.exchange_ns // _MS
