"""The Coinbase dialect of a simulated market: who is told what, and when."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ingest.simulator.allowance import Bucket
from ingest.simulator.bars import SECOND_NS
from ingest.simulator.coinbase.frames import NO_TIME, Listed, encode
from ingest.simulator.coinbase.rest import NO_SUCH_PATH, Rest
from ingest.simulator.coinbase.session import Hearers, Session, Topic
from ingest.simulator.ledger import Event, Whole
from ingest.simulator.market import Market, Trade
from ingest.simulator.texts import at
from ingest.simulator.venue import CUT, Answer, Close, Frame

CONNECTS_PER_SECOND: Final = 8
CONNECTS_AT_ONCE: Final = 20
_BATCH_NS: Final = 50_000_000
_LAST_WORD: Final = encode({"type": "error", "message": "ErrSlowConsume"})


class Coinbase:
    """The whole exchange. Its clock is `advance`; the same market and the same clients give the same bytes."""

    has_checksums = False
    maintenance = Close(CUT, "")

    def __init__(self, market: Market, start_ns: int) -> None:
        self.market = market
        self._listed = {pair: Listed(pair) for pair in market.pairs}
        self.keys = frozenset(key for listed in self._listed.values() for key in listed.keys)
        self.rest = Rest(self._listed.values())
        self._hearers = Hearers(self._listed.values())
        self._tickers = {listed: listed.ticked(start_ns) for listed in self._listed.values()}
        self._sessions: dict[Session, None] = {}
        self._connects = Bucket(CONNECTS_AT_ONCE, SECOND_NS // CONNECTS_PER_SECOND)
        self._snapshots = 0
        self._noted: set[Listed] = set()
        self._now_ns = start_ns
        self._batch_ns = start_ns // _BATCH_NS * _BATCH_NS + _BATCH_NS
        self._events: list[Event | Whole] = []

    def refuse(self, keys: Collection[str]) -> None:
        """None of these can be subscribed to now, and all others can."""
        self._hearers.refused = keys

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """The root alone, eight times a second, and up to twenty at once."""
        if urlsplit(target).path not in ("", "/"):
            return Answer(404, NO_SUCH_PATH)
        return None if self._connects.take(now_ns) else self.rest.in_trouble(429, 1)

    def connect(self, target: str) -> Session:
        """A connection to there."""
        session = Session(self._hearers, self._now_ns)
        self._sessions[session] = None
        return session

    def notice(self) -> bytes:
        """There is none; it may say why before it cuts a connection off."""
        return _LAST_WORD

    def crossed(self, frame: Frame) -> bytes | None:
        """Changes, and a bid a tick above the best ask."""
        if not frame.text.startswith(b'{"type":"l2update"'):
            return None
        message: dict[str, Any] = msgspec.json.decode(frame.text)
        listed = self._hearers.listed[message["product_id"]]
        message["changes"].append(["buy", listed.price(listed.pair.book.top().ask + 1), listed.amount(1)])
        return encode(message)

    def miscounted(self, frame: Frame) -> bytes | None:
        """There are no checksums."""
        return None

    def begin_anew(self) -> None:
        """Count all ids from lower ones: trades, and what is called a sequence."""
        self.market.begin_anew()
        self.rest.forget()
        self._tickers = {listed: listed.ticked(self._now_ns) for listed in self._tickers}

    def advance(self, until_ns: int) -> Sequence[Event | Whole]:
        """All that happens until then."""
        while self._batch_ns <= until_ns:
            self._run(self._batch_ns)
            self._batch(self._batch_ns)
            self._batch_ns += _BATCH_NS
        self._run(until_ns)
        self._now_ns = until_ns
        events, self._events = self._events, []
        return events

    def _run(self, until_ns: int) -> None:
        for pair, trades, now_ns in self.market.run(until_ns):
            if trades:
                self._trade(self._listed[pair], trades, now_ns)

    def _trade(self, listed: Listed, trades: Sequence[Trade], now_ns: int) -> None:
        """Each trade by itself; of all that one order took there is one ticker."""
        for trade in trades:
            self._tell(Topic("matches", listed.product), listed.trades, listed.matched(trade))
        self._tickers[listed] = listed.ticked(now_ns)
        self._tell(Topic("ticker", listed.product), listed.ticker, self._tickers[listed])

    def _batch(self, now_ns: int) -> None:
        """What happens on the clock. Who has subscribed gets a beginning at the end of it, and then all changes."""
        for listed in self._listed.values():
            if changes := listed.pair.book.drain():
                self._tell(Topic("level2_batch", listed.product), listed.book, listed.changed(changes, now_ns))
            if now_ns % SECOND_NS == 0:
                listed.pair.bars.roll(now_ns)
                self._tell(Topic("heartbeat", listed.product), "", listed.beat(now_ns))
        if now_ns % SECOND_NS == 0:
            self._second(now_ns)
        for session, topic in self._hearers.welcome():
            session.outgoing.extend(self._beginning(topic, now_ns))

    def _second(self, now_ns: int) -> None:
        # Those that have left want nothing.
        for session in tuple(self._sessions):
            session.second(now_ns)
            if session.gone:
                del self._sessions[session]

    def _tell(self, topic: Topic, stream: str, frame: Frame) -> None:
        if stream in self._hearers.followed:
            self._events += frame.records
        for session in self._hearers.of.get(topic, ()):
            session.outgoing.append(frame)

    def _beginning(self, topic: Topic, now_ns: int) -> list[Frame]:
        listed = self._hearers.listed[topic.product]
        match topic.channel:
            case "matches":
                return [listed.matched(listed.pair.last, "last_match")]
            case "ticker":
                self._events += self._tickers[listed].records
                return [self._tickers[listed]]
            case "level2_batch":
                self._snapshots += 1
                if listed not in self._noted:
                    self._noted.add(listed)
                    self._events.append(listed.noted())
                # Now and then its time is the year 1.
                return [listed.whole(at(now_ns) if self._snapshots % 3 else NO_TIME)]
        return []
