"""Who hears what Bybit says of one symbol."""

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from ingest.contract.events import Delta, Event
from ingest.exchanges import bybit_frames as frames
from ingest.exchanges.hearing import HearsCandles, HearsTickers
from ingest.exchanges.pushed import Whole
from ingest.exchanges.steps import Told


class HearsTrades(Protocol):
    """OpaqueTrades, or what stands for it."""

    def trade(self, told: Told, now_ns: int, /) -> Sequence[Event]:
        """A trade."""


class HearsBooks(Protocol):
    """PushedBook, or what stands for it."""

    def snapshot(self, whole: Whole, now_ns: int, /, *, anew: bool = False) -> Sequence[Event]:
        """The whole book."""

    def delta(self, first: int, last: int, delta: Delta, now_ns: int, /) -> Sequence[Event]:
        """The changes `first`…`last`."""


class Trades:
    """Reads one symbol's trades."""

    def __init__(self, native: str, trades: HearsTrades) -> None:
        self._native = native
        self._trades = trades

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """Those of one match, or several."""
        heard = frames.trades(frame, self._native, now_ns)
        return list(chain.from_iterable(self._trades.trade(told, now_ns) for told in heard))


class Books:
    """Reads one symbol's book."""

    def __init__(self, native: str, book: HearsBooks) -> None:
        self._native = native
        self._book = book

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """The whole book, or the changes of one update. Number 1 says that the service has started again."""
        whole, u, levels = frames.book(frame, self._native, now_ns)
        if whole:
            return self._book.snapshot(Whole(u, levels.bids, levels.asks, levels.exchange_ns), now_ns, anew=u == 1)
        return self._book.delta(u, u, levels, now_ns)


class Tickers:
    """Reads one symbol's best prices, which are of one topic, and its last 24 hours, which are of another."""

    def __init__(self, native: str, ticker: HearsTickers) -> None:
        self._native = native
        self._ticker = ticker
        self._u = -1

    def hear_best(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """New best prices. The same ones come again every three seconds, as a sign of life."""
        _, u, levels = frames.book(frame, self._native, now_ns)
        if u == self._u:
            return ()
        self._u = u
        return self._ticker.say("book", u, frames.best(levels), levels.exchange_ns, now_ns)

    def hear_day(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """The last 24 hours."""
        said_ns, day = frames.ticker(frame, self._native, now_ns)
        return self._ticker.say("24hr", said_ns, day, said_ns, now_ns)


class Klines:
    """Reads one symbol's candles of one interval."""

    def __init__(self, interval: str, candles: HearsCandles) -> None:
        """`interval` is the exchange's name of it."""
        self._interval = interval
        self._candles = candles

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """An interval as it grows, and when it closes."""
        heard = frames.candles(frame, self._interval, now_ns)
        return list(chain.from_iterable(self._candles.candle(each, now_ns) for each in heard))
