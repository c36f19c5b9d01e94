"""Who hears what Coinbase says of one product."""

from collections.abc import Sequence
from typing import Final

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.contract.numbers import exchange_time
from ingest.exchanges import coinbase_frames as frames
from ingest.exchanges.built_candles import TradeCandles
from ingest.exchanges.by_id import PagesBack
from ingest.exchanges.coinbase_rest import bucket_of
from ingest.exchanges.counted import CountedBook
from ingest.exchanges.dense import DenseTrades
from ingest.exchanges.known_ticker import KnownTicker
from ingest.exchanges.session import Session
from ingest.exchanges.times import nanoseconds
from ingest.exchanges.topic import Topic

TRADED: Final = ("matches", "ticker")
"""The feeds in which something comes of each trade."""
PAGE: Final = 1_000
"""Trades of one answer by REST."""
_LATE_BEATS: Final = 10
"""So many heartbeats in a row may tell of a trade of which a feed has said nothing."""


class Listener:
    """Of a product, on one connection. Frames of what nobody wants any more fall silent."""

    def __init__(self, session: Session) -> None:
        self.trades: DenseTrades | None = None
        self.ticker: KnownTicker | None = None
        self.book: CountedBook | None = None
        self.candles = TradeCandles()
        self.pages = PagesBack(PAGE)
        self._session = session
        self._heard = dict.fromkeys(TRADED, 0)
        self._late = dict.fromkeys(TRADED, 0)
        self._told = 0
        self._next = 0
        self._missing = 0
        """Trades that were passed over; some may be late."""
        self._silent = False

    def open(self, key: StreamKey, position: str | None, now_ns: int) -> Topic:
        """Somebody who understands what is said of this stream."""
        match key.channel:
            case "trades":
                self.trades = topic = DenseTrades(key, self._session, position)
                return topic
            case "ticker":
                self.ticker = ticker = KnownTicker(key, self._session, position)
                return ticker
            case "orderbook":
                self.book = book = CountedBook(key, self._session, position, None, audited=True)
                return book
        return self.candles.add(key, self._session, position, bucket_of(key.interval or ""), now_ns)

    def close(self, key: StreamKey, now_ns: int) -> None:
        """Nobody wants it any more."""
        match key.channel:
            case "trades":
                self.trades = None
            case "ticker":
                self.ticker = None
            case "orderbook":
                self.book = None
        self.candles.drop(key, now_ns)

    def hear(self, said: frames.Data, now_ns: int) -> Sequence[Event]:
        """What it means. Raises ValueError before anything is changed."""
        match said:
            case frames.Match():
                return self._match(said, now_ns)
            case frames.Ticker():
                return self._tick(said, now_ns)
            case frames.Whole():
                levels = frames.whole(said, now_ns)
                return self.book.snapshot(levels.bids, levels.asks, levels.exchange_ns, now_ns) if self.book else ()
            case frames.Changes():
                delta = frames.changes(said, now_ns)
                return self.book.delta(delta, now_ns) if self.book else ()
            case frames.Heartbeat():
                return self._beat(said, now_ns)

    def silent(self) -> list[str]:
        """The feeds that say nothing, although there is something to say; each is named once in a while."""
        found = [feed for feed, late in self._late.items() if late >= _LATE_BEATS]
        self._late.update(dict.fromkeys(found, 0))
        return found

    def _match(self, said: frames.Match, now_ns: int) -> list[Event]:
        """A trade; the last one before all others is no news, and tells which one is the next."""
        trade = frames.trade(said, now_ns)
        self._follow(said)
        events = self.candles.trade(said.trade_id, trade, now_ns)
        if self.trades and isinstance(said, frames.LastMatch):
            self.trades.stands_at(said.trade_id, now_ns)
        elif self.trades:
            events += self.trades.trade(said.trade_id, trade, now_ns)
        return events

    def _tick(self, said: frames.Ticker, now_ns: int) -> Sequence[Event]:
        """All of a ticker."""
        known = frames.ticker(said, now_ns)
        self._heard["ticker"] = said.trade_id or 0
        if self.ticker is None:
            return ()
        return self.ticker.say("ticker", said.sequence, known.facts, known.exchange_ns, now_ns)

    def _beat(self, said: frames.Heartbeat, now_ns: int) -> list[Event]:
        """What should have come by now: the trade that the beat before this one told of."""
        at_ns = exchange_time(nanoseconds(said.time), now_ns)
        newest = said.last_trade_id or 0
        told, self._told = self._told, newest
        for feed, heard in self._heard.items():
            self._late[feed] = self._late[feed] + 1 if heard < told <= newest else 0
        if self.trades and self.trades.last is not None and told <= newest:
            self.trades.stands_at(told, now_ns)
        events = self.candles.stands_at(newest, at_ns, now_ns) if at_ns else []
        if self._lost() and self.book:
            # Nothing else tells that changes of a book are lost.
            events += self.book.resync("trades were lost on the way, and so may changes be", now_ns)
        return events

    def _lost(self) -> bool:
        """Whether trades of this connection have not come, since the last beat; of a silent feed it is said once."""
        missing, self._missing = self._missing, 0
        falls_silent = bool(self._next) and self._late["matches"] > 0 and not self._silent
        self._silent = self._silent or falls_silent
        return missing > 0 or falls_silent

    def _follow(self, said: frames.Match) -> None:
        """Count what is passed over on this connection."""
        self._heard["matches"] = said.trade_id
        self._silent = False
        if isinstance(said, frames.LastMatch) or not self._next:
            self._next = said.trade_id + 1
        elif said.trade_id >= self._next:
            self._missing += said.trade_id - self._next
            self._next = said.trade_id + 1
        else:
            self._missing -= 1
