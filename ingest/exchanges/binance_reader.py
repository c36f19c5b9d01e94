"""Binance's frames by themselves, combined or bare."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import msgspec
from msgspec import Struct

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.contract.numbers import Number, check
from ingest.exchanges.binance import INTERVALS
from ingest.exchanges.binance_frames import (
    Depth,
    Id,
    Klines,
    Milliseconds,
    Tickers,
    Trades,
    read_book,
    same,
    trade,
)
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.ranged import RangedBook
from ingest.exchanges.reading import EachCandle, EachChange, EachTicker, EachTrade
from ingest.exchanges.session import Session
from ingest.exchanges.talk import UNREADABLE

_BOOK_LIMIT = 5_000
"""The most levels a side that the exchange answers."""


class BinanceAggregate(Struct):
    """`<symbol>@aggTrade`: the trades `f`…`l`, of one order at one price."""

    s: str
    f: Id
    l: Id  # noqa: E741 - the exchange's name
    p: Number
    q: Number
    T: Milliseconds
    m: bool


class _AggregateFrame(Struct):
    data: BinanceAggregate


class _Aggregates:
    """Reads one symbol's."""

    def __init__(self, native: str, trades: EachTrade) -> None:
        self._native = native
        self._trades = trades

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """Several trades."""
        data = _aggregate_frame(frame).data
        same(data.s, self._native)
        if not 0 <= data.f <= data.l:
            raise ValueError(f"trades {data.f} to {data.l}")
        return self._trades.trades(data.f, data.l, trade(data.p, data.q, data.m, data.T, now_ns), now_ns)


class _Interval(Struct, frozen=True):
    i: str = ""


class _Frame(Struct):
    """Enough of any frame to know what it is."""

    stream: str | None = None
    e: str | None = None
    s: str = ""
    k: _Interval = _Interval()
    A: str | None = None


_aggregate_frame = msgspec.json.Decoder(_AggregateFrame).decode
_frame = msgspec.json.Decoder(_Frame).decode
_BARE = {"trade": "trade", "aggTrade": "aggTrade", "depthUpdate": "depth@100ms", "24hrTicker": "ticker"}


class BinanceReader:
    """Of any symbols."""

    def __init__(self, symbols: Mapping[str, str], *, raw_books: bool) -> None:
        self._symbols = symbols
        self._raw_books = raw_books
        self._session = Session("reader")
        self._hear: dict[str, Callable[[bytes, int], Sequence[Event]]] = {}
        self._books: list[RangedBook] = []
        self._snapshot: bytes | None = None

    @property
    def held(self) -> int:
        """Deltas that wait for a snapshot which they join."""
        return sum(book.waiting for book in self._books)

    def snapshot(self, body: bytes) -> None:
        """The answer of /api/v3/depth, for the first symbol whose book is heard."""
        try:
            data = read_book(body)
            check(chain.from_iterable(chain(data.bids, data.asks)))
        except UNREADABLE as bad:
            raise SkipFrame(f"no answer of /api/v3/depth: {bad}", frame=body[:300]) from bad
        self._snapshot = body

    def read(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """The events of a data frame."""
        try:
            name, combined = _named(frame)
            before = () if name in self._hear else self._open(name, now_ns)
            return [*before, *self._hear[name](combined, now_ns)]
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), frame=frame) from bad

    def _open(self, name: str, now_ns: int) -> Sequence[Event]:
        """Be ready for a stream; what is said before its first frame."""
        native, _, kind = name.partition("@")
        native = native.upper()
        symbol = self._symbols.get(native, native)
        if kind in ("trade", "aggTrade"):
            trades = EachTrade(StreamKey("binance", "trades", symbol))
            self._hear[name] = (Trades if kind == "trade" else _Aggregates)(native, trades).hear
        elif kind in ("ticker", "bookTicker"):
            tickers = Tickers(native, EachTicker(StreamKey("binance", "ticker", symbol)))
            names = (f"{native.lower()}@bookTicker", f"{native.lower()}@ticker")
            self._hear.update(zip(names, (tickers.hear_book, tickers.hear_day), strict=True))
        elif kind.startswith("kline_") and kind.removeprefix("kline_") in INTERVALS:
            key = StreamKey("binance", f"candles-{kind.removeprefix('kline_')}", symbol)
            self._hear[name] = Klines(native, EachCandle(key)).hear
        elif kind in ("depth", "depth@100ms"):
            return self._open_book(name, native, StreamKey("binance", "orderbook", symbol), now_ns)
        else:
            raise ValueError(f"frames of {name} are not read")
        return ()

    def _open_book(self, name: str, native: str, key: StreamKey, now_ns: int) -> Sequence[Event]:
        book: RangedBook | EachChange
        if self._raw_books:
            book = EachChange(key)
        else:
            book = RangedBook(key, self._session, None)
            self._books.append(book)
        self._hear[name] = Depth(native, book).hear
        if self._snapshot is None:
            return ()
        data, self._snapshot = read_book(self._snapshot), None
        return book.snapshot(data.lastUpdateId, data.bids, data.asks, _BOOK_LIMIT, now_ns)


def _named(frame: bytes) -> tuple[str, bytes]:
    """The name of the stream that a frame is of, and the frame in its combined form."""
    said = _frame(frame)
    if said.stream is not None:
        return said.stream, frame
    if said.e == "kline":
        kind = f"kline_{said.k.i}"
    elif said.e is None and said.A is not None:
        kind = "bookTicker"
    elif said.e in _BARE:
        kind = _BARE[said.e]
    else:
        raise ValueError("not the data of a stream")
    name = f"{said.s.lower()}@{kind}"
    return name, b'{"stream":"%b","data":%b}' % (name.encode(), frame)
