"""The Bybit dialect of a simulated market: who is told what, and when."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ingest.simulator.allowance import Window
from ingest.simulator.bars import SECOND_NS
from ingest.simulator.bybit.depth import EVERY_NS, Depth
from ingest.simulator.bybit.frames import INTERVALS, TRADES_A_FRAME, Listed, Sides, encode
from ingest.simulator.bybit.rest import NO_SUCH_PATH, TOO_FREQUENT, Rest
from ingest.simulator.bybit.session import Hearers, Session, Topic
from ingest.simulator.ledger import Event
from ingest.simulator.market import Market, Trade
from ingest.simulator.texts import MS
from ingest.simulator.venue import CUT, Answer, Close, Frame

CONNECTS: Final = 500
CONNECTS_WITHIN_NS: Final = 300 * SECOND_NS
DEEPEST: Final = max(EVERY_NS)
"""The depth whose changes the ledger tells, and whose ids are those of REST."""
_TICK_NS: Final = 10 * MS
_TICKERS_NS: Final = 50 * MS
_AGAIN_NS: Final = 3 * SECOND_NS
"""The best prices are told again if they do not change for so long."""
_BARS: Final = {interval: name for name, interval in INTERVALS.items()}


class Bybit:
    """The whole exchange. Its clock is `advance`; the same market and the same clients give the same bytes."""

    has_checksums = False
    # No notice, and no close frame that anybody has recorded.
    maintenance = Close(CUT, "")

    def __init__(self, market: Market, start_ns: int) -> None:
        self.market = market
        self._listed = {pair: Listed(pair) for pair in market.pairs}
        self.keys = frozenset(key for listed in self._listed.values() for key in listed.keys)
        self._hearers = Hearers(self._listed.values())
        self._depths: dict[Topic, Depth] = {}
        self._bases = dict.fromkeys(self._listed.values(), 0)
        """What the updates of a book that somebody comes to follow are counted from."""
        self.rest = Rest(self._listed.values(), self._depth)
        self._sessions: dict[Session, None] = {}
        self._connected = 0
        self._connects = Window(CONNECTS, CONNECTS_WITHIN_NS)
        self._seq = 118_058_640_184
        self._ticking: dict[Listed, None] = {}
        self._growing: dict[Listed, None] = {}
        """Of whom there is news for a ticker, and for candles."""
        self._told_ns: dict[Topic, int] = {}
        self._named: dict[Topic, int] = {}
        """Of best prices the last id that the ledger knows."""
        self._now_ns = start_ns
        self._tick_ns = start_ns // _TICK_NS * _TICK_NS + _TICK_NS
        self._events: list[Event] = []

    def refuse(self, keys: Collection[str]) -> None:
        """None of these can be subscribed to now, and all others can."""
        self._hearers.refused = keys

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """`/v5/public/spot`, at most 500 times in five minutes."""
        if urlsplit(target).path != "/v5/public/spot":
            return Answer(404, NO_SUCH_PATH)
        return None if self._connects.take(now_ns) else TOO_FREQUENT

    def connect(self, target: str) -> Session:
        """A connection to there."""
        self._connected += 1
        session = Session(self._hearers, self._connected, self._now_ns)
        self._sessions[session] = None
        return session

    def notice(self) -> bytes:
        """There is none on public streams: all that comes is the pong of a ping that nobody sent."""
        return encode({"success": True, "ret_msg": "pong", "op": "ping"})

    def crossed(self, frame: Frame) -> bytes | None:
        """Changes with a bid a tick above the best ask."""
        message: dict[str, Any] = msgspec.json.decode(frame.text)
        if not message["topic"].startswith("orderbook.") or message["type"] != "delta":
            return None
        listed = self._hearers.listed[message["data"]["s"]]
        above = (listed.pair.book.top().ask + 1, 1)
        message["data"]["b"] += listed.levels((above,))
        return encode(message)

    def miscounted(self, frame: Frame) -> bytes | None:
        """There are no checksums."""
        return None

    def begin_anew(self) -> None:
        """The service starts again: books are told whole, as number 1. Trades have no order that could begin anew."""
        self._bases = {listed: listed.pair.book.update_id - 1 for listed in self._listed.values()}
        for topic, depth in self._depths.items():
            told = depth.begin_anew()
            if depth.levels == 1:
                self._tell(topic, self._top(topic, depth, self._now_ns))
                continue
            self._say(topic, Frame(self._booked(depth, "snapshot", told.sides, told.u, self._now_ns)))

    def advance(self, until_ns: int) -> Sequence[Event]:
        """All that happens until then. Who has just subscribed is told how things stand as of the end of it."""
        while self._tick_ns <= until_ns:
            self._run(self._tick_ns)
            self._tick(self._tick_ns)
            self._tick_ns += _TICK_NS
        self._run(until_ns)
        self._now_ns = until_ns
        # Those that have left want nothing, and go with the idle.
        for session in tuple(self._sessions):
            session.second(until_ns)
            if session.ending:
                del self._sessions[session]
        for session, topic in self._hearers.welcome():
            if topic.kind in ("tickers", "orderbook"):
                frame = self._whole(topic)
                self._events += frame.records
                session.outgoing.append(frame)
        events, self._events = self._events, []
        return events

    def _run(self, until_ns: int) -> None:
        for pair, trades, now_ns in self.market.run(until_ns):
            self._seq += 1
            if trades:
                self._trade(self._listed[pair], trades, now_ns)

    def _trade(self, listed: Listed, trades: Sequence[Trade], now_ns: int) -> None:
        self._ticking[listed] = self._growing[listed] = None
        topic = Topic("publicTrade", "", listed.native)
        if listed.trades not in self._hearers.followed:
            return
        for begin in range(0, len(trades), TRADES_A_FRAME):
            self._tell(topic, listed.traded(trades[begin : begin + TRADES_A_FRAME], self._seq, now_ns))

    def _tick(self, now_ns: int) -> None:
        """What happens on the clock."""
        if now_ns % SECOND_NS == 0:
            for listed in self._listed.values():
                self._second(listed, now_ns)
            self._growing.clear()
        if now_ns % _TICKERS_NS == 0:
            for listed in self._ticking:
                topic = Topic("tickers", "", listed.native)
                if topic in self._hearers.of:
                    self._tell(topic, listed.ticked(self._seq, now_ns))
            self._ticking.clear()
        for topic, depth in tuple(self._depths.items()):
            if now_ns % EVERY_NS[depth.levels] == 0:
                self._follow(topic, depth, now_ns)

    def _second(self, listed: Listed, now_ns: int) -> None:
        for interval, bar in listed.pair.bars.roll(now_ns):
            name = _BARS.get(interval)
            if name is None or listed.candles[name] not in self._hearers.followed:
                continue
            frame = listed.candle(name, bar, now_ns, closed=True)
            self._events += frame.records
            # Nobody says whether an interval without trades is told of at all; here it is not.
            if bar.trades:
                self._say(Topic("kline", name, listed.native), frame)
        if listed in self._growing:
            for name, interval in INTERVALS.items():
                topic = Topic("kline", name, listed.native)
                if topic in self._hearers.of and (bar := listed.pair.bars.current(interval)).trades:
                    self._tell(topic, listed.candle(name, bar, now_ns, closed=False))

    def _follow(self, topic: Topic, depth: Depth, now_ns: int) -> None:
        heard = topic in self._hearers.of
        if not heard and depth.levels != DEEPEST:
            del self._depths[topic]
            return
        told = depth.follow()
        if depth.levels == 1:
            if told or now_ns - self._told_ns.get(topic, 0) >= _AGAIN_NS:
                self._tell(topic, self._top(topic, depth, now_ns))
        elif told:
            record = depth.listed.book_record(told.sides, told.u) if depth.levels == DEEPEST else None
            text = self._booked(depth, "delta", told.sides, told.u, now_ns)
            if record:
                self._events.append(record)
            self._say(topic, Frame(text, (record,) if record else ()))

    def _depth(self, listed: Listed, levels: int) -> Depth:
        topic = Topic("orderbook", str(levels), listed.native)
        if topic not in self._depths:
            self._depths[topic] = Depth(listed, levels, self._bases[listed])
        return self._depths[topic]

    def _booked(self, depth: Depth, kind: str, sides: Sides, u: int, now_ns: int) -> bytes:
        return depth.listed.booked(depth.levels, kind, sides, u, self._seq, now_ns)

    def _top(self, topic: Topic, depth: Depth, now_ns: int) -> Frame:
        self._told_ns[topic] = now_ns
        known = self._named.get(topic) == depth.u
        self._named[topic] = depth.u
        return depth.listed.topped(depth.whole.sides, depth.u, self._seq, now_ns, again=known)

    def _tell(self, topic: Topic, frame: Frame) -> None:
        self._events += frame.records
        self._say(topic, frame)

    def _say(self, topic: Topic, frame: Frame) -> None:
        for session in self._hearers.of.get(topic, ()):
            session.outgoing.append(frame)

    def _whole(self, topic: Topic) -> Frame:
        listed = self._hearers.listed[topic.symbol]
        if topic.kind == "tickers":
            return listed.ticked(self._seq, self._now_ns, answer=True)
        depth = self._depth(listed, int(topic.detail))
        if depth.levels == 1:
            return self._top(topic, depth, self._now_ns)
        return Frame(self._booked(depth, "snapshot", depth.whole.sides, depth.u, self._now_ns))
