"""The Binance dialect of a simulated market: who is told what, and when."""

from collections.abc import Collection
from typing import Any

import msgspec

from ingest.simulator.allowance import Window
from ingest.simulator.bars import INTERVALS, SECOND_NS
from ingest.simulator.binance.frames import Listed, Said
from ingest.simulator.binance.rest import NO_SUCH_PATH, Rest, retry_after
from ingest.simulator.binance.session import Session, Streams, parse
from ingest.simulator.book import Top
from ingest.simulator.ledger import Record
from ingest.simulator.market import Market
from ingest.simulator.texts import MS
from ingest.simulator.venue import Answer, Close, Frame

CONNECTS = 300
CONNECTS_WITHIN_NS = 300 * SECOND_NS
_TICK_NS = 100 * MS
_TOO_MANY = b'{"code":-1003,"msg":"Too many connection attempts."}'

encode = msgspec.json.Encoder().encode


def combine(stream: str, raw: bytes) -> bytes:
    """As said on a connection that tells of which stream its frames are."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), raw)


class Binance:
    """The whole exchange. Its clock is `advance`; the same market and the same clients give the same bytes."""

    has_checksums = False
    maintenance = Close(1012, "service restart")

    def __init__(self, market: Market, start_ns: int) -> None:
        self.market = market
        self._listed = {pair: Listed(pair) for pair in market.pairs}
        self.keys = frozenset(key for listed in self._listed.values() for key in listed.keys)
        self.rest = Rest(self._listed.values())
        self._streams = Streams()
        self._connects = Window(CONNECTS, CONNECTS_WITHIN_NS)
        self._now_ns = start_ns
        self._tops: dict[Listed, Top] = {}
        self._tick_ns = start_ns // _TICK_NS * _TICK_NS + _TICK_NS
        self._records: list[Record] = []

    def refuse(self, keys: Collection[str]) -> None:
        """None of these can be subscribed to now, and all others can."""
        names = {key: names for listed in self._listed.values() for key, names in listed.keys.items()}
        self._streams.refused = {name for key in keys for name in names[key]}

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """`/ws…` or `/stream…`, at most 300 times in five minutes."""
        if parse(target) is None:
            return Answer(404, NO_SUCH_PATH)
        if self._connects.take(now_ns):
            return None
        return Answer(429, _TOO_MANY, retry_after(-(-self._connects.wait_ns(now_ns) // SECOND_NS)))

    def connect(self, target: str) -> Session:
        """A connection to there."""
        return Session(target, self._streams)

    def notice(self) -> bytes:
        """Ten minutes before a connection's 24 hours are over, or a server goes down."""
        raw = encode({"e": "serverShutdown", "E": self._now_ns // MS})
        return combine("!serverShutdown", raw)

    def crossed(self, frame: Frame) -> bytes | None:
        """A diff with a bid a tick above the best ask."""
        message: dict[str, Any] = msgspec.json.decode(frame.text)
        data = message.get("data", message)
        if data.get("e") != "depthUpdate":
            return None
        listed = next(each for each in self._listed.values() if each.native == data["s"])
        data["b"].append(listed.level(listed.pair.book.top().ask + 1, 1))
        return encode(message)

    def miscounted(self, frame: Frame) -> bytes | None:
        """There are no checksums."""
        return None

    def begin_anew(self) -> None:
        """Count all ids from lower ones."""
        self.market.begin_anew()
        self._tops.clear()

    def advance(self, until_ns: int) -> list[Record]:
        """All that happens until then."""
        while self._tick_ns <= until_ns:
            self._run(self._tick_ns)
            self._tick(self._tick_ns)
            self._tick_ns += _TICK_NS
        self._run(until_ns)
        self._now_ns = until_ns
        records, self._records = self._records, []
        return records

    def _run(self, until_ns: int) -> None:
        followed, hearers = self._streams.followed, self._streams.hearers
        for pair, trades, _ in self.market.run(until_ns):
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
            if listed.kline_streams[interval] in self._streams.followed:
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
        raw = encode(data)
        bare, combined = Frame(raw, (record,)), Frame(combine(stream, raw), (record,))
        for session in hearers:
            session.outgoing.append(combined if session.combined else bare)
