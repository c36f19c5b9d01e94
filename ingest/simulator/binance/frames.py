"""What Binance says of each thing that happens on the market, and what the ledger says of it.

https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
"""

from collections.abc import Iterable
from typing import Any

from ingest.contract.keys import StreamKey
from ingest.simulator import ledger, records
from ingest.simulator.bars import DAY_NS, INTERVALS, Bar
from ingest.simulator.book import Changes, Top
from ingest.simulator.listings import UNIT, decimal
from ingest.simulator.market import Pair, Trade
from ingest.simulator.texts import MS

Said = tuple[dict[str, Any], ledger.Record]


class Listed:
    """A pair under Binance's names and under ours, and what it says."""

    def __init__(self, pair: Pair) -> None:
        listing = pair.listing
        self.pair = pair
        self.native = listing.base + listing.quote
        name = self.native.lower()
        self.trade_stream = f"{name}@trade"
        self.book_ticker_stream = f"{name}@bookTicker"
        self.ticker_stream = f"{name}@ticker"
        self.depth_stream = f"{name}@depth@100ms"
        self.kline_streams = {interval: f"{name}@kline_{interval}" for interval in INTERVALS}
        self._trades = str(StreamKey("binance", "trades", listing.symbol))
        self._ticker = str(StreamKey("binance", "ticker", listing.symbol))
        self._book = str(StreamKey("binance", "orderbook", listing.symbol))
        self._candles = {
            interval: str(StreamKey("binance", f"candles-{interval}", listing.symbol)) for interval in INTERVALS
        }
        self.keys: dict[str, tuple[str, ...]] = {
            self._trades: (self.trade_stream,),
            self._ticker: (self.book_ticker_stream, self.ticker_stream),
            self._book: (self.depth_stream,),
            **{self._candles[interval]: (stream,) for interval, stream in self.kline_streams.items()},
        }
        """Our streams, and which of the exchange's carry them."""

    def trade(self, trade: Trade) -> Said:
        """`@trade`. Produced a millisecond after the match: E is not T."""
        listing = self.pair.listing
        time_ms = trade.time_ns // MS
        record = records.trade(self._trades, str(trade.id), trade, listing, MS)
        data = {
            "e": "trade",
            "E": time_ms + 1,
            "s": self.native,
            "t": trade.id,
            "p": record.price,
            "q": record.amount,
            "T": time_ms,
            "m": trade.taker_sells,
            "M": True,
        }
        return data, record

    def book_ticker(self, top: Top) -> Said:
        """`@bookTicker`, which has neither type nor time."""
        best = self._best(top)
        data = {"u": self.pair.book.update_id, "s": self.native, **best}
        s = f"book.{self.pair.book.update_id}"
        record = ledger.Ticker(
            key=self._ticker,
            s=s,
            first=s,
            bid=best["b"],
            bid_amount=best["B"],
            ask=best["a"],
            ask_amount=best["A"],
        )
        return data, record

    def depth(self, changes: Changes, now_ns: int) -> Said:
        """`@depth@100ms`: absolute amounts, zero where a level is gone."""
        record = records.changed(ledger.Delta, self._book, changes, self.pair.listing)
        data = {
            "e": "depthUpdate",
            "E": now_ns // MS,
            "s": self.native,
            "U": changes.first,
            "u": changes.last,
            "b": record.bids,
            "a": record.asks,
        }
        return data, record

    def ticker(self, now_ns: int) -> Said:
        """`@ticker`: the rolling 24 hours."""
        listing, day, last = self.pair.listing, self.pair.bars.day(), self.pair.last
        change = day.close - day.open
        s = f"24hr.{now_ns // MS * MS}"
        record = ledger.Ticker(
            key=self._ticker,
            s=s,
            first=s,
            last=listing.price(last.price),
            last_amount=listing.amount(last.lots),
            open=listing.price(day.open),
            high=listing.price(day.high),
            low=listing.price(day.low),
            volume=listing.amount(day.lots),
            quote_volume=listing.value(day.value),
        )
        data = {
            "e": "24hrTicker",
            "E": now_ns // MS,
            "s": self.native,
            "p": listing.price(change),
            "P": decimal(change * 100 * UNIT // day.open)[:-5],
            "w": decimal(day.value * listing.tick // day.lots if day.lots else 0),
            "x": record.open,
            "c": record.last,
            "Q": record.last_amount,
            **self._best(self.pair.book.top()),
            "o": record.open,
            "h": record.high,
            "l": record.low,
            "v": record.volume,
            "q": record.quote_volume,
            "O": (now_ns - DAY_NS) // MS,
            "C": now_ns // MS,
            "F": day.first_id,
            "L": day.last_id,
            "n": day.trades,
        }
        return data, record

    def kline(self, interval: str, bar: Bar, now_ns: int, *, closed: bool) -> Said:
        """`@kline_<interval>`: its end is the last millisecond of its own, not the first of the next."""
        listing = self.pair.listing
        record = records.candle(self._candles[interval], "closed" if closed else now_ns // MS * MS, bar, listing)
        kline = {
            "t": bar.open_ns // MS,
            "T": bar.end_ns // MS - 1,
            "s": self.native,
            "i": interval,
            "f": bar.first_id,
            "L": bar.last_id,
            "o": record.open,
            "c": record.close,
            "h": record.high,
            "l": record.low,
            "v": record.volume,
            "n": bar.trades,
            "x": closed,
            "q": listing.value(bar.value),
            "V": listing.amount(bar.bought_lots),
            "Q": listing.value(bar.bought_value),
            "B": "0",
        }
        return {"e": "kline", "E": now_ns // MS, "s": self.native, "k": kline}, record

    def levels(self, levels: Iterable[tuple[int, int]]) -> ledger.Levels:
        """Prices and amounts as texts."""
        return records.levels(self.pair.listing, levels)

    def level(self, ticks: int, lots: int) -> tuple[str, str]:
        """One of them."""
        return self.pair.listing.price(ticks), self.pair.listing.amount(lots)

    def _best(self, top: Top) -> dict[str, str]:
        price, amount = self.pair.listing.price, self.pair.listing.amount
        return {"b": price(top.bid), "B": amount(top.bid_lots), "a": price(top.ask), "A": amount(top.ask_lots)}
