"""Binance spot: combined streams, books by 100 ms diffs joined to REST snapshots, trades by consecutive ids.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final

import msgspec
from msgspec import UNSET

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.contract.numbers import check
from ingest.exchanges.binance_frames import (
    Depth,
    Envelope,
    Klines,
    Tickers,
    Trades,
    instrument,
    kline,
    read_book,
    read_envelope,
    read_historical_trades,
    read_instruments,
    read_klines,
    trade,
)
from ingest.exchanges.candles import Candles
from ingest.exchanges.dense import DenseTrades
from ingest.exchanges.exchange import (
    NEVER,
    Fetch,
    FetchFailed,
    Instrument,
    Limit,
    Limits,
    Notice,
    Output,
    Plan,
    Reconnect,
    Renew,
    Send,
    SkipFrame,
    Standing,
)
from ingest.exchanges.known_ticker import KnownTicker
from ingest.exchanges.ranged import RangedBook
from ingest.exchanges.requests import Request, Requests
from ingest.exchanges.session import Session
from ingest.exchanges.subscriptions import Silent, Subscriptions
from ingest.exchanges.symbols import by_symbol
from ingest.exchanges.topic import BookWanted, CandlesWanted, SubscriptionWanted, Topic, TradesWanted

INTERVALS: Final = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")

_STREAMS_PER_CONNECTION = 1_000  # of the 1,024 allowed
_NAMES_PER_MESSAGE = 100
# Five messages a second are allowed, our pings and pongs among them, and a burst of six closes the socket with 1008.
_MESSAGE_EVERY_NS = 300_000_000
_ACK_WITHIN_NS = 10_000_000_000
# Quiet markets are silent, and so is a dead server: after this long we ask, and an answer must come.
_QUIET_NS = 15_000_000_000
# Of a ticker comes something each second, of candles each two, also while nobody trades.
_SILENT_NS = 60_000_000_000
# The exchange cuts at 24 hours. Before that another connection takes over, and does so within these two hours.
_RENEW_FROM_NS = 21 * 3_600_000_000_000
_RENEW_TO_NS = 23 * 3_600_000_000_000
_BOOK_LIMIT = 1_000
_TRADES_LIMIT = 1_000
_CANDLES_LIMIT = 1_000

UNREADABLE: Final = (msgspec.MsgspecError, ValueError)
"""Not what was expected: bytes that are no text, text that is no JSON, JSON of another shape, numbers that are none."""

_COMPARISON = "comparison"
"""What the tag of a request names instead of a channel, where a book is only compared."""
_PREFIX = b'{"stream":"'


class Binance:
    """What holds for Binance spot whatever the connection."""

    name = "binance"
    stream_url = "wss://stream.binance.com:9443"
    rest_url = "https://api.binance.com"
    channels = frozenset({"trades", "ticker", "orderbook", *(f"candles-{interval}" for interval in INTERVALS)})
    # Of 6,000 a minute, and of 300 connections in five minutes.
    limits = Limits(weight=Limit(1_500, 50), connects=Limit(50, 0.6))
    # After a close for too many messages, a connection within two minutes is closed again.
    wait_after: Mapping[int, float] = {1008: 120.0}
    single_writer = frozenset[str]()

    def list_instruments(self) -> Fetch:
        """Everything traded; the permission sets, most of the body, are left out."""
        return Fetch("/api/v3/exchangeInfo", (("showPermissionSets", "false"),), 20, "instruments")

    def instruments(self, body: bytes) -> dict[str, Instrument]:
        """By symbol. A name cannot be split by rule: base and quote are the exchange's own fields."""
        try:
            rows = read_instruments(body).symbols
        except UNREADABLE as bad:
            raise SkipFrame(f"exchangeInfo: {bad}", frame=body[:1000]) from bad
        return by_symbol(map(instrument, rows))

    def plan(self, streams: Sequence[StreamKey], plans: Sequence[Plan] = ()) -> tuple[Plan, ...]:
        """At most 1,000 of its streams on one connection; a symbol's ticker is two of them."""
        carried = [list(plan.streams) for plan in plans]
        room = [_STREAMS_PER_CONNECTION - sum(map(_weight, keys)) for keys in carried]
        for key in streams:
            place = next((i for i, left in enumerate(room) if left >= _weight(key)), len(room))
            if place == len(room):
                carried.append([])
                room.append(_STREAMS_PER_CONNECTION)
            carried[place].append(key)
            room[place] -= _weight(key)
        return tuple(Plan("/stream", tuple(keys)) for keys in carried)

    def converse(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: str,
    ) -> "BinanceConversation":
        """One connection's talk."""
        return BinanceConversation(streams, instruments, positions, Session(session))


class BinanceConversation:
    """One connection's talk with Binance."""

    def __init__(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: Session,
    ) -> None:
        self._streams = streams
        self._instruments = instruments
        self._positions = positions
        self._session = session
        self._routes: dict[bytes, Callable[[bytes, int], Sequence[Event]]] = {}
        self._topics: dict[StreamKey, Topic] = {}
        self._requests = Requests(
            names_per_message=_NAMES_PER_MESSAGE, every_ns=_MESSAGE_EVERY_NS, answered_within_ns=_ACK_WITHIN_NS
        )
        self._subscriptions = Subscriptions(self._requests, subscribe="SUBSCRIBE", unsubscribe="UNSUBSCRIBE")
        self._keys: dict[str, StreamKey] = {}
        self._renew_ns = NEVER
        self._ask_ns = NEVER

    def greet(self, now_ns: int) -> Sequence[Output]:
        """Subscribe to all."""
        self._renew_ns = now_ns + _RENEW_FROM_NS + int(self._session.lot * (_RENEW_TO_NS - _RENEW_FROM_NS))
        self._ask_ns = now_ns + _QUIET_NS
        return self.subscribe(self._streams, now_ns)

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Take these on as well; their instruments must be known."""
        names = list(chain.from_iterable(map(self._open, streams)))
        self._subscriptions.want({name: _silent_after_ns(name) for name in names})
        return self.tick(now_ns)

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Let these go; frames of theirs that are still on the way fall silent."""
        self._let_go(streams)
        return self.tick(now_ns)

    def receive(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame: data of a stream, or the answer to a request."""
        self._ask_ns = now_ns + _QUIET_NS
        if frame.startswith(_PREFIX):
            name = frame[len(_PREFIX) : frame.find(b'"', len(_PREFIX))]
            route = self._routes.get(name)
            if route is not None:
                self._subscriptions.heard(name)
                return _hear(route, name, frame, now_ns)
        return self._other(frame, now_ns)

    def fetched(self, tag: str, answer: bytes | FetchFailed, now_ns: int) -> Sequence[Output]:
        """A snapshot, or a page of trades or candles, for the stream that the tag names."""
        about, _, symbol = tag.partition(" ")
        events: Sequence[Event] = ()
        match self._topics.get(StreamKey("binance", "orderbook" if about == _COMPARISON else about, symbol)):
            case RangedBook() as book if about == _COMPARISON:
                _compare(book, answer, now_ns)
            case RangedBook() as book:
                events = _snapshot(book, answer, now_ns)
            case DenseTrades() as trades:
                events = _backfill(trades, answer, now_ns)
            case Candles() as candles:
                events = _refill(candles, answer, now_ns)
        return [*events, *self._wanted(now_ns)]

    def located(self, key: StreamKey, standing: Standing | None, now_ns: int) -> Sequence[Output]:
        """Where the stream stands by now, perhaps because of another writer."""
        topic = self._topics.get(key)
        return [*topic.located(standing, now_ns), *self._wanted(now_ns)] if topic else ()

    def refused(self, key: StreamKey, last: str | None, now_ns: int) -> Sequence[Output]:
        """The stream stands elsewhere: its book starts anew, its trades are fetched again."""
        topic = self._topics.get(key)
        return [*topic.refused(last, now_ns), *self._wanted(now_ns)] if topic else ()

    def closed(self, reason: str) -> Sequence[Event]:
        """Whatever does not tell by its ids what is missing says that it is not up to date any more."""
        return [event for topic in self._topics.values() for event in topic.closed(reason)]

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Say what may be said, fetch what is due, and ask to be replaced before the exchange ends the connection."""
        renewals = []
        if now_ns >= self._renew_ns:
            self._renew_ns = NEVER
            renewals.append(Renew("the exchange cuts a connection after 24 hours"))
        if now_ns >= self._ask_ns:
            self._ask_ns = now_ns + _QUIET_NS
            self._requests.ask("LIST_SUBSCRIPTIONS")
        notices = [self._silent(each) for each in self._subscriptions.silent(now_ns)]
        wanted = self._wanted(now_ns)
        return [*self._say(now_ns), *renewals, *notices, *wanted]

    def due(self) -> int:
        """When `tick` is next wanted."""
        topics = [topic.due() for topic in self._topics.values()]
        return min(self._renew_ns, self._ask_ns, self._requests.due(), self._subscriptions.due(), *topics)

    def own(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Any number may write any of its streams."""
        return ()

    def disown(self, streams: Sequence[StreamKey]) -> None:
        """Nothing is owned."""

    def acknowledged(self) -> bool:
        """Whether all subscriptions stand."""
        return not self._subscriptions.open

    def positions(self) -> Mapping[StreamKey, str]:
        """Of each stream the newest that was said."""
        return {key: topic.position for key, topic in self._topics.items() if topic.position is not None}

    def _open(self, key: StreamKey) -> Sequence[str]:
        """The exchange's names of `key`, now routed to who understands their frames."""
        native, position = self._instruments[key.symbol].native, self._positions.get(key)
        names = self._names(key)
        routes: list[Callable[[bytes, int], Sequence[Event]]]
        topic: Topic
        match key.channel:
            case "orderbook":
                topic = RangedBook(key, self._session, position)
                routes = [Depth(native, topic).hear]
            case "trades":
                topic = DenseTrades(key, self._session, position)
                routes = [Trades(native, topic).hear]
            case "ticker":
                topic = KnownTicker(key, self._session, position)
                tickers = Tickers(native, topic)
                routes = [tickers.hear_book, tickers.hear_day]
            case _:
                topic = Candles(key, self._session, position)
                routes = [Klines(native, topic).hear]
        self._topics[key] = topic
        self._keys.update(dict.fromkeys(names, key))
        self._routes.update(zip((name.encode() for name in names), routes, strict=True))
        return names

    def _let_go(self, keys: Sequence[StreamKey]) -> None:
        names = [name for key in keys for name in self._names(key)]
        self._routes.update(dict.fromkeys((name.encode() for name in names), _unheard))
        for key in keys:
            self._topics.pop(key, None)
        self._subscriptions.drop(names)

    def _say(self, now_ns: int) -> Sequence[Send]:
        requests = list(self._requests.ready(now_ns))
        for request in requests:
            self._subscriptions.said(request)
        return [Send(_said(request)) for request in requests]

    def _silent(self, silent: Silent) -> Notice:
        reason = f"nothing comes of {silent.name}" + (", also after it was subscribed to again" if silent.again else "")
        return Notice(self._keys[silent.name], "silent", reason, renew=silent.again)

    def _names(self, key: StreamKey) -> Sequence[str]:
        return _names(key, self._instruments[key.symbol].native.lower())

    def _other(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        try:
            envelope = read_envelope(frame)
        except UNREADABLE as bad:
            raise SkipFrame(f"not a frame of this exchange: {bad}", frame=frame) from bad
        if "serverShutdown" in (envelope.e, (envelope.stream or "").lstrip("!")):
            raise Reconnect("the exchange announced that this server goes down", frame=frame)
        if envelope.stream is not None:
            name = envelope.stream.encode()
            self._subscriptions.heard(name)
            return _hear(self._routes.get(name, _unknown), name, frame, now_ns)
        return self._answer(envelope, frame, now_ns)

    def _answer(self, envelope: Envelope, frame: bytes, now_ns: int) -> Sequence[Output]:
        request = None if envelope.id is None else self._requests.answered(envelope.id)
        if request is None:
            raise SkipFrame("neither data nor the answer to a request of ours", frame=frame)
        if envelope.result is UNSET:
            return self._refused(request, frame)
        # A quiet symbol may send no diff for minutes, so the snapshot does not wait for one.
        names = self._subscriptions.confirmed(request, now_ns)
        if not names:
            return ()
        opened = [self._topics[key] for key in map(self._keys.__getitem__, names) if self._names(key)[0] in names]
        return [*chain.from_iterable(topic.open(now_ns) for topic in opened), *self._wanted(now_ns)]

    def _refused(self, request: Request, frame: bytes) -> Sequence[Output]:
        """One bad name refuses its whole message: the others are asked for again."""
        if not request.names:
            raise Reconnect(f"{request.method} refused: {frame[:300]!r}", frame=frame)
        reason = frame[:200].decode(errors="replace")
        bad = [self._keys[name] for name in self._subscriptions.refused(request, reason)]
        self._let_go(bad)
        return [Notice(key, "refused", reason) for key in bad]

    def _wanted(self, now_ns: int) -> list[Output]:
        wanted: list[Output] = []
        for key, topic in self._topics.items():
            if topic.due() > now_ns:
                continue
            for want in topic.wants(now_ns):
                match want:
                    case BookWanted(just_its_id=True):
                        wanted.append(self._fetch(_COMPARISON, key, "/api/v3/depth", 5, limit=1))
                    case SubscriptionWanted():
                        wanted += map(self._silent, self._subscriptions.again(self._names(key), now_ns))
                    case BookWanted():
                        wanted.append(self._fetch(key.channel, key, "/api/v3/depth", 50, limit=_BOOK_LIMIT))
                    case TradesWanted():
                        about = {"fromId": want.first, "limit": _TRADES_LIMIT}
                        wanted.append(self._fetch(key.channel, key, "/api/v3/historicalTrades", 25, **about))
                    case CandlesWanted():
                        since = {"startTime": want.from_ms, "limit": _CANDLES_LIMIT}
                        wanted.append(
                            self._fetch(key.channel, key, "/api/v3/klines", 2, interval=key.interval, **since)
                        )
                    case _:
                        wanted.append(want)
        return wanted

    def _fetch(self, about: str, key: StreamKey, path: str, weight: int, **params: int | str | None) -> Fetch:
        texts = ((name, str(value)) for name, value in params.items() if value is not None)
        native = self._instruments[key.symbol].native
        return Fetch(path, (("symbol", native), *texts), weight, f"{about} {key.symbol}")


def _hear(route: Callable[[bytes, int], Sequence[Event]], name: bytes, frame: bytes, now_ns: int) -> Sequence[Event]:
    try:
        return route(frame, now_ns)
    except UNREADABLE as bad:
        raise SkipFrame(str(bad), stream=name.decode(errors="replace"), frame=frame) from bad


def _unheard(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    return ()


def _unknown(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    raise ValueError("a stream that nobody subscribed to")


def _snapshot(book: RangedBook, answer: bytes | FetchFailed, now_ns: int) -> Sequence[Event]:
    if not isinstance(answer, FetchFailed):
        try:
            data = read_book(answer)
            check(chain.from_iterable(chain(data.bids, data.asks)))
            # A symbol that never traded has the id -1 and an empty book.
            return book.snapshot(max(data.lastUpdateId, 0), data.bids, data.asks, _BOOK_LIMIT, now_ns)
        except UNREADABLE:
            pass  # fetched again, as after any other failure
    book.failed(now_ns)
    return ()


def _compare(book: RangedBook, answer: bytes | FetchFailed, now_ns: int) -> None:
    if not isinstance(answer, FetchFailed):
        with suppress(*UNREADABLE):  # compared again, as after any other failure
            book.stands_at(read_book(answer).lastUpdateId, now_ns)


def _backfill(trades: DenseTrades, answer: bytes | FetchFailed, now_ns: int) -> Sequence[Event]:
    if isinstance(answer, FetchFailed):
        return trades.failed(f"REST answered {answer.status}: {answer.reason}", now_ns)
    try:
        rows = read_historical_trades(answer)
    except UNREADABLE as bad:
        return trades.failed(f"REST made no sense: {bad}", now_ns)
    said = [(row.id, trade(row.price, row.qty, row.isBuyerMaker, row.time, now_ns)) for row in rows]
    return trades.fetched(sorted(said, key=lambda row: row[0]), now_ns)


def _refill(candles: Candles, answer: bytes | FetchFailed, now_ns: int) -> Sequence[Event]:
    if isinstance(answer, FetchFailed):
        return candles.failed(f"REST answered {answer.status}: {answer.reason}"[:256], now_ns)
    try:
        rows = read_klines(answer)
    except UNREADABLE as bad:
        return candles.failed(f"REST made no sense: {bad}"[:256], now_ns)
    return candles.fetched([kline(row, now_ns) for row in rows], now_ns)


def _names(key: StreamKey, native: str) -> Sequence[str]:
    if key.channel == "orderbook":
        return (f"{native}@depth@100ms",)
    if key.channel == "trades":
        return (f"{native}@trade",)
    if key.channel == "ticker":
        return (f"{native}@bookTicker", f"{native}@ticker")
    return (f"{native}@kline_{key.interval}",)


def _silent_after_ns(name: str) -> int:
    return _SILENT_NS if name.endswith("@ticker") or "@kline_" in name else NEVER


def _weight(key: StreamKey) -> int:
    return len(_names(key, "x"))


def _said(request: Request) -> str:
    about = {"params": request.names} if request.names else {}
    return msgspec.json.encode({"method": request.method, **about, "id": request.id}).decode()
