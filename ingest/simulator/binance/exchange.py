"""The Binance dialect of a simulated market: who is told what, and when."""

from typing import Literal

import msgspec

from ingest.simulator.bars import INTERVALS, SECOND_NS
from ingest.simulator.binance.frames import MS, Listed, Said
from ingest.simulator.binance.rest import Rest
from ingest.simulator.binance.session import Session, Streams, parse
from ingest.simulator.book import Top
from ingest.simulator.ledger import Record
from ingest.simulator.market import Market
from ingest.simulator.venue import Answer

_TICK_NS = 100 * MS

encode = msgspec.json.Encoder().encode


class Binance:
    """The whole exchange. Its clock is `advance`; the same market and the same clients give the same bytes."""

    def __init__(self, market: Market, start_ns: int) -> None:
        self._market = market
        self._listed = {pair: Listed(pair) for pair in market.pairs}
        self._rest = Rest(self._listed.values())
        self._streams = Streams()
        self._tops: dict[Listed, Top] = {}
        self._tick_ns = start_ns // _TICK_NS * _TICK_NS + _TICK_NS
        self._records: list[Record] = []
        self._skipped: list[str] = []

    def accepts(self, target: str) -> bool:
        """`/ws…` or `/stream…`"""
        return parse(target) is not None

    def connect(self, target: str) -> Session:
        """A connection to there."""
        return Session(target, self._streams)

    def get(self, target: str, now_ns: int) -> Answer:
        """A REST request, answered from the market as of the last `advance`."""
        return self._rest.get(target, now_ns)

    def skip(self, by_ns: int) -> None:
        """The crowd pauses; candles and tickers go on."""
        self._market.skip(by_ns)

    def skip_next(self, kind: Literal["trade", "depth"], symbol: str) -> None:
        """One event will be recorded but not sent."""
        listed = next(listed for listed in self._listed.values() if listed.pair.listing.symbol == symbol)
        self._skipped.append(listed.trade_stream if kind == "trade" else listed.depth_stream)

    def advance(self, until_ns: int) -> list[Record]:
        """All that happens until then."""
        while self._tick_ns <= until_ns:
            self._run(self._tick_ns)
            self._tick(self._tick_ns)
            self._tick_ns += _TICK_NS
        self._run(until_ns)
        records, self._records = self._records, []
        return records

    def _run(self, until_ns: int) -> None:
        followed, hearers = self._streams.followed, self._streams.hearers
        for pair, trades, _ in self._market.run(until_ns):
            listed = self._listed[pair]
            if trades and listed.trade_stream in followed:
                for trade in trades:
                    self._say(listed.trade_stream, listed.trade(trade))
            if listed.book_ticker_stream in hearers:
                self._say_top(listed)

    def _say_top(self, listed: Listed) -> None:
        top = listed.pair.book.top()
        if top != self._tops.get(listed):
            self._tops[listed] = top
            self._say(listed.book_ticker_stream, listed.book_ticker(top))

    def _tick(self, now_ns: int) -> None:
        """What happens on the clock: depth every 100 ms, the rest on whole seconds, and klines off their boundaries."""
        for listed in self._listed.values():
            changes = listed.pair.book.drain()
            if changes and listed.depth_stream in self._streams.followed:
                self._say(listed.depth_stream, listed.depth(changes, now_ns))
            if now_ns % SECOND_NS == 0:
                self._second(listed, now_ns)
            if now_ns % SECOND_NS == SECOND_NS // 2:
                self._say_kline(listed, "1s", now_ns)
            if now_ns % (2 * SECOND_NS) == SECOND_NS:
                for interval in INTERVALS:
                    if interval != "1s":
                        self._say_kline(listed, interval, now_ns)

    def _second(self, listed: Listed, now_ns: int) -> None:
        for interval, bar in listed.pair.bars.roll(now_ns):
            if listed.kline_streams[interval] in self._streams.hearers:
                self._say(listed.kline_streams[interval], listed.kline(interval, bar, now_ns, closed=True))
        if listed.ticker_stream in self._streams.hearers:
            self._say(listed.ticker_stream, listed.ticker(now_ns))

    def _say_kline(self, listed: Listed, interval: str, now_ns: int) -> None:
        stream = listed.kline_streams[interval]
        if stream in self._streams.hearers:
            bar = listed.pair.bars.current(interval)
            self._say(stream, listed.kline(interval, bar, now_ns, closed=False))

    def _say(self, stream: str, said: Said) -> None:
        data, record = said
        self._records.append(record)
        hearers = self._streams.hearers.get(stream)
        if not hearers:
            return
        if stream in self._skipped:
            self._skipped.remove(stream)
            return
        raw = encode(data)
        combined = b'{"stream":"%b","data":%b}' % (stream.encode(), raw)
        for session in hearers:
            session.outgoing.append(combined if session.combined else raw)
