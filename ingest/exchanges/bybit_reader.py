"""Bybit's frames by themselves."""

from collections.abc import Callable, Mapping, Sequence

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey, parse_symbol
from ingest.exchanges.bybit_frames import INTERVALS, read_head
from ingest.exchanges.bybit_readers import Books, Klines, Tickers, Trades
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.pushed import PushedBook
from ingest.exchanges.reading import EachBook, EachCandle, EachOpaqueTrade, EachTicker
from ingest.exchanges.session import Session
from ingest.exchanges.talk import UNREADABLE

_INTERVALS = {theirs: ours for ours, theirs in INTERVALS.items()}


class BybitReader:
    """Of any symbols."""

    def __init__(self, symbols: Mapping[str, str], *, raw_books: bool) -> None:
        self._symbols = symbols
        self._raw_books = raw_books
        self._session = Session("reader")
        self._hear: dict[str, Callable[[bytes, int], Sequence[Event]]] = {}
        self._books: list[PushedBook] = []

    @property
    def held(self) -> int:
        """Changes of books that wait to be joined: none without another writer."""
        return sum(book.waiting for book in self._books)

    def snapshot(self, body: bytes) -> None:
        """There is none that would be of use."""
        raise SkipFrame("the books of bybit join no answer of REST: they begin with a frame", frame=body[:300])

    def read(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """The events of a data frame."""
        try:
            name = read_head(frame).topic
            if name not in self._hear:
                self._open(name)
            return self._hear[name](frame, now_ns)
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), frame=frame) from bad

    def _open(self, name: str) -> None:
        """Be ready for a topic. Raises ValueError."""
        kind, _, rest = name.partition(".")
        detail, _, native = rest.rpartition(".")
        match kind, detail:
            case "publicTrade", "":
                self._hear[name] = Trades(native, EachOpaqueTrade(self._key("trades", native))).hear
            case ("tickers", "") | ("orderbook", "1"):
                tickers = Tickers(native, EachTicker(self._key("ticker", native)))
                self._hear[f"tickers.{native}"] = tickers.hear_day
                self._hear[f"orderbook.1.{native}"] = tickers.hear_best
            case "orderbook", depth if depth.isdecimal() and depth.isascii():
                self._hear[name] = Books(native, self._book(self._key("orderbook", native), int(depth))).hear
            case "kline", interval if interval in _INTERVALS:
                candles = EachCandle(self._key(f"candles-{_INTERVALS[interval]}", native))
                self._hear[name] = Klines(interval, candles).hear
            case _:
                raise ValueError(f"frames of {name[:60]!r} are not read")

    def _book(self, key: StreamKey, depth: int) -> "PushedBook | EachBook":
        if self._raw_books:
            return EachBook(key, depth)
        self._books.append(PushedBook(key, self._session, None, depth))
        return self._books[-1]

    def _key(self, channel: str, native: str) -> StreamKey:
        return StreamKey("bybit", channel, parse_symbol(self._symbols.get(native, native)))
