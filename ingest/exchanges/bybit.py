"""Bybit v5 spot: trades whose ids have no order, books by consecutive updates, best prices apart from the ticker.

https://bybit-exchange.github.io/docs/v5/ws/connect
"""

import re
from collections.abc import Mapping, Sequence
from itertools import chain

import msgspec

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges import bybit_rest as rest
from ingest.exchanges.bybit_frames import INTERVALS, Head, read_head
from ingest.exchanges.bybit_readers import Books, Klines, Tickers, Trades
from ingest.exchanges.confirmed import ConfirmedCandles
from ingest.exchanges.exchange import (
    NEVER,
    Feed,
    Fetch,
    Instrument,
    Limit,
    Limits,
    Notice,
    Output,
    Plan,
    Reconnect,
    Send,
    SkipFrame,
)
from ingest.exchanges.known_ticker import KnownTicker
from ingest.exchanges.opaque import OpaqueTrades
from ingest.exchanges.packing import pack
from ingest.exchanges.pushed import PushedBook
from ingest.exchanges.requests import Request, Requests, number_of
from ingest.exchanges.routes import Hearer, Routes
from ingest.exchanges.session import Session
from ingest.exchanges.subscriptions import Silent, Subscriptions
from ingest.exchanges.symbols import by_symbol
from ingest.exchanges.talk import UNREADABLE, Talk, stand, tag_of
from ingest.exchanges.topic import BookWanted, CandlesWanted, Question, Topic, TradesWanted

# No number is published. All topics of a connection may have 21,000 characters together; these have 7,000 at most.
_TOPICS_PER_CONNECTION = 200
_TOPICS_PER_MESSAGE = 10
_MESSAGE_EVERY_NS = 100_000_000
_ANSWER_WITHIN_NS = 10_000_000_000
# Without it the connection is cut after about a minute.
_PING_EVERY_NS = 20_000_000_000
_DEPTH = 1_000
"""Of the depths that there are, the one whose ids REST knows, too."""
_SILENT_NS: Mapping[str, int] = {
    # The best prices are said again if they do not change for three seconds.
    "orderbook.1": 30_000_000_000,
    "tickers": 900_000_000_000,
    "kline": 900_000_000_000,
}
"""By how a topic begins: of those something comes at least so often. Trades and books may be quiet."""
_TRADES_LIMIT = 60
_CANDLES_LIMIT = 1_000
_PREFIX = b'{"topic":"'
_BLAMED = re.compile(r"(?:topic:|\[)([\w.]+)", re.ASCII)


class Bybit:
    """What holds for Bybit spot whatever the connection."""

    name = "bybit"
    stream_url = "wss://stream.bybit.com"
    rest_url = "https://api.bybit.com"
    channels = frozenset({"trades", "ticker", "orderbook", *(f"candles-{interval}" for interval in INTERVALS)})
    # Of 600 requests in five seconds and 500 connections in five minutes. What is too much bans for ten minutes, with a
    # status that elsewhere says that a region is not served: there it is no harm to wait, either.
    limits = Limits(weight=Limit(100, 50), connects=Limit(100, 0.8), bans={403: 600.0})
    wait_after: Mapping[int, float] = {}
    single_writer = frozenset[str]()
    feeds: Mapping[str, Feed] = {
        "trades": Feed(OpaqueTrades.kept, also="ids go up by more than one", reach=_TRADES_LIMIT),
        "orderbook": Feed(PushedBook.kept, also="a quiet book is compared by REST", depth=_DEPTH),
        "ticker": Feed(KnownTicker.kept, also="best prices do not come for 30 seconds"),
        "candles": Feed(ConfirmedCandles.kept, also="none for five seconds after its end: REST is asked"),
    }
    rotation = ""

    def list_instruments(self) -> Fetch:
        """Everything traded. Unless it is told so, the exchange speaks of futures."""
        return Fetch("/v5/market/instruments-info", (("category", "spot"),), 1, "instruments")

    def instruments(self, body: bytes) -> dict[str, Instrument]:
        """By symbol. A name cannot be split by rule: base and quote are the exchange's own fields."""
        try:
            return by_symbol(rest.instruments(body))
        except UNREADABLE as bad:
            raise SkipFrame(f"instruments-info: {bad}", frame=body[:1000]) from bad

    def plan(self, streams: Sequence[StreamKey], plans: Sequence[Plan] = ()) -> tuple[Plan, ...]:
        """At most 200 of its topics on one connection; a symbol's ticker is two of them."""
        return pack(streams, plans, _TOPICS_PER_CONNECTION, lambda _: "/v5/public/spot", _weight)

    def converse(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: str,
    ) -> Talk:
        """One connection's talk."""
        return Talk(self.name, BybitVoice(instruments, positions, Session(session)), streams, self.limits.bans)


class BybitVoice:
    """One connection's talk with Bybit. A subscription's name is the exchange's topic."""

    def __init__(
        self, instruments: Mapping[str, Instrument], positions: Mapping[StreamKey, str], session: Session
    ) -> None:
        self.topics: dict[StreamKey, Topic] = {}
        self._instruments = instruments
        self._positions = positions
        self._session = session
        self._routes = Routes()
        self._requests = Requests(
            names_per_message=_TOPICS_PER_MESSAGE, every_ns=_MESSAGE_EVERY_NS, answered_within_ns=_ANSWER_WITHIN_NS
        )
        self.subscriptions = Subscriptions(self._requests)
        self._ping_ns = NEVER

    def greet(self, now_ns: int) -> None:
        """From now on the exchange wants to hear something."""
        self._ping_ns = now_ns + _PING_EVERY_NS

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Each under its topics, routed to who understands their frames."""
        names = list(chain.from_iterable(map(self._open, streams)))
        self.subscriptions.want({name: _silent_after_ns(name) for name in names})

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """All their topics."""
        names = [name for key in streams for name in self._names(key)]
        self._routes.let_go(names)
        for key in streams:
            self.topics.pop(key, None)
        self.subscriptions.drop(names)

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame: data of a topic, or the answer to a request."""
        if frame.startswith(_PREFIX):
            name = frame[len(_PREFIX) : frame.find(b'"', len(_PREFIX))]
            if name in self._routes:
                self.subscriptions.heard(name)
                return self._routes.hear(name, frame, now_ns)
        try:
            head = read_head(frame)
        except UNREADABLE as bad:
            raise SkipFrame(f"not a frame of this exchange: {bad}", frame=frame) from bad
        if head.topic:
            name = head.topic.encode()
            self.subscriptions.heard(name)
            return self._routes.hear(name, frame, now_ns)
        return self._answer(head, frame, now_ns)

    def say(self, now_ns: int) -> Sequence[Output]:
        """A request, a ping among them, and that nothing comes."""
        if now_ns >= self._ping_ns:
            self._ping_ns = now_ns + _PING_EVERY_NS
            self._requests.ask("ping")
        silent = map(self._silent, self.subscriptions.silent(now_ns))
        return [*silent, *(Send(_said(request)) for request in self.subscriptions.ready(now_ns))]

    def due(self) -> int:
        """When `say` next has something to say."""
        return min(self._ping_ns, self.subscriptions.due())

    def ask(self, key: StreamKey, question: Question, now_ns: int) -> Sequence[Output]:
        """By REST, but for a book: a whole one comes with another subscription."""
        match question:
            case TradesWanted():
                return [self._fetch(key, "recent-trade", limit=_TRADES_LIMIT)]
            case CandlesWanted(from_ms=from_ms):
                interval = INTERVALS[key.interval or ""]
                return [self._fetch(key, "kline", interval=interval, start=from_ms, limit=_CANDLES_LIMIT)]
            case BookWanted(just_its_id=True):
                return [self._fetch(key, "orderbook", limit=1)]
            case BookWanted():
                self.subscriptions.renew(self._names(key))
                return ()
        return [self._silent(each) for each in self.subscriptions.again(self._names(key), now_ns)]

    def answered(self, key: StreamKey, about: str, answer: bytes, now_ns: int) -> Sequence[Output]:
        """A page of trades or candles, or where a book stands."""
        match self.topics[key]:
            case OpaqueTrades() as trades:
                return trades.fetched(rest.past_trades(answer, now_ns), _TRADES_LIMIT, now_ns)
            case ConfirmedCandles() as candles:
                return candles.fetched(*rest.past_candles(answer, INTERVALS[key.interval or ""], now_ns), now_ns)
            case PushedBook() as book:
                book.stands_at(rest.book_id(answer), now_ns)
        return ()

    def _open(self, key: StreamKey) -> Sequence[str]:
        """The topics of `key`, now routed to who understands their frames."""
        native, position = self._instruments[key.symbol].native, self._positions.get(key)
        names = self._names(key)
        hearers: list[Hearer]
        topic: Topic
        match key.channel:
            case "orderbook":
                topic = PushedBook(key, self._session, position, _DEPTH)
                hearers = [Books(native, topic).hear]
            case "trades":
                topic = OpaqueTrades(key, self._session, position)
                hearers = [Trades(native, topic).hear]
            case "ticker":
                topic = KnownTicker(key, self._session, position)
                tickers = Tickers(native, topic)
                hearers = [tickers.hear_best, tickers.hear_day]
            case _:
                topic = ConfirmedCandles(key, self._session, position)
                hearers = [Klines(INTERVALS[key.interval or ""], topic).hear]
        self.topics[key] = topic
        self._routes.open(key, dict(zip(names, hearers, strict=True)))
        return names

    def _names(self, key: StreamKey) -> Sequence[str]:
        return _names(key, self._instruments[key.symbol].native)

    def _silent(self, silent: Silent) -> Notice:
        return silent.told_of(self._routes.keys[silent.name])

    def _answer(self, head: Head, frame: bytes, now_ns: int) -> Sequence[Output]:
        """One to each request, which names none of its topics; of a refusal, the first that is to blame."""
        request = self._requests.answered(number_of(head.req_id))
        if request is None and head.ret_msg == "pong":
            return ()
        if request is None:
            raise SkipFrame("neither data nor the answer to a request of ours", frame=frame)
        if head.success:
            return self._confirmed(request, now_ns)
        if not request.names:
            raise Reconnect(f"{request.method} refused: {head.ret_msg[:200]}", frame=frame)
        return self._refused(request, head.ret_msg, now_ns)

    def _confirmed(self, request: Request, now_ns: int) -> Sequence[Event]:
        stood = self.subscriptions.confirmed(request, now_ns)
        again = (self._routes.keys[name] for name in stood.again)
        return stand(self.topics, self._routes.opened_by(stood.first), again, now_ns)

    def _refused(self, request: Request, reason: str, now_ns: int) -> Sequence[Output]:
        """One topic refuses its whole message: the others are asked for again, and those that stand do so."""
        blamed = set(_BLAMED.findall(reason)) & set(request.names)
        if blamed:
            self._requests.add(request.method, [name for name in request.names if name not in blamed])
            request = msgspec.structs.replace(request, names=tuple(blamed))
        if "already subscribed" in reason:
            return self._confirmed(request, now_ns)
        bad = [self._routes.keys[name] for name in self.subscriptions.refused(request, reason)]
        self.unsubscribe(bad, now_ns)
        return [Notice(key, "refused", reason[:256]) for key in bad]

    def _fetch(self, key: StreamKey, what: str, **params: int | str) -> Fetch:
        about = {"category": "spot", "symbol": self._instruments[key.symbol].native, **params}
        texts = tuple((name, str(value)) for name, value in about.items())
        return Fetch(f"/v5/market/{what}", texts, 1, tag_of(key))


def _names(key: StreamKey, native: str) -> Sequence[str]:
    match key.channel:
        case "orderbook":
            return (f"orderbook.{_DEPTH}.{native}",)
        case "trades":
            return (f"publicTrade.{native}",)
        case "ticker":
            return (f"orderbook.1.{native}", f"tickers.{native}")
    return (f"kline.{INTERVALS[key.interval or '']}.{native}",)


def _silent_after_ns(name: str) -> int:
    return next((ns for begin, ns in _SILENT_NS.items() if name.startswith(f"{begin}.")), NEVER)


def _weight(key: StreamKey) -> int:
    return len(_names(key, ""))


def _said(request: Request) -> str:
    about = {"args": request.names} if request.names else {}
    return msgspec.json.encode({"req_id": str(request.id), "op": request.method, **about}).decode()
