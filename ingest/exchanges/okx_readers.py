"""Who hears what OKX says of one symbol on one channel."""

from collections.abc import Callable, Sequence
from typing import Protocol

from ingest.contract.events import Delta, Event, Trade
from ingest.contract.numbers import exchange_time
from ingest.exchanges import okx_frames as frames
from ingest.exchanges.book import Level
from ingest.exchanges.candles import Interval
from ingest.exchanges.hearing import HearsTickers

Hear = Callable[[bytes, int], Sequence[Event]]
"""A frame, and when it came. Raises what UNREADABLE names, before it has changed anything."""

_MS = 1_000_000


class HearsTrades(Protocol):
    """DenseTrades, or what stands for it."""

    def trade(self, trade_id: int, trade: Trade, now_ns: int, /) -> Sequence[Event]:
        """A trade."""


class HearsBook(Protocol):
    """ChainedBook, or what stands for it."""

    def whole(self, last_id: int, bids: Sequence[Level], asks: Sequence[Level], now_ns: int, /) -> Sequence[Event]:
        """All of it."""

    def update(self, previous_id: int, last_id: int, delta: Delta, now_ns: int, /) -> Sequence[Event]:
        """What has changed."""


class HearsCandles(Protocol):
    """ConfirmedCandles, or what stands for them."""

    def candle(self, heard: Interval, now_ns: int, /) -> Sequence[Event]:
        """An interval's newest state."""


def trades(name: str, topic: HearsTrades) -> Hear:
    """One symbol's trades."""

    def hear(frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_trades(frame)
        frames.same(said.arg.name, name)
        heard = [frames.trade(row, now_ns) for row in said.data]
        return [event for trade_id, trade in heard for event in topic.trade(trade_id, trade, now_ns)]

    return hear


def tickers(name: str, topic: HearsTickers) -> Hear:
    """One symbol's ticker; its time is its mark, as there are ten a second at most."""

    def hear(frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_tickers(frame)
        frames.same(said.arg.name, name)
        events: list[Event] = []
        for row in said.data:
            exchange_ns = exchange_time(int(row.ts) * _MS, now_ns)
            source, mark = ("received", now_ns) if exchange_ns is None else ("ticker", exchange_ns)
            events += topic.say(source, mark, frames.ticker(row), exchange_ns, now_ns)
        return events

    return hear


def books(name: str, topic: HearsBook) -> Hear:
    """One symbol's book. The checksum is not looked at: it is always 0 since June 2026."""

    def hear(frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_books(frame)
        frames.same(said.arg.name, name)
        heard = [(row, frames.delta(row, now_ns)) for row in said.data]
        events: list[Event] = []
        for row, delta in heard:
            if said.action == "snapshot":
                events += topic.whole(row.seqId, delta.bids, delta.asks, now_ns)
            else:
                events += topic.update(row.prevSeqId, row.seqId, delta, now_ns)
        return events

    return hear


def candles(name: str, interval: str, topic: HearsCandles) -> Hear:
    """One symbol's candles of one interval."""

    def hear(frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_candles(frame)
        frames.same(said.arg.name, name)
        heard = [frames.candle(row, interval, now_ns) for row in said.data]
        return [event for each in heard for event in topic.candle(each, now_ns)]

    return hear


def unheard(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    """What was let go."""
    return ()
