"""OKX's frames by themselves."""

from collections.abc import Mapping, Sequence
from typing import Final

from ingest.contract.events import Delta, Event
from ingest.contract.keys import StreamKey, parse_symbol
from ingest.exchanges.book import Level
from ingest.exchanges.chained import ChainedBook
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.okx_feeds import BARS, DEPTH
from ingest.exchanges.okx_frames import levels, read_head, read_trades, same, trade
from ingest.exchanges.okx_readers import Hear, HearsBook, books, candles, tickers, trades
from ingest.exchanges.okx_rest import book
from ingest.exchanges.reading import EachCandle, EachChange, EachTicker, EachTrade
from ingest.exchanges.session import Session
from ingest.exchanges.talk import UNREADABLE

_INTERVALS: Final = {f"candle{bar}": interval for interval, (bar, _) in BARS.items()}


class OkxReader:
    """Of any spot symbols. Of trades both channels: in `trades` several may be merged."""

    def __init__(self, symbols: Mapping[str, str], *, raw_books: bool) -> None:
        self._symbols = symbols
        self._raw_books = raw_books
        self._session = Session("reader")
        self._hear: dict[str, Hear] = {}
        self._books: list[ChainedBook] = []
        self._snapshot: bytes | None = None

    @property
    def held(self) -> int:
        """Updates that wait for a snapshot which they join."""
        return sum(each.waiting for each in self._books)

    def snapshot(self, body: bytes) -> None:
        """The answer of /api/v5/market/books, for the first symbol whose book is heard."""
        try:
            levels(book(body))
        except UNREADABLE as bad:
            raise SkipFrame(f"no answer of /api/v5/market/books: {bad}", frame=body[:300]) from bad
        self._snapshot = body

    def read(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """The events of a data frame."""
        try:
            head = read_head(frame)
            if head.event or head.arg is None:
                raise ValueError("not the data of a channel")
            name = head.arg.name
            before = () if name in self._hear else self._open(name, head.arg.channel, head.arg.instId, now_ns)
            return [*before, *self._hear[name](frame, now_ns)]
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), frame=frame) from bad

    def _open(self, name: str, channel: str, native: str, now_ns: int) -> Sequence[Event]:
        """Be ready for a channel; what is said before its first frame."""
        # Contracts have a third part, amounts of another meaning, and no name on the bus.
        symbol = self._symbols.get(native) or parse_symbol(native)
        if channel in ("trades", "trades-all"):
            hear = trades if channel == "trades-all" else merged
            self._hear[name] = hear(name, EachTrade(StreamKey("okx", "trades", symbol)))
        elif channel == "tickers":
            self._hear[name] = tickers(name, EachTicker(StreamKey("okx", "ticker", symbol)))
        elif channel in _INTERVALS:
            interval = _INTERVALS[channel]
            self._hear[name] = candles(name, interval, EachCandle(StreamKey("okx", f"candles-{interval}", symbol)))
        elif channel == "books":
            return self._open_book(name, StreamKey("okx", "orderbook", symbol), now_ns)
        else:
            raise ValueError(f"frames of {name[:80]} are not read")
        return ()

    def _open_book(self, name: str, key: StreamKey, now_ns: int) -> Sequence[Event]:
        topic: HearsBook
        if self._raw_books:
            topic = EachUpdate(key)
        else:
            topic = ChainedBook(key, self._session, None, DEPTH)
            self._books.append(topic)
        self._hear[name] = books(name, topic)
        if self._snapshot is None:
            return ()
        whole, self._snapshot = book(self._snapshot), None
        return topic.whole(whole.seqId, *levels(whole), now_ns)


def merged(name: str, topic: EachTrade) -> Hear:
    """One symbol's trades, of which several may be one."""

    def hear(frame: bytes, now_ns: int) -> Sequence[Event]:
        said = read_trades(frame)
        same(said.arg.name, name)
        events: list[Event] = []
        for row in said.data:
            (last, body), count = trade(row, now_ns), int(row.count)
            if count > 1:
                events += topic.trades(last - count + 1, last, body, now_ns)
            else:
                events += topic.trade(last, body, now_ns)
        return events

    return hear


class EachUpdate(EachChange):
    """As ChainedBook, whether the updates join or not."""

    def whole(self, last_id: int, bids: Sequence[Level], asks: Sequence[Level], now_ns: int) -> Sequence[Event]:
        """As it comes."""
        return self.snapshot(last_id, bids, asks, DEPTH, now_ns)

    def update(self, previous_id: int, last_id: int, delta: Delta, now_ns: int) -> Sequence[Event]:
        """As it comes."""
        return self.delta(previous_id + 1, last_id, delta, now_ns)
