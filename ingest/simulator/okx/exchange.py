"""The OKX dialect of a simulated market: who is told what, and when."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from ingest.simulator.allowance import Window
from ingest.simulator.bars import SECOND_NS, Bar
from ingest.simulator.book import Changes, Top
from ingest.simulator.ledger import Event
from ingest.simulator.market import Market, Trade
from ingest.simulator.okx.frames import BARS, Listed, encode
from ingest.simulator.okx.rest import NO_SUCH_PATH, Rest
from ingest.simulator.okx.session import BUSINESS, PUBLIC, Hearers, Session, Topic
from ingest.simulator.texts import MS
from ingest.simulator.venue import Answer, Close, Frame

CONNECTS: Final = 3
"""In a second."""
CLOSED_AFTER_NS: Final = 60 * SECOND_NS
"""So long after it was said that a connection will be closed, it is."""
QUIET_NS: Final = 60 * SECOND_NS
"""Of a book that does not change for so long it is said that it does not."""
_TICK_NS: Final = 100 * MS
_UPGRADED: Final = Close(4006, "Abnormal disconnection")


class _Told(Struct, eq=False):
    """What was told of one pair, or would have been."""

    seq_id: int
    """The newest update of its book."""
    book_ns: int
    top: Top
    last_id: int
    """The newest trade that its ticker knows of."""
    ticker: Frame | None = None
    """As it was told last, and is still true."""
    trade_id: int = -1
    """The newest trade in the ledger."""
    grown: dict[str, tuple[int, int]] = {}
    """By interval, which candle was told last, and how many trades it had."""


class Okx:
    """The whole exchange. Its clock is `advance`; the same market and the same clients give the same bytes."""

    has_checksums = False
    """It has the field, which is always 0 by now."""
    maintenance = Close(4006, "Abnormal disconnection")

    def __init__(self, market: Market, start_ns: int) -> None:
        self.market = market
        self._listed = {pair: Listed(pair) for pair in market.pairs}
        self.keys = frozenset(key for listed in self._listed.values() for key in listed.streams.values())
        self.rest = Rest(self._listed.values())
        self._hearers = Hearers(self._listed.values())
        self._told = {
            listed: _Told(pair.book.update_id, start_ns, pair.book.top(), pair.last.id)
            for pair, listed in self._listed.items()
        }
        self._sessions: dict[Session, None] = {}
        self._closing: list[tuple[int, Session]] = []
        self._connected = 0
        self._connects = Window(CONNECTS, SECOND_NS)
        self._now_ns = start_ns
        self._tick_ns = start_ns // _TICK_NS * _TICK_NS + _TICK_NS
        self._events: list[Event] = []

    def refuse(self, keys: Collection[str]) -> None:
        """None of these can be subscribed to now, and all others can."""
        self._hearers.refused = keys

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """Either of the two paths, at most three times a second."""
        if urlsplit(target).path not in (PUBLIC, BUSINESS):
            return Answer(404, NO_SUCH_PATH)
        return None if self._connects.take(now_ns) else self.rest.in_trouble(429, 1)

    def connect(self, target: str) -> Session:
        """A connection to there."""
        self._connected += 1
        session = Session(self._hearers, urlsplit(target).path, f"{self._connected:08x}", self._now_ns)
        self._sessions[session] = None
        return session

    def notice(self) -> bytes:
        """A service upgrade: the connections that there are will be closed a minute after it."""
        at_ns = self._now_ns + CLOSED_AFTER_NS
        self._closing = [(at_ns, session) for session in self._sessions]
        words = "The connection will soon be closed for a service upgrade. Please reconnect."
        return encode({"event": "notice", "code": "64008", "msg": words, "connId": f"{self._connected:08x}"})

    def crossed(self, frame: Frame) -> bytes | None:
        """An update with a bid a tick above the best ask."""
        message: dict[str, Any] = msgspec.json.decode(frame.text)
        if message.get("action") != "update":
            return None
        listed = self._hearers.listed[message["arg"]["instId"]]
        message["data"][0]["bids"].append(listed.row(listed.pair.book.top().ask + 1, 1))
        return encode(message)

    def miscounted(self, frame: Frame) -> bytes | None:
        """There are no checksums."""
        return None

    def begin_anew(self) -> None:
        """Count all ids from lower ones. The next update of a book still names the one before it."""
        self.market.begin_anew()
        for told in self._told.values():
            told.trade_id = -1

    def advance(self, until_ns: int) -> Sequence[Event]:
        """All that happens until then. Who has subscribed hears the present state with the next tenth of a second."""
        while self._tick_ns <= until_ns:
            self._run(self._tick_ns)
            self._tick(self._tick_ns)
            self._tick_ns += _TICK_NS
        self._run(until_ns)
        self._now_ns = until_ns
        events, self._events = self._events, []
        return events

    def _run(self, until_ns: int) -> None:
        for pair, trades, now_ns in self.market.run(until_ns):
            listed = self._listed[pair]
            for trade in trades if listed.trades in self._hearers.followed else ():
                self._trade(listed, trade, now_ns)

    def _trade(self, listed: Listed, trade: Trade, now_ns: int) -> None:
        self._told[listed].trade_id = trade.id
        self._say(Topic("trades-all", listed.native), listed.traded(trade), now_ns)

    def _tick(self, now_ns: int) -> None:
        """What happens on the clock: books and tickers each 100 ms, the rest on whole seconds."""
        for listed, told in self._told.items():
            self._book(listed, told, now_ns)
            self._ticker(listed, told, now_ns)
        if now_ns % SECOND_NS == 0:
            self._second(now_ns)
        for session, topic in self._hearers.welcome():
            frame = self._present(topic, now_ns)
            if frame is not None:
                session.say(frame, now_ns)

    def _book(self, listed: Listed, told: _Told, now_ns: int) -> None:
        topic, book = Topic("books", listed.native), listed.pair.book
        changes = book.drain()
        if changes is None and book.update_id != told.seq_id:  # it counts anew
            changes = Changes(book.update_id, book.update_id, {}, {})
        if changes is None:
            if now_ns - told.book_ns >= QUIET_NS:
                told.book_ns = now_ns
                self._tell(topic, Frame(listed.unchanged(now_ns)), now_ns)
            return
        previous_id, told.seq_id, told.book_ns = told.seq_id, changes.last, now_ns
        if listed.book in self._hearers.followed:
            self._say(topic, listed.changed(changes, previous_id, now_ns), now_ns)

    def _ticker(self, listed: Listed, told: _Told, now_ns: int) -> None:
        topic, top, last_id = Topic("tickers", listed.native), listed.pair.book.top(), listed.pair.last.id
        if (told.top, told.last_id) == (top, last_id):
            return
        told.top, told.last_id, told.ticker = top, last_id, None
        if topic in self._hearers.of:
            told.ticker = listed.ticked(now_ns)
            self._say(topic, told.ticker, now_ns)

    def _second(self, now_ns: int) -> None:
        for listed, told in self._told.items():
            for interval, bar in listed.pair.bars.roll(now_ns):
                if listed.candles.get(interval) in self._hearers.followed:
                    self._close(listed, interval, bar, now_ns)
            for interval in BARS:
                if _candles(listed, interval) in self._hearers.of:
                    self._grow(listed, told, interval, now_ns)
        # Those that have left hear nothing, and go with the idle.
        for session in tuple(self._sessions):
            session.second(now_ns)
            if session.ending:
                del self._sessions[session]
        for at_ns, session in self._closing:
            if at_ns <= now_ns:
                session.ending = _UPGRADED

    def _close(self, listed: Listed, interval: str, bar: Bar, now_ns: int) -> None:
        frame = listed.grown(interval, bar, closed=True)
        self._events += frame.records
        # Of an interval without trades nothing is told.
        if bar.trades:
            self._tell(_candles(listed, interval), frame, now_ns)

    def _grow(self, listed: Listed, told: _Told, interval: str, now_ns: int) -> None:
        bar = listed.pair.bars.current(interval)
        grown = (bar.open_ns, bar.trades)
        if bar.trades and told.grown.get(interval) != grown:
            told.grown[interval] = grown
            self._say(_candles(listed, interval), listed.grown(interval, bar, closed=False), now_ns)

    def _present(self, topic: Topic, now_ns: int) -> Frame | None:
        """What a subscription begins with."""
        listed, stream = self._hearers.listed[topic.native], self._hearers.stream(topic)
        told = self._told[listed]
        match topic.channel:
            case "trades-all":
                # The newest one is told again.
                frame = listed.traded(listed.pair.last)
                if told.trade_id != listed.pair.last.id:
                    told.trade_id = listed.pair.last.id
                    self._events += frame.records
                return frame
            case "tickers":
                if told.ticker is None:
                    told.ticker = listed.ticked(now_ns)
                    self._events += told.ticker.records
                return told.ticker
            case "books":
                return Frame(listed.whole(now_ns))
        interval = next(interval for interval, key in listed.candles.items() if key == stream)
        bar = listed.pair.bars.current(interval)
        if not bar.trades:
            return None
        frame = listed.grown(interval, bar, closed=False)
        self._events += frame.records
        return frame

    def _say(self, topic: Topic, frame: Frame, now_ns: int) -> None:
        self._events += frame.records
        self._tell(topic, frame, now_ns)

    def _tell(self, topic: Topic, frame: Frame, now_ns: int) -> None:
        for session in self._hearers.of.get(topic, ()):
            session.say(frame, now_ns)


def _candles(listed: Listed, interval: str) -> Topic:
    return Topic(f"candle{BARS[interval]}", listed.native)
