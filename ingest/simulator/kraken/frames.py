"""What Kraken says of each thing that happens on the market, and what the ledger says of it.

Numbers are JSON numbers with all their digits, so they are put into frames as they are written.
https://docs.kraken.com/api/docs/websocket-v2/trade
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, structs

from ingest.contract.keys import StreamKey
from ingest.simulator import ledger, records
from ingest.simulator.bars import INTERVALS, Bar
from ingest.simulator.book import Changes
from ingest.simulator.listings import UNIT, decimal
from ingest.simulator.market import Pair, Trade
from ingest.simulator.texts import US, at
from ingest.simulator.venue import Frame

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
        return self.pair.listing.exact_price(ticks)

    def amount(self, lots: int) -> str:
        """`0.00420000`"""
        return self.pair.listing.amount(lots)

    def vwap(self, bar: Bar) -> str:
        """The average price of what was traded."""
        return self.price(bar.value // bar.lots) if bar.lots else "0.0"

    def traded(self, kind: str, trades: Sequence[Trade]) -> Frame:
        """Of `trade`: all of one taker's order in one frame. Those of a snapshot have been told before, or never."""
        data = [self._trade(trade) for trade in trades]
        told = [records.trade(self.trades, str(each.id), each, self, US) for each in trades if kind == "update"]
        return Frame(envelope("trade", kind, data), tuple(told))

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
            answer=kind == "snapshot",
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
        record = records.candle(self.candles[interval], "closed" if now_ns is None else now_ns // US * US, bar, self)
        return record if bar.trades else structs.replace(record, volume="0")

    def change(self, changes: Changes) -> ledger.Change:
        """All levels that changed, however deep, for the ledger."""
        return records.changed(ledger.Change, self.book, changes, self)

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

    def _trade(self, trade: Trade) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "side": trade.side,
            "price": number(self.price(trade.price)),
            "qty": number(self.amount(trade.lots)),
            "ord_type": "market",
            "trade_id": trade.id,
            "timestamp": at(trade.time_ns),
        }


def envelope(channel: str, kind: str, data: object, **more: object) -> bytes:
    """`{"channel":…,"type":…,"data":…}`"""
    return encode({"channel": channel, "type": kind, **more, "data": data})


def number(text: str | None) -> Raw:
    """With its digits as they are."""
    assert text is not None
    return Raw(text.encode())
