"""Coinbase's frames by themselves."""

from collections.abc import Mapping, Sequence

from ingest.contract.events import Delta, Event, Snapshot
from ingest.contract.keys import StreamKey, parse_symbol
from ingest.exchanges import coinbase_frames as frames
from ingest.exchanges.counted import CountedBook
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.reading import EachTicker, EachTrade
from ingest.exchanges.session import Session
from ingest.exchanges.talk import UNREADABLE


class CoinbaseReader:
    """Of any symbols. Candles there are none in the feed."""

    def __init__(self, symbols: Mapping[str, str], *, raw_books: bool) -> None:
        self.held = 0
        """Deltas without a snapshot that they could join."""
        self._symbols = symbols
        self._raw_books = raw_books
        self._session = Session("reader")
        self._tickers: dict[StreamKey, EachTicker] = {}
        self._books: dict[StreamKey, CountedBook] = {}

    def snapshot(self, body: bytes) -> None:
        """There is none that would be of use."""
        raise SkipFrame("the books of coinbase join no answer of REST: they begin with a frame", frame=body[:300])

    def read(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """The events of a data frame. The trade before all others is none that was heard."""
        try:
            match frames.read(frame):
                case frames.LastMatch() | frames.Heartbeat():
                    return ()
                case frames.Match() as said:
                    topic = EachTrade(self._key("trades", said.product_id))
                    return topic.trade(said.trade_id, frames.trade(said, now_ns), now_ns)
                case frames.Ticker() as said:
                    return self._ticker(said, now_ns)
                case frames.Whole() | frames.Changes() as said:
                    return self._levels(said, now_ns)
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), frame=frame) from bad
        raise SkipFrame("not the data of a stream", frame=frame)

    def _key(self, channel: str, native: str) -> StreamKey:
        return StreamKey("coinbase", channel, parse_symbol(self._symbols.get(native, native)))

    def _ticker(self, said: frames.Ticker, now_ns: int) -> Sequence[Event]:
        key, known = self._key("ticker", said.product_id), frames.ticker(said, now_ns)
        ticker = self._tickers.setdefault(key, EachTicker(key))
        return ticker.say("ticker", said.sequence, known.facts, known.exchange_ns, now_ns)

    def _levels(self, said: frames.Whole | frames.Changes, now_ns: int) -> Sequence[Event]:
        key, whole = self._key("orderbook", said.product_id), isinstance(said, frames.Whole)
        levels = frames.whole(said, now_ns) if isinstance(said, frames.Whole) else frames.changes(said, now_ns)
        if self._raw_books:
            return (Event(key, self._session.identity(), _body(levels, whole=whole), "session"),)
        book = self._book(key, now_ns)
        if whole:
            return book.snapshot(levels.bids, levels.asks, levels.exchange_ns, now_ns)
        self.held += not book.warm
        return book.delta(levels, now_ns)

    def _book(self, key: StreamKey, now_ns: int) -> CountedBook:
        if key not in self._books:
            self._books[key] = CountedBook(key, self._session, None, None)
            self._books[key].own(now_ns)
        return self._books[key]


def _body(levels: Delta, *, whole: bool) -> Snapshot | Delta:
    if not whole:
        return levels
    return Snapshot(bids=levels.bids, asks=levels.asks, received_ns=levels.received_ns, exchange_ns=levels.exchange_ns)
