"""What OKX says of each thing that happens on the market, and what the ledger says of it.

Numbers are texts without needless zeros. https://www.okx.com/docs-v5/en/#order-book-trading-market-data
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ingest.contract.keys import StreamKey
from ingest.simulator import ledger, records
from ingest.simulator.bars import Bar
from ingest.simulator.book import Changes
from ingest.simulator.listings import decimal
from ingest.simulator.market import Pair, Trade
from ingest.simulator.texts import MS, short
from ingest.simulator.venue import Frame


def _ours(bar: str) -> str:
    """`1m` is a minute, and `1M` a month, on both sides."""
    bar = bar.removesuffix("utc")
    return bar if bar == "1M" else bar.lower()


DEPTH: Final = 400
"""Levels a side that a book has; the market is not as deep, so that none ever falls out of range."""
_BARS: Final = "1s 1m 3m 5m 15m 30m 1H 2H 4H 6Hutc 12Hutc 1Dutc 3Dutc 1Wutc 1Mutc"
BARS: Final[Mapping[str, str]] = {_ours(bar): bar for bar in _BARS.split()}
"""The intervals by the exchange's names of them; those that open by Hong Kong's day are left out."""
_VOLUME_PLACES: Final = 18

encode = msgspec.json.Encoder().encode


class Listed:
    """A pair under OKX's name and under ours, and what it says."""

    def __init__(self, pair: Pair) -> None:
        listing = pair.listing
        self.pair = pair
        self.native = f"{listing.base}-{listing.quote}"
        self.trades, self.ticker, self.book = map(self._key, ("trades", "ticker", "orderbook"))
        self.candles = {interval: self._key(f"candles-{interval}") for interval in BARS}
        self.streams = {
            "trades-all": self.trades,
            "tickers": self.ticker,
            "books": self.book,
            **{f"candle{bar}": self.candles[interval] for interval, bar in BARS.items()},
        }
        """Ours, by the exchange's channels."""

    def price(self, ticks: int) -> str:
        """`61250.1`"""
        return short(self.pair.listing.price(ticks))

    def amount(self, lots: int) -> str:
        """`0.0042`"""
        return short(self.pair.listing.amount(lots))

    def trade(self, trade: Trade) -> dict[str, str]:
        """One match, on the stream and by REST."""
        return {
            "instId": self.native,
            "tradeId": str(trade.id),
            "px": self.price(trade.price),
            "sz": self.amount(trade.lots),
            "side": trade.side,
            "source": "0",
            "ts": str(trade.time_ns // MS),
        }

    def traded(self, trade: Trade) -> Frame:
        """Of `trades-all`: each match by itself."""
        record = records.trade(self.trades, str(trade.id), trade, self, MS)
        return Frame(self._said("trades-all", [self.trade(trade)]), (record,))

    def ticked(self, now_ns: int) -> Frame:
        """Of `tickers`: the best prices, and the rolling 24 hours."""
        top, day, last = self.pair.book.top(), self.pair.bars.day(), self.pair.last
        s = f"ticker.{now_ns // MS * MS}"
        record = ledger.Ticker(
            key=self.ticker,
            s=s,
            first=s,
            bid=self.price(top.bid) if top.bid else None,
            bid_amount=self.amount(top.bid_lots) if top.bid else None,
            ask=self.price(top.ask) if top.ask else None,
            ask_amount=self.amount(top.ask_lots) if top.ask else None,
            last=self.price(last.price),
            last_amount=self.amount(last.lots),
            open=self.price(day.open),
            high=self.price(day.high),
            low=self.price(day.low),
            volume=self.amount(day.lots),
            quote_volume=self._value(day),
        )
        data = {
            "instType": "SPOT",
            "instId": self.native,
            "last": record.last,
            "lastSz": record.last_amount,
            "askPx": record.ask or "",
            "askSz": record.ask_amount or "",
            "bidPx": record.bid or "",
            "bidSz": record.bid_amount or "",
            "open24h": record.open,
            "high24h": record.high,
            "low24h": record.low,
            "sodUtc0": record.open,
            "sodUtc8": record.open,
            "volCcy24h": record.quote_volume,
            "vol24h": record.volume,
            "ts": str(now_ns // MS),
        }
        return Frame(self._said("tickers", [data]), (record,))

    def candle(self, bar: Bar, *, closed: bool) -> list[str]:
        """A row of nine texts."""
        prices = (self.price(price) for price in (bar.open, bar.high, bar.low, bar.close))
        value = self._value(bar)
        return [str(bar.open_ns // MS), *prices, self.amount(bar.lots), value, value, "1" if closed else "0"]

    def grown(self, interval: str, bar: Bar, *, closed: bool) -> Frame:
        """Of a candle's channel. It bears no time: how far it has grown tells one state from another."""
        row = self.candle(bar, closed=closed)
        record = records.candle(self.candles[interval], "closed" if closed else _mark(row[5]), bar, self)
        return Frame(self._said(f"candle{BARS[interval]}", [row]), (record,))

    def book_data(self, now_ns: int) -> dict[str, Any]:
        """The whole book, as it is on the stream and by REST."""
        book = self.pair.book
        sides = {"asks": book.asks.levels(DEPTH), "bids": book.bids.levels(DEPTH)}
        rows = {name: self._rows(levels) for name, levels in sides.items()}
        return {**rows, "ts": str(now_ns // MS), "seqId": book.update_id}

    def whole(self, now_ns: int) -> bytes:
        """Of `books`: what everything after it is a change of."""
        return self._booked("snapshot", {**self.book_data(now_ns), "prevSeqId": -1})

    def changed(self, changes: Changes, previous_id: int, now_ns: int) -> Frame:
        """Of `books`: what is new since the update before, which it names."""
        record = records.changed(ledger.Delta, self.book, changes, self)
        rows = {"asks": self._rows(changes.asks.items()), "bids": self._rows(changes.bids.items())}
        ids = {"prevSeqId": previous_id, "seqId": changes.last}
        return Frame(self._booked("update", {**rows, "ts": str(now_ns // MS), **ids}), (record,))

    def unchanged(self, now_ns: int) -> bytes:
        """Of `books`: nothing is new for long."""
        newest = self.pair.book.update_id
        ids = {"prevSeqId": newest, "seqId": newest}
        return self._booked("update", {"asks": [], "bids": [], "ts": str(now_ns // MS), **ids})

    def row(self, ticks: int, lots: int) -> list[str]:
        """A level; the third text is of no use any more, the fourth counts the orders."""
        return [self.price(ticks), self.amount(lots), "0", "1" if lots else "0"]

    def _rows(self, levels: Iterable[tuple[int, int]]) -> list[list[str]]:
        return [self.row(ticks, lots) for ticks, lots in levels]

    def _booked(self, action: str, data: dict[str, Any]) -> bytes:
        return self._said("books", [{**data, "checksum": 0}], action=action)

    def _said(self, channel: str, data: list[Any], **more: str) -> bytes:
        return encode({"arg": {"channel": channel, "instId": self.native}, **more, "data": data})

    def _value(self, bar: Bar) -> str:
        return short(self.pair.listing.value(bar.value))

    def _key(self, channel: str) -> str:
        return str(StreamKey("okx", channel, self.pair.listing.symbol))


def step(units: int) -> str:
    """The size of a tick or a lot."""
    return short(decimal(units))


def _mark(volume: str) -> str:
    whole, _, part = volume.partition(".")
    return str(int(whole + part.ljust(_VOLUME_PLACES, "0")))
