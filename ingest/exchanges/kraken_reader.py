"""Kraken's frames by themselves: those of WebSocket v2."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import msgspec
from msgspec import Struct

from ingest.contract.events import Delta, Event, Snapshot
from ingest.contract.keys import StreamKey, parse_symbol
from ingest.exchanges import kraken_frames as frames
from ingest.exchanges.counted import CountedBook
from ingest.exchanges.exchange import Instrument, SkipFrame
from ingest.exchanges.kraken_feeds import DEPTHS, INTERVALS
from ingest.exchanges.kraken_readers import Books, Tickers
from ingest.exchanges.reading import EachCandle, EachTicker, EachTrade
from ingest.exchanges.session import Session
from ingest.exchanges.talk import UNREADABLE

_INTERVALS = {minutes: interval for interval, minutes in INTERVALS.items()}


class _Head(Struct):
    channel: str = ""
    event: str | None = None


_head = msgspec.json.Decoder(_Head).decode


class KrakenReader:
    """Of any symbols."""

    def __init__(self, symbols: Mapping[str, str], *, raw_books: bool) -> None:
        self.held = 0
        """Deltas without a snapshot that they could join."""
        self._symbols = symbols
        self._raw_books = raw_books
        self._session = Session("reader")
        self._tickers: dict[StreamKey, Tickers] = {}
        self._books: dict[StreamKey, Books] = {}
        self._hearers: dict[str, Callable[[bytes, int], Sequence[Event]]] = {
            "trade": self._hear_trades,
            "ticker": self._hear_tickers,
            "book": self._hear_books,
            "ohlc": self._hear_candles,
        }

    def snapshot(self, body: bytes) -> None:
        """There is none that would be of use."""
        raise SkipFrame("the books of kraken join no answer of REST: they begin with a frame", frame=body[:300])

    def read(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """The events of a data frame."""
        try:
            return self._hearers.get(_channel(frame), _no_data)(frame, now_ns)
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), frame=frame) from bad

    def _key(self, channel: str, native: str) -> StreamKey:
        return StreamKey("kraken", channel, parse_symbol(self._symbols.get(native, native)))

    def _hear_trades(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        heard = [
            (EachTrade(self._key("trades", row.symbol)), row.trade_id, frames.trade(row, now_ns))
            for row in frames.read_trades(frame).data
        ]
        return list(chain.from_iterable(topic.trade(trade_id, trade, now_ns) for topic, trade_id, trade in heard))

    def _hear_tickers(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_tickers(frame)
        heard = [(self._key("ticker", row.symbol), frames.ticker(row, now_ns)) for row in said.data]
        events: list[Event] = []
        for key, known in heard:
            ticker = self._tickers.setdefault(key, Tickers(EachTicker(key)))
            events += ticker.hear(known, said.type == "snapshot", now_ns)
        return events

    def _hear_candles(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_candles(frame)
        heard = [
            (self._key(f"candles-{_interval(row.interval)}", row.symbol), frames.candle(row, said.timestamp, now_ns))
            for row in said.data
        ]
        return list(chain.from_iterable(EachCandle(key).candle(interval, now_ns) for key, interval in heard))

    def _hear_books(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_books(frame)
        heard = [
            (self._key("orderbook", row.symbol), frames.changes(row, now_ns), row.checksum, said.type == "snapshot")
            for row in said.data
        ]
        if self._raw_books:
            return [self._raw(key, levels, whole) for key, levels, _, whole in heard]
        return list(chain.from_iterable(self._synced(*each, now_ns) for each in heard))

    def _raw(self, key: StreamKey, levels: Delta, whole: bool) -> Event:
        body: Snapshot | Delta = levels
        if whole:
            body = Snapshot(
                bids=levels.bids,
                asks=levels.asks,
                received_ns=levels.received_ns,
                exchange_ns=levels.exchange_ns,
                depth=_depth(levels),
            )
        return Event(key, self._session.identity(), body, "session")

    def _synced(self, key: StreamKey, levels: Delta, checksum: int, whole: bool, now_ns: int) -> Sequence[Event]:
        if whole and key not in self._books:
            topic = CountedBook(key, self._session, None, _depth(levels))
            topic.own(now_ns)
            self._books[key] = Books(topic, Instrument(key.symbol, key.symbol, True, ""))
        book = self._books.get(key)
        if book is None or not (whole or book.topic.warm):
            self.held += 1
            return ()
        return book.hear(levels, checksum, whole, now_ns)


def _channel(frame: bytes) -> str:
    head = None if frame.lstrip().startswith(b"[") else _head(frame)
    if head is None or head.event is not None:
        raise ValueError("a frame of WebSocket v1; frames of v2 are read")
    return head.channel


def _interval(minutes: int) -> str:
    if minutes not in _INTERVALS:
        raise ValueError(f"candles of {minutes} minutes")
    return _INTERVALS[minutes]


def _depth(levels: Delta) -> int:
    """What was subscribed to: a whole side has so many levels, or the book has no more."""
    most = max(len(levels.bids), len(levels.asks))
    return next((depth for depth in DEPTHS if depth >= most), most)


def _no_data(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    raise ValueError("not the data of a stream")
