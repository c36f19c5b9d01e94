"""The Kraken dialect of a simulated market: who is told what, and when."""

import re
from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from ingest.simulator.allowance import Window
from ingest.simulator.bars import SECOND_NS
from ingest.simulator.book import Changes
from ingest.simulator.kraken.depth import Depth
from ingest.simulator.kraken.frames import MINUTES, Listed, envelope, number
from ingest.simulator.kraken.rest import NO_SUCH_PATH, Rest
from ingest.simulator.kraken.session import Hearers, Session, Topic
from ingest.simulator.ledger import Event
from ingest.simulator.market import Market, Trade
from ingest.simulator.texts import US, at
from ingest.simulator.venue import Answer, Close, Frame

CONNECTS: Final = 150
CONNECTS_WITHIN_NS: Final = 600 * SECOND_NS
_SNAPSHOT_TRADES: Final = 50
_SNAPSHOT_BARS: Final = 50
_TWICE_EVERY: Final = 50
"""Of so many updates of a book one tells of a level twice, as the exchange now and then does."""
_CHECKSUM: Final = re.compile(rb'"checksum":(\d+)')


class Kraken:
    """The whole exchange. Its clock is `advance`; the same market and the same clients give the same bytes."""

    has_checksums = True
    maintenance = Close(1013, "Market data unavailable")

    def __init__(self, market: Market, start_ns: int) -> None:
        self.market = market
        self._listed = {pair: Listed(pair) for pair in market.pairs}
        self.keys = frozenset(key for listed in self._listed.values() for key in listed.keys)
        self.rest = Rest(self._listed.values())
        self._hearers = Hearers(self._listed.values())
        self._depths: dict[Topic, Depth] = {}
        self._tops = {listed: listed.pair.book.top() for listed in self._listed.values()}
        self._sessions: dict[Session, None] = {}
        self._connected = 0
        self._connects = Window(CONNECTS, CONNECTS_WITHIN_NS)
        self._now_ns = start_ns
        self._second_ns = start_ns // SECOND_NS * SECOND_NS + SECOND_NS
        self._events: list[Event] = []

    def refuse(self, keys: Collection[str]) -> None:
        """None of these can be subscribed to now, and all others can."""
        self._hearers.refused = keys

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """`/v2`, at most 150 times in ten minutes, or not again for ten."""
        if urlsplit(target).path not in ("", "/", "/v2"):
            return Answer(404, NO_SUCH_PATH)
        return None if self._connects.take(now_ns) else self.rest.in_trouble(429, CONNECTS_WITHIN_NS // SECOND_NS)

    def connect(self, target: str) -> Session:
        """A connection to there."""
        self._connected += 1
        session = Session(self._hearers, self._status("online"), self._now_ns)
        self._sessions[session] = None
        return session

    def notice(self) -> bytes:
        """The state is said anew when it changes."""
        return self._status("maintenance")

    def crossed(self, frame: Frame) -> bytes | None:
        """An update with a bid a tick above the best ask; its checksum knows nothing of that."""
        if not frame.text.startswith(b'{"channel":"book","type":"update"'):
            return None
        listed = next(each for each in self._listed.values() if each.book == frame.records[0].key)
        price, amount = listed.price(listed.pair.book.top().ask + 1), listed.amount(1)
        level = b'{"price":%b,"qty":%b}' % (price.encode(), amount.encode())
        head, bids, rest = frame.text.partition(b'"bids":[')
        return head + bids + level + (b"" if rest.startswith(b"]") else b",") + rest

    def miscounted(self, frame: Frame) -> bytes | None:
        """The next checksum to the right one."""
        found = _CHECKSUM.search(frame.text)
        if found is None:
            return None
        wrong = b'"checksum":%d' % ((int(found[1]) + 1) % (1 << 32))
        return frame.text[: found.start()] + wrong + frame.text[found.end() :]

    def begin_anew(self) -> None:
        """Count all ids from lower ones: of trades, for books have none."""
        self.market.begin_anew()

    def advance(self, until_ns: int) -> Sequence[Event]:
        """All that happens until then. Who has subscribed gets a snapshot at the end of it, and then all changes."""
        while self._second_ns <= until_ns:
            self._run(self._second_ns)
            self._second()
            self._second_ns += SECOND_NS
        self._run(until_ns)
        self._now_ns = until_ns
        for session, topic in self._hearers.welcome():
            snapshot = topic not in session.unwhole
            if snapshot or topic.channel == "book":
                self._snapshot(session, topic, snapshot=snapshot)
        events, self._events = self._events, []
        return events

    def _run(self, until_ns: int) -> None:
        for pair, trades, now_ns in self.market.run(until_ns):
            listed = self._listed[pair]
            if changes := pair.book.drain():
                self._change(listed, changes, now_ns)
            if trades:
                self._trade(listed, trades, now_ns)
            self._tick(listed, now_ns, traded=bool(trades))

    def _second(self) -> None:
        now_ns = self._second_ns
        for listed in self._listed.values():
            for interval, bar in listed.pair.bars.roll(now_ns):
                if interval in MINUTES and listed.candles[interval] in self._hearers.followed:
                    self._events.append(listed.candle_record(interval, bar, None))
        # Those that have left want nothing, and go with the idle.
        for session in tuple(self._sessions):
            session.second(now_ns)
            if session.ending:
                del self._sessions[session]

    def _trade(self, listed: Listed, trades: Sequence[Trade], now_ns: int) -> None:
        if listed.trades in self._hearers.followed:
            frame = listed.traded("update", trades)
            self._events += frame.records
            self._tell(Topic("trade", listed.symbol), frame, now_ns)
        for interval, minutes in MINUTES.items():
            topic = Topic("ohlc", listed.symbol, minutes)
            if topic in self._hearers.of:
                bar = listed.pair.bars.current(interval)
                record = listed.candle_record(interval, bar, now_ns)
                data = [listed.candle_data(interval, bar)]
                self._events.append(record)
                self._tell(topic, Frame(envelope("ohlc", "update", data, timestamp=at(now_ns)), (record,)), now_ns)

    def _tick(self, listed: Listed, now_ns: int, *, traded: bool) -> None:
        top = listed.pair.book.top()
        moved = top != self._tops[listed]
        self._tops[listed] = top
        hearing = {
            topic
            for topic, wanted in (
                (Topic("ticker", listed.symbol, "trades"), traded),
                (Topic("ticker", listed.symbol, "bbo"), moved),
            )
            if wanted and topic in self._hearers.of
        }
        if hearing:
            frame = listed.ticked("update", now_ns)
            self._events += frame.records
            for topic in hearing:
                self._tell(topic, frame, now_ns)

    def _change(self, listed: Listed, changes: Changes, now_ns: int) -> None:
        if listed.book not in self._hearers.followed:
            return
        record = listed.change(changes)
        self._events.append(record)
        for topic, depth in tuple(self._depths.items()):
            if topic.symbol != listed.symbol:
                continue
            if topic not in self._hearers.of:
                del self._depths[topic]
                continue
            bids, asks = depth.follow()
            if bids or asks:
                depth.updates += 1
                if depth.updates % _TWICE_EVERY == 0:
                    for side in (bids, asks):
                        side[:1] = [(price, lots + 1) for price, lots in side[:1]] + side[:1]
                text = listed.booked("update", bids, asks, depth.checksum(), now_ns)
                self._tell(topic, Frame(text, (record,)), now_ns)

    def _tell(self, topic: Topic, frame: Frame, now_ns: int) -> None:
        for session in self._hearers.of.get(topic, ()):
            session.say(frame, now_ns)

    def _snapshot(self, session: Session, topic: Topic, *, snapshot: bool) -> None:
        frame = self._whole(topic)
        if snapshot and frame is not None:
            self._events += frame.records
            session.say(frame, self._now_ns)

    def _whole(self, topic: Topic) -> Frame | None:
        """As of the moment before: what happens at this one is told behind it."""
        if topic.channel == "instrument":
            return Frame(envelope("instrument", "snapshot", self._instruments()))
        listed = self._hearers.listed[topic.symbol]
        match topic.channel:
            case "trade":
                return listed.traded("snapshot", listed.pair.trades(None, _SNAPSHOT_TRADES))
            case "ticker":
                return listed.ticked("snapshot", self._now_ns - US)
            case "book":
                depth = self._depths.setdefault(topic, Depth(listed, int(topic.detail)))
                text = listed.booked("snapshot", depth.bids.items(), depth.asks.items(), depth.checksum(), self._now_ns)
                return Frame(text)
        interval = next(interval for interval, minutes in MINUTES.items() if minutes == topic.detail)
        bars = [*listed.pair.bars.closed(interval)[-_SNAPSHOT_BARS:], listed.pair.bars.current(interval)]
        data = [listed.candle_data(interval, bar) for bar in bars if bar.trades]
        return Frame(envelope("ohlc", "snapshot", data, timestamp=at(self._now_ns - US))) if data else None

    def _instruments(self) -> dict[str, Any]:
        pairs = [_instrument(listed) for listed in self._listed.values()]
        names = sorted({name for pair in pairs for name in (pair["base"], pair["quote"])})
        assets = [{"id": name, "status": "enabled", "precision": 10, "precision_display": 5} for name in names]
        return {"assets": assets, "pairs": pairs}

    def _status(self, system: str) -> bytes:
        data = {
            "api_version": "v2",
            "connection_id": 12345678901234567000 + self._connected,
            "system": system,
            "version": "2.0.10",
        }
        return envelope("status", "update", [data])


def _instrument(listed: Listed) -> dict[str, Any]:
    listing = listed.pair.listing
    return {
        "symbol": listed.symbol,
        "base": listing.base,
        "quote": listing.quote,
        "status": "online",
        "qty_precision": 8,
        "qty_increment": number("1e-08"),
        "price_precision": listing.price_places,
        "price_increment": number(listed.price(1)),
        "cost_precision": 5,
        "cost_min": "0.5",
        "qty_min": number("5e-05"),
    }
