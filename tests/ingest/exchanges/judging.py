"""What was emitted and what stands on the bus, compared by the oracle of the chaos runs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

from msgspec import structs

from ingest.contract.codec import Entry
from ingest.contract.events import Delta, Gap, Snapshot, Status
from ingest.contract.keys import StreamKey
from ingest.simulator.ledger import Candle, Change
from tests.chaos.exchange import Depth, Truth, unsent
from tests.chaos.oracle import Verdict, judge
from tests.ingest.exchanges.joined import SECOND, Joined

SYMBOLS = {"binance": ("BTC/USDT", "ETH/USDT"), "kraken": ("BTC/USD", "ETH/USD"), "okx": ("BTC/USDT", "ETH/USDT")}
"""What is played with on each exchange."""

_CLOSES_WITHIN_NS = {"kraken": 10 * SECOND, "okx": 12 * SECOND}
"""After its end, where an exchange does not say that a candle is closed."""

Cut = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


def verdict(joined: Joined, key: StreamKey) -> Verdict:
    """On one stream. What the ledger says was not sent can be missing where ids do not tell: from tickers."""
    source = _source(joined, key)
    names = _Names(joined, key, source)
    said = [
        [structs.replace(record, s=names.of(record.s)) for record in life.emitted[str(key)]] for life in joined.lives
    ]
    depths = [life.depths.get(str(key)) for life in joined.lives]
    if any(isinstance(record, Change) for records in said for record in records):
        return _book(key, joined.entries(key.channel, key.symbol), depths[0], [c for part in said for c in part])
    missed = {names.of(s) for s in unsent(joined.struck)[str(key)]}
    lives = [Truth(records, depth, (), missed) for records, depth in zip(said, depths, strict=True)]
    if key.interval:
        lives = [Truth(said[0], None, _closed(joined, key)), *lives[1:]]
    return judge(str(key), joined.past(key.channel, key.symbol), lives)


def _source(joined: Joined, key: StreamKey) -> str:
    """The reader's name of the source of tickers, where the exchange has none; empty where it has."""
    sources = {entry.s.rpartition(".")[0] for entry in joined.entries("ticker", key.symbol) if entry.type == "ticker"}
    return sources.pop() if key.exchange == "kraken" and key.channel == "ticker" and len(sources) == 1 else ""


class _Names:
    """What the reader calls a ticker of an exchange that gives none a name: it may tell those of one µs apart."""

    def __init__(self, joined: Joined, key: StreamKey, source: str) -> None:
        self._source = source
        self._said: dict[str, list[str]] = defaultdict(list)
        for entry in joined.entries(key.channel, key.symbol) if source else ():
            if entry.type == "ticker":
                self._said[entry.s[:-3]].append(entry.s)

    def of(self, s: str) -> str:
        if not self._source:
            return s
        name = f"{self._source}.{s.rpartition('.')[2]}"
        said = self._said[name[:-3]]
        return said.pop(0) if said else name


def _closed(joined: Joined, key: StreamKey) -> list[Candle]:
    pair = next(pair for pair in joined.market.pairs if pair.listing.symbol == key.symbol)
    price, amount = pair.listing.price, pair.listing.amount
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
        if bar.end_ns + _CLOSES_WITHIN_NS.get(key.exchange, 0) <= joined.now_ns
    ]


def _book(key: StreamKey, entries: Sequence[Entry], start: Depth | None, changes: Sequence[Change]) -> Verdict:
    assert start is not None
    words = tuple(book_by_content(entries, start, changes))
    gaps = sum(isinstance(entry.event, Gap) for entry in entries)
    return Verdict(
        key=str(key),
        emitted=len(changes),
        entries=len(entries),
        gaps=gaps,
        lost=0,
        doubled=0,
        inverted=0,
        unfounded=0,
        wrong=len(words),
        words=words[:8],
    )


def book_by_content(entries: Sequence[Entry], start: Depth, changes: Sequence[Change]) -> Iterator[str]:
    """What is wrong with a book whose updates have no names at the exchange.

    After each entry a reader has the exchange's book as it once was, cut: after a delta, as it was next; after a
    snapshot, as it was then or later, and later only if in between it was said that the book is not up to date.
    """
    depth = next((entry.event.depth or len(entry.event.bids) for entry in entries if entry.type == "snapshot"), 0)
    states = list(_states(start, changes, depth))
    at, told, book = -1, True, None
    for entry in entries:
        match entry.event:
            case Snapshot() as whole:
                book = _applied(({}, {}), whole, depth)
                found = next((i for i in range(max(at, 0), len(states)) if states[i] == book), None)
                if found is None:
                    yield f"snapshot {entry.s} was never the exchange's book behind {at}"
                elif found > at and not told:
                    yield f"snapshot {entry.s} leaves out {found - at} states, and nothing tells of that"
                at, told = at if found is None else found, False
            case Delta() as delta if book is not None:
                at, book = at + 1, _applied(book, delta, depth)
                if at >= len(states) or states[at] != book:
                    yield f"after delta {entry.s} the book is not what the exchange's was next"
                    return
            case Gap():
                told = True
            case Status(state=state) if state in ("suspect", "stale"):
                told = True
    if at != len(states) - 1:
        yield f"the last {len(states) - 1 - at} of {len(states)} states are not there"


def _states(start: Depth, changes: Sequence[Change], depth: int) -> Iterator[Cut]:
    """The exchange's book, cut, each time that it was another."""
    whole: Cut = (_numbers(start.bids.items()), _numbers(start.asks.items()))
    before = _cut(whole, depth)
    yield before
    for change in changes:
        whole = _applied(whole, change, 1 << 62)
        now = _cut(whole, depth)
        if now != before:
            yield now
        before = now


def _applied(book: Cut, change: Snapshot | Delta | Change, depth: int) -> Cut:
    sides = [{**side, **_numbers(levels)} for side, levels in zip(book, (change.bids, change.asks), strict=True)]
    bids, asks = ({price: amount for price, amount in side.items() if amount} for side in sides)
    return _cut((bids, asks), depth)


def _cut(book: Cut, depth: int) -> Cut:
    bids, asks = book
    return dict(sorted(bids.items(), reverse=True)[:depth]), dict(sorted(asks.items())[:depth])


def _numbers(levels) -> dict[Decimal, Decimal]:
    return {Decimal(price): Decimal(amount) for price, amount in levels}
