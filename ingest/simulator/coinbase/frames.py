"""What Coinbase says of each thing that happens on the market, and what the ledger says of it. Numbers are text.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import msgspec

from ingest.contract.keys import StreamKey
from ingest.simulator import ledger, records
from ingest.simulator.bars import INTERVALS, MONTH
from ingest.simulator.book import Changes
from ingest.simulator.market import Pair, Trade
from ingest.simulator.texts import US, at
from ingest.simulator.venue import Frame

NO_TIME: Final = "0001-01-01T00:00:00.000000Z"
encode = msgspec.json.Encoder().encode


class Listed:
    """A pair under Coinbase's name and under ours, and what it says."""

    def __init__(self, pair: Pair) -> None:
        listing = pair.listing
        self.pair = pair
        self.product = listing.symbol.replace("/", "-")
        self.trades = self._key("trades")
        self.ticker = self._key("ticker")
        self.book = self._key("orderbook")

    @property
    def sequence(self) -> int:
        """Of everything that happens to the product."""
        return self.pair.book.update_id

    @property
    def keys(self) -> tuple[str, ...]:
        """All streams that come of it; of candles it says nothing, whoever hears the trades can make them."""
        candles = (self._key(f"candles-{interval}") for interval, length in INTERVALS.items() if length != MONTH)
        return (self.trades, self.ticker, self.book, *candles)

    def price(self, ticks: int) -> str:
        """`61250.10`"""
        return self.pair.listing.exact_price(ticks)

    def amount(self, lots: int) -> str:
        """`0.00420000`"""
        return self.pair.listing.amount(lots)

    def matched(self, trade: Trade, kind: str = "match") -> Frame:
        """Of `matches`. The last one before a subscription was told before, or never."""
        data = {
            "type": kind,
            "trade_id": trade.id,
            "maker_order_id": str(UUID(int=2 * trade.id)),
            "taker_order_id": str(UUID(int=2 * trade.id + 1)),
            **self.traded(trade),
            "product_id": self.product,
            "sequence": self.sequence,
        }
        record = records.trade(self.trades, str(trade.id), trade, self, US)
        return Frame(encode(data), (record,) if kind == "match" else ())

    def traded(self, trade: Trade) -> dict[str, Any]:
        """What REST says of it, too. The side is the maker's."""
        return {
            "side": "buy" if trade.taker_sells else "sell",
            "size": self.amount(trade.lots),
            "price": self.price(trade.price),
            "time": at(trade.time_ns),
        }

    def ticked(self, now_ns: int) -> Frame:
        """Of `ticker`: the newest trade, the best prices, and the rolling 24 hours. Its side is the taker's."""
        top, day, last = self.pair.book.top(), self.pair.bars.day(), self.pair.last
        s = f"ticker.{self.sequence}"
        record = ledger.Ticker(
            key=self.ticker,
            s=s,
            first=s,
            bid=self.price(top.bid),
            bid_amount=self.amount(top.bid_lots),
            ask=self.price(top.ask),
            ask_amount=self.amount(top.ask_lots),
            last=self.price(last.price),
            last_amount=self.amount(last.lots),
            open=self.price(day.open),
            high=self.price(day.high),
            low=self.price(day.low),
            volume=self.amount(day.lots),
        )
        data = {
            "type": "ticker",
            "sequence": self.sequence,
            "product_id": self.product,
            "price": record.last,
            "open_24h": record.open,
            "volume_24h": record.volume,
            "low_24h": record.low,
            "high_24h": record.high,
            "volume_30d": self.amount(day.lots * 30),
            "best_bid": record.bid,
            "best_bid_size": record.bid_amount,
            "best_ask": record.ask,
            "best_ask_size": record.ask_amount,
            "side": last.side,
            "time": at(now_ns),
            "trade_id": last.id,
            "last_size": record.last_amount,
        }
        return Frame(encode(data), (record,))

    def whole(self, time: str) -> Frame:
        """Of `level2_batch`: all levels there are."""
        book = self.pair.book
        data = {
            "type": "snapshot",
            "product_id": self.product,
            "bids": self.levels(book.bids.levels(len(book.bids))),
            "asks": self.levels(book.asks.levels(len(book.asks))),
            "time": time,
        }
        return Frame(encode(data))

    def noted(self) -> ledger.Whole:
        """What the ledger says of a book right after a batch."""
        bids, asks = (self.levels(side.amounts.items()) for side in (self.pair.book.bids, self.pair.book.asks))
        s = str(self.sequence + 1)
        return ledger.Whole(key=self.book, s=s, first=s, bids=bids, asks=asks)

    def changed(self, changes: Changes, now_ns: int) -> Frame:
        """Of `level2_batch`: what became of the levels that changed in the last 50 ms."""
        record = records.changed(ledger.Change, self.book, changes, self)
        levels = [["buy", *level] for level in record.bids] + [["sell", *level] for level in record.asks]
        data = {"type": "l2update", "product_id": self.product, "changes": levels, "time": at(now_ns)}
        return Frame(encode(data), (record,))

    def beat(self, now_ns: int) -> Frame:
        """Of `heartbeat`."""
        data = {
            "type": "heartbeat",
            "sequence": self.sequence,
            "last_trade_id": self.pair.last.id,
            "product_id": self.product,
            "time": at(now_ns),
        }
        return Frame(encode(data))

    def levels(self, levels: Iterable[tuple[int, int]]) -> ledger.Levels:
        """[price, size]; a size of zero removes."""
        return records.levels(self, levels)

    def _key(self, channel: str) -> str:
        return str(StreamKey("coinbase", channel, self.pair.listing.symbol))
