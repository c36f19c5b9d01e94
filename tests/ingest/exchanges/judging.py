"""What was emitted and what is on the bus, compared by the oracle of chaos runs; books without ids by their content."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

from msgspec import structs

from ingest.contract.codec import Entry, decode
from ingest.contract.events import Candle as EntryOfCandle
from ingest.contract.events import Gap
from ingest.contract.keys import StreamKey
from ingest.simulator import ledger
from ingest.simulator.ledger import Candle, Change, Struck
from tests.chaos.chronicle import Past
from tests.chaos.exchange import Truth, unsent
from tests.chaos.losses import Finding
from tests.chaos.oracle import Verdict, judge
from tests.ingest.exchanges.content import book_by_content, hits
from tests.ingest.exchanges.facts import FACTS
from tests.ingest.exchanges.joined import SECOND, Joined
from tests.ingest.exchanges.lives import Life


def verdict(joined: Joined, key: StreamKey) -> Verdict:
    """On one stream of a run."""
    closed = _closed(joined, key) if key.interval else ()
    return judged(key, joined.past(key.channel, key.symbol), joined.lives, joined.struck, closed)


def judged(
    key: StreamKey, past: Past, lives: Sequence[Life], struck: Sequence[Struck], closed: Sequence[Candle] = ()
) -> Verdict:
    """On what stands in a stream. `closed` are the candles that can be expected by now.

    What the ledger says was not sent may be missing where nothing tells: from tickers.
    """
    facts = FACTS[key.exchange]
    entries = [decode(*raw) for chapter in past.chapters for raw in chapter.entries]
    said = [life.emitted[str(key)] for life in lives]
    depths = [life.depths.get(str(key)) for life in lives]
    emitted = [*chain.from_iterable(said)]
    missed = unsent(struck)[str(key)]
    if changes := [event for event in emitted if isinstance(event, Change)]:
        assert depths[0] is not None
        words = book_by_content(entries, depths[0], changes, hits(struck, str(key)), proves=facts.proves_books)
        return _verdict(key, emitted, entries, [("wrong", each) for each in words])
    if key.channel == "trades" and not facts.numbers_trades:
        return judge(str(key), past, [Truth(emitted)])
    if key.interval and facts.closes_as_heard:
        last = _heard_last(emitted, missed)
        said = [_as_heard(events, last, entries) for events in said]
        closed = _as_heard(closed, last, entries)
    names = _Names(entries if key.channel == "ticker" and facts.coarse_tickers else ())
    named = [[structs.replace(event, s=names.of(event.s)) for event in events] for events in said]
    missed = {names.of(s) for s in missed}
    truths = [Truth(events, depth, (), missed) for events, depth in zip(named, depths, strict=True)]
    truths[0] = structs.replace(truths[0], candles=closed)
    return judge(str(key), past, truths)


def _heard_last(emitted: Iterable[ledger.Event], missed: Collection[str]) -> dict[int, Candle]:
    """By the time at which they open, the candles of which the end was kept back, as they were before."""
    heard: dict[int, Candle] = {}
    astray: set[int] = set()
    for said in emitted:
        if isinstance(said, Candle) and not said.closed and said.s in missed:
            astray.add(said.open_ns)
        elif isinstance(said, Candle) and not said.closed:
            astray.discard(said.open_ns)
            heard[said.open_ns] = said
    return {open_ns: candle for open_ns, candle in heard.items() if open_ns in astray}


def _as_heard(candles: Sequence[ledger.Event], last: Mapping[int, Candle], entries: Sequence[Entry]) -> list[Any]:
    """Those that closed as they were heard last are right to have done so."""
    volumes = {entry.s: Decimal(entry.event.volume) for entry in entries if isinstance(entry.event, EntryOfCandle)}
    return [
        structs.replace(heard, s=said.s, first=said.first, closed=True)
        if isinstance(said, Candle)
        and said.closed
        and (heard := last.get(said.open_ns))
        and volumes.get(said.s) == Decimal(heard.volume)
        else said
        for said in candles
    ]


class _Names:
    """What the reader calls a ticker of an exchange that gives none a name: it may tell those of one µs apart."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._said: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            if entry.type == "ticker":
                self._said[entry.s[:-3]].append(entry.s)

    def of(self, s: str) -> str:
        said = self._said[s[:-3]]
        return said.pop(0) if said else s


def _closed(joined: Joined, key: StreamKey) -> list[Candle]:
    pair = next(pair for pair in joined.market.pairs if pair.listing.symbol == key.symbol)
    price, amount = pair.listing.price, pair.listing.amount
    within_ns = int(FACTS[key.exchange].closes_within_s * SECOND)
    return [
        Candle(
            key=str(key),
            s=f"{bar.open_ns}.closed",
            first=f"{bar.open_ns}.closed",
            open_ns=bar.open_ns,
            open=price(bar.open),
            high=price(bar.high),
            low=price(bar.low),
            close=price(bar.close),
            volume=amount(bar.lots),
            closed=True,
        )
        for bar in pair.bars.closed(key.interval)
        if bar.end_ns + within_ns <= joined.now_ns
    ]


def _verdict(
    key: StreamKey, emitted: Sequence[ledger.Event], entries: Sequence[Entry], findings: Sequence[Finding]
) -> Verdict:
    found = Counter(kind for kind, _ in findings)
    return Verdict(
        key=str(key),
        emitted=len(emitted),
        entries=len(entries),
        gaps=sum(isinstance(entry.event, Gap) for entry in entries),
        words=tuple(words for _, words in findings)[:8],
        **{column: found[column] for column in ("lost", "doubled", "inverted", "unfounded", "wrong")},
    )
