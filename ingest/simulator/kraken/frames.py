"""What Kraken says of each thing that happens on the market, and what the ledger says of it.

Numbers are JSON numbers with all their digits, so they are put into frames as they are written.
https://docs.kraken.com/api/docs/websocket-v2/trade
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Raw

from ingest.contract.keys import StreamKey
from ingest.simulator import ledger
from ingest.simulator.bars import INTERVALS, Bar
from ingest.simulator.book import Changes
from ingest.simulator.listings import UNIT, decimal
from ingest.simulator.market import Pair, Trade
from ingest.simulator.venue import Frame

US: Final = 1_000
MINUTE_NS: Final = 60_000_000_000
MINUTES: Final = {
    interval: INTERVALS[interval] // MINUTE_NS for interval in ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w")
}
"""The intervals of candles; one of 15 days is left out."""

_LEGACY: Final = {"BTC": "XXBT", "DOGE": "XXDG", "ETH": "XETH", "XRP": "XXRP", "USD": "ZUSD", "EUR": "ZEUR"}
_ALIASES: Final = {"BTC": "XBT", "DOGE": "XDG"}
encode = msgspec.json.Encoder().encode


class Listed:
    """A pair under Kraken's names and under ours, and what it says."""

    def __init__(self, pair: Pair) -> None:
        listing = pair.listing
        self.pair = pair
        self.symbol = listing.symbol
        base, quote = (_ALIASES.get(currency, currency) for currency in (listing.base, listing.quote))
        self.wsname = f"{base}/{quote}"
        self.altname = base + quote
        self.base, self.quote = (_LEGACY.get(currency, currency) for currency in (listing.base, listing.quote))
        legacy = {listing.base, listing.quote} <= _LEGACY.keys()
        self.rest_name = self.base + self.quote if legacy else self.altname
        self.price_precision = len(str(UNIT // listing.tick)) - 1
        self.trades = self.key("trades")
        self.ticker = self.key("ticker")
        self.book = self.key("orderbook")
        self.candles = {interval: self.key(f"candles-{interval}") for interval in MINUTES}

    def key(self, channel: str) -> str:
        """The name of a stream of ours."""
        return str(StreamKey("kraken", channel, self.symbol))

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them."""
        return (self.trades, self.ticker, self.book, *self.candles.values())

    def price(self, ticks: int) -> str:
        """`61250.1`"""
        return self._cut(decimal(ticks * self.pair.listing.tick))

    def amount(self, lots: int) -> str:
        """`0.00420000`"""
        return self.pair.listing.amount(lots)

    def vwap(self, bar: Bar) -> str:
        """The average price of what was traded."""
        return self.price(bar.value // bar.lots) if bar.lots else "0.0"

    def traded(self, kind: str, trades: Sequence[Trade]) -> Frame:
        """Of `trade`: all of one taker's order in one frame. Those of a snapshot have been told before, or never."""
        data = [self._trade(trade) for trade in trades]
        records = tuple([self._trade_record(trade) for trade in trades]) if kind == "update" else ()
        return Frame(envelope("trade", kind, data), records)

    def ticked(self, kind: str, now_ns: int) -> Frame:
        """Of `ticker`: the best prices, and the rolling 24 hours."""
        top, day, last = self.pair.book.top(), self.pair.bars.day(), self.pair.last
        change = day.close - day.open
        s = f"ticker.{now_ns // US * US}"
        record = ledger.Ticker(
            key=self.ticker,
            s=s,
            first=s,
            bid=self.price(top.bid),
            bid_amount=self.amount(top.bid_lots),
            ask=self.price(top.ask),
            ask_amount=self.amount(top.ask_lots),
            last=self.price(last.price),
            high=self.price(day.high),
            low=self.price(day.low),
            volume=self.amount(day.lots),
        )
        data = {
            "symbol": self.symbol,
            "bid": number(record.bid),
            "bid_qty": number(record.bid_amount),
            "ask": number(record.ask),
            "ask_qty": number(record.ask_amount),
            "last": number(record.last),
            "volume": number(record.volume),
            "vwap": number(self.vwap(day)),
            "low": number(record.low),
            "high": number(record.high),
            "change": number(self.price(change)),
            "change_pct": number(decimal(change * 100 * UNIT // day.open)[:-6]),
            "trades": day.trades,
            "timestamp": at(now_ns),
        }
        return Frame(envelope("ticker", kind, [data]), (record,))

    def candle_data(self, interval: str, bar: Bar) -> dict[str, Any]:
        """One of `ohlc`."""
        return {
            "symbol": self.symbol,
            "open": number(self.price(bar.open)),
            "high": number(self.price(bar.high)),
            "low": number(self.price(bar.low)),
            "close": number(self.price(bar.close)),
            "trades": bar.trades,
            "volume": number(self.amount(bar.lots)),
            "vwap": number(self.vwap(bar)),
            "interval_begin": f"{at(bar.open_ns)[:-1]}000Z",
            "interval": MINUTES[interval],
            "timestamp": at(bar.end_ns),
        }

    def candle_record(self, interval: str, bar: Bar, now_ns: int | None) -> ledger.Candle:
        """The same in the ledger; closed if it is of no moment."""
        s = f"{bar.open_ns}.{'closed' if now_ns is None else now_ns // US * US}"
        return ledger.Candle(
            key=self.candles[interval],
            s=s,
            first=s,
            open_ns=bar.open_ns,
            open=self.price(bar.open),
            high=self.price(bar.high),
            low=self.price(bar.low),
            close=self.price(bar.close),
            volume=self.amount(bar.lots) if bar.trades else "0",
            closed=now_ns is None,
        )

    def change(self, changes: Changes) -> ledger.Change:
        """All levels that changed, however deep, for the ledger."""
        return ledger.Change(
            key=self.book,
            s=str(changes.last),
            first=str(changes.first),
            bids=self._texts(changes.bids.items()),
            asks=self._texts(changes.asks.items()),
        )

    def booked(
        self,
        kind: str,
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
        checksum: int,
        now_ns: int,
    ) -> bytes:
        """Of `book`: the levels, with the checksum of what a client then has."""
        data = {
            "symbol": self.symbol,
            "bids": self._levels(bids),
            "asks": self._levels(asks),
            "checksum": checksum,
            "timestamp": at(now_ns),
        }
        return envelope("book", kind, [data])

    def _levels(self, levels: Iterable[tuple[int, int]]) -> list[dict[str, Raw]]:
        return [{"price": number(self.price(ticks)), "qty": number(self.amount(lots))} for ticks, lots in levels]

    def _texts(self, levels: Iterable[tuple[int, int]]) -> ledger.Levels:
        return tuple([(self.price(ticks), self.amount(lots)) for ticks, lots in levels])

    def _trade(self, trade: Trade) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "side": "sell" if trade.taker_sells else "buy",
            "price": number(self.price(trade.price)),
            "qty": number(self.amount(trade.lots)),
            "ord_type": "market",
            "trade_id": trade.id,
            "timestamp": at(trade.time_ns),
        }

    def _trade_record(self, trade: Trade) -> ledger.Trade:
        return ledger.Trade(
            key=self.trades,
            s=str(trade.id),
            first=str(trade.id),
            price=self.price(trade.price),
            amount=self.amount(trade.lots),
            side="sell" if trade.taker_sells else "buy",
            exchange_ns=trade.time_ns // US * US,
        )

    def _cut(self, text: str) -> str:
        """A text of eight places to the places of a price."""
        return text[: len(text) - 8 + self.price_precision] if self.price_precision else text[:-9]


def envelope(channel: str, kind: str, data: object, **more: object) -> bytes:
    """`{"channel":…,"type":…,"data":…}`"""
    return encode({"channel": channel, "type": kind, **more, "data": data})


def number(text: str | None) -> Raw:
    """With its digits as they are."""
    assert text is not None
    return Raw(text.encode())


def at(ns: int) -> str:
    """`2026-11-22T08:15:30.123456Z`"""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // US:06d}Z"
