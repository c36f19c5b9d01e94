"""What Bybit says of each thing that happens on the market, and what the ledger says of it.

https://bybit-exchange.github.io/docs/v5/websocket/public/trade
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from zlib import crc32

import msgspec

from ingest.contract.keys import StreamKey
from ingest.simulator import ledger, records
from ingest.simulator.bars import Bar
from ingest.simulator.listings import UNIT, decimal
from ingest.simulator.market import Pair, Trade
from ingest.simulator.texts import MS, short
from ingest.simulator.venue import Frame

INTERVALS: Final = {
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "720": "12h",
    "D": "1d",
    "W": "1w",
    "M": "1M",
}
"""The exchange's names of intervals, and ours."""
TRADES_A_FRAME: Final = 1024
Sides = tuple[ledger.Levels, ledger.Levels]
"""Bids and asks."""

encode = msgspec.json.Encoder().encode


class Listed:
    """A pair under Bybit's name and under ours, and what it says."""

    def __init__(self, pair: Pair) -> None:
        listing = pair.listing
        self.pair = pair
        self.native = listing.base + listing.quote
        self.trades = self._key("trades")
        self.ticker = self._key("ticker")
        self.book = self._key("orderbook")
        self.candles = {name: self._key(f"candles-{interval}") for name, interval in INTERVALS.items()}
        self._ids = f"2{crc32(self.native.encode()) % 1000:03d}00000"

    @property
    def keys(self) -> tuple[str, ...]:
        """All streams of ours."""
        return (self.trades, self.ticker, self.book, *self.candles.values())

    def price(self, ticks: int) -> str:
        """`61250.1`: no zeros that say nothing."""
        return short(self.pair.listing.price(ticks))

    def amount(self, lots: int) -> str:
        """`0.0042`"""
        return short(self.pair.listing.amount(lots))

    def value(self, ticks_lots: int) -> str:
        """Money."""
        return short(self.pair.listing.value(ticks_lots))

    def levels(self, levels: Iterable[tuple[int, int]]) -> ledger.Levels:
        """Prices and amounts as texts."""
        return records.levels(self, levels)

    def trade_id(self, trade: Trade) -> str:
        """A counter behind a prefix of the symbol's own, beyond what a double holds."""
        return f"{self._ids}{trade.id:010d}"

    def traded(self, trades: Sequence[Trade], seq: int, now_ns: int) -> Frame:
        """`publicTrade`: all of one match, under one `seq`."""
        data = [
            {
                "i": self.trade_id(trade),
                "T": trade.time_ns // MS,
                "p": self.price(trade.price),
                "v": self.amount(trade.lots),
                "S": trade.side.capitalize(),
                "seq": seq,
                "s": self.native,
                "BT": False,
                "RPI": False,
            }
            for trade in trades
        ]
        told = tuple([records.trade(self.trades, self.trade_id(trade), trade, self, MS) for trade in trades])
        return Frame(envelope(f"publicTrade.{self.native}", "snapshot", now_ns, data), told)

    def ticked(self, seq: int, now_ns: int, *, answer: bool = False) -> Frame:
        """`tickers`: the rolling 24 hours, without best prices; to all, or in answer to one who subscribes."""
        day, last = self.pair.bars.day(), self.pair.last
        s = f"24hr.{now_ns // MS * MS}"
        record = ledger.Ticker(
            key=self.ticker,
            s=s,
            first=s,
            last=self.price(last.price),
            open=self.price(day.open),
            high=self.price(day.high),
            low=self.price(day.low),
            volume=self.amount(day.lots),
            quote_volume=self.value(day.value),
            answer=answer,
        )
        change = (day.close - day.open) * UNIT // day.open
        data = {
            "symbol": self.native,
            "lastPrice": record.last,
            "highPrice24h": record.high,
            "lowPrice24h": record.low,
            "prevPrice24h": record.open,
            "volume24h": record.volume,
            "turnover24h": record.quote_volume,
            "price24hPcnt": decimal(change)[:-4],
            "usdIndexPrice": "",
        }
        return Frame(envelope(f"tickers.{self.native}", "snapshot", now_ns, data, cs=seq), (record,))

    def topped(self, sides: Sides, u: int, seq: int, now_ns: int, *, again: bool) -> Frame:
        """`orderbook.1`, a snapshot each time; the same one again is no event."""
        s = f"book.{u}"
        bid, bid_amount = next(iter(sides[0]), (None, None))
        ask, ask_amount = next(iter(sides[1]), (None, None))
        record = ledger.Ticker(
            key=self.ticker, s=s, first=s, bid=bid, bid_amount=bid_amount, ask=ask, ask_amount=ask_amount
        )
        return Frame(self.booked(1, "snapshot", sides, u, seq, now_ns), () if again else (record,))

    def booked(self, depth: int, kind: str, sides: Sides, u: int, seq: int, now_ns: int) -> bytes:
        """`orderbook`: whole or changes; amounts are absolute, and "0" removes."""
        data = {"s": self.native, "b": sides[0], "a": sides[1], "u": u, "seq": seq}
        return envelope(f"orderbook.{depth}.{self.native}", kind, now_ns, data, cts=now_ns // MS - 3)

    def book_record(self, sides: Sides, u: int) -> ledger.Delta:
        """The changes of `u`, for the ledger."""
        return ledger.Delta(key=self.book, s=str(u), first=str(u), bids=sides[0], asks=sides[1])

    def candle(self, interval: str, bar: Bar, now_ns: int, *, closed: bool) -> Frame:
        """`kline`: its end is the last millisecond of its own."""
        record = records.candle(self.candles[interval], "closed" if closed else now_ns // MS * MS, bar, self)
        data = {
            "start": bar.open_ns // MS,
            "end": bar.end_ns // MS - 1,
            "interval": interval,
            "open": record.open,
            "close": record.close,
            "high": record.high,
            "low": record.low,
            "volume": record.volume,
            "turnover": self.value(bar.value),
            "confirm": closed,
            "timestamp": (now_ns if bar.end_ns > now_ns else bar.end_ns) // MS - 1,
        }
        return Frame(envelope(f"kline.{interval}.{self.native}", "snapshot", now_ns, [data]), (record,))

    def _key(self, channel: str) -> str:
        return str(StreamKey("bybit", channel, self.pair.listing.symbol))


def envelope(topic: str, kind: str, now_ns: int, data: Any, **more: int) -> bytes:
    """`{"topic":…,"ts":…,"type":…,"data":…}`; some keys stand behind the data."""
    behind = {"cts": more["cts"]} if "cts" in more else {}
    before = {"cs": more["cs"]} if "cs" in more else {}
    return encode({"topic": topic, "ts": now_ns // MS, "type": kind, **before, "data": data, **behind})
