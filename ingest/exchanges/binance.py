"""Binance spot: combined streams, books by 100 ms diffs joined to REST snapshots, trades by consecutive ids.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import inf
from typing import Final

import msgspec
from msgspec import UNSET

from ingest.contract.keys import StreamKey
from ingest.contract.numbers import check
from ingest.exchanges.best_audit import Best
from ingest.exchanges.binance_frames import (
    Depth,
    Envelope,
    Klines,
    Tickers,
    Trades,
    instrument,
    kline,
    read_best,
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
    Feed,
    Fetch,
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
)
from ingest.exchanges.known_ticker import KnownTicker
from ingest.exchanges.packing import pack
from ingest.exchanges.ranged import RangedBook
from ingest.exchanges.requests import Request, Requests
from ingest.exchanges.routes import Hearer, Routes
from ingest.exchanges.session import Session
from ingest.exchanges.subscriptions import Silent, Subscriptions
from ingest.exchanges.symbols import by_symbol
from ingest.exchanges.talk import UNREADABLE, Talk, stand, tag_of
from ingest.exchanges.topic import BestWanted, BookWanted, CandlesWanted, Question, Topic, TradesWanted

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

_BEST, _COMPARISON = "best", "comparison"
"""What a book is asked for about, of which only the best prices are compared, or the id."""
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
    feeds: Mapping[str, Feed] = {
        "trades": Feed(DenseTrades.kept),
        "orderbook": Feed(
            RangedBook.kept, also="a quiet book, and any one's best prices, are compared by REST", depth=_BOOK_LIMIT
        ),
        "ticker": Feed(KnownTicker.kept),
        "candles": Feed(Candles.kept),
    }
    rotation = "after 24 hours; another takes over in hour 22 or 23"

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
        return pack(streams, plans, _STREAMS_PER_CONNECTION, lambda _: "/stream", _weight)

    def converse(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: str,
    ) -> Talk:
        """One connection's talk."""
        return Talk(self.name, BinanceVoice(instruments, positions, Session(session)), streams)


class BinanceVoice:
    """One connection's talk with Binance."""

    def __init__(
        self, instruments: Mapping[str, Instrument], positions: Mapping[StreamKey, str], session: Session
    ) -> None:
        self.topics: dict[StreamKey, Topic] = {}
        self._instruments = instruments
        self._positions = positions
        self._session = session
        self._routes = Routes()
        self._requests = Requests(
            names_per_message=_NAMES_PER_MESSAGE, every_ns=_MESSAGE_EVERY_NS, answered_within_ns=_ACK_WITHIN_NS
        )
        self.subscriptions = Subscriptions(self._requests, subscribe="SUBSCRIBE", unsubscribe="UNSUBSCRIBE")
        self._renew_ns = NEVER
        self._ask_ns = NEVER

    def greet(self, now_ns: int) -> None:
        """The exchange's clock for this connection begins, and ours."""
        self._renew_ns = now_ns + _RENEW_FROM_NS + int(self._session.lot * (_RENEW_TO_NS - _RENEW_FROM_NS))
        self._ask_ns = now_ns + _QUIET_NS

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Each under its names, routed to who understands their frames."""
        names = list(chain.from_iterable(map(self._open, streams)))
        self.subscriptions.want({name: _silent_after_ns(name) for name in names})

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Frames that are still on the way are not unknown, but unheard."""
        names = [name for key in streams for name in self._names(key)]
        self._routes.let_go(names)
        for key in streams:
            self.topics.pop(key, None)
        self.subscriptions.drop(names)

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame: data of a stream, or the answer to a request."""
        self._ask_ns = now_ns + _QUIET_NS
        if frame.startswith(_PREFIX):
            name = frame[len(_PREFIX) : frame.find(b'"', len(_PREFIX))]
            if name in self._routes:
                self.subscriptions.heard(name)
                return self._routes.hear(name, frame, now_ns)
        return self._other(frame, now_ns)

    def say(self, now_ns: int) -> Sequence[Output]:
        """A request, that nothing comes, and that the exchange is about to end the connection."""
        said: list[Output] = []
        if now_ns >= self._renew_ns:
            self._renew_ns = NEVER
            said.append(Renew("the exchange cuts a connection after 24 hours"))
        if now_ns >= self._ask_ns:
            self._ask_ns = now_ns + _QUIET_NS
            self._requests.ask("LIST_SUBSCRIPTIONS")
        said += map(self._silent, self.subscriptions.silent(now_ns))
        said += (Send(_said(request)) for request in self.subscriptions.ready(now_ns))
        return said

    def due(self) -> int:
        """When `say` next has something to say."""
        return min(self._renew_ns, self._ask_ns, self.subscriptions.due())

    def ask(self, key: StreamKey, question: Question, now_ns: int) -> Sequence[Output]:
        """By REST, but for a subscription."""
        match question:
            case BookWanted(just_its_id=True):
                return [self._fetch(key, "/api/v3/depth", 5, _COMPARISON, limit=1)]
            case BestWanted():
                return [self._fetch(key, "/api/v3/ticker/bookTicker", 2, _BEST)]
            case BookWanted():
                return [self._fetch(key, "/api/v3/depth", 50, limit=_BOOK_LIMIT)]
            case TradesWanted():
                return [self._fetch(key, "/api/v3/historicalTrades", 25, fromId=question.first, limit=_TRADES_LIMIT)]
            case CandlesWanted():
                since = {"startTime": question.from_ms, "limit": _CANDLES_LIMIT}
                return [self._fetch(key, "/api/v3/klines", 2, "", interval=key.interval, **since)]
        return [self._silent(each) for each in self.subscriptions.again(self._names(key), now_ns)]

    def answered(self, key: StreamKey, about: str, answer: bytes, now_ns: int) -> Sequence[Output]:
        """A snapshot, or a page of trades or candles."""
        match self.topics[key]:
            case RangedBook() as book if about == _COMPARISON:
                book.stands_at(read_book(answer).lastUpdateId, now_ns)
            case RangedBook() as book if about == _BEST:
                best = read_best(answer)
                book.best(Best(float(best.bidPrice) or -inf, float(best.askPrice) or inf), now_ns)
            case RangedBook() as book:
                whole = read_book(answer)
                check(chain.from_iterable(chain(whole.bids, whole.asks)))
                # A symbol that never traded has the id -1 and an empty book.
                return book.snapshot(max(whole.lastUpdateId, 0), whole.bids, whole.asks, _BOOK_LIMIT, now_ns)
            case DenseTrades() as trades:
                rows = sorted(read_historical_trades(answer), key=lambda row: row.id)
                said = [(row.id, trade(row.price, row.qty, row.isBuyerMaker, row.time, now_ns)) for row in rows]
                return trades.fetched(said, now_ns)
            case Candles() as candles:
                return candles.fetched([kline(row, now_ns) for row in read_klines(answer)], now_ns)
        return ()

    def _open(self, key: StreamKey) -> Sequence[str]:
        """The exchange's names of `key`, now routed to who understands their frames."""
        native, position = self._instruments[key.symbol].native, self._positions.get(key)
        names = self._names(key)
        hearers: list[Hearer]
        topic: Topic
        match key.channel:
            case "orderbook":
                topic = RangedBook(key, self._session, position, audited=True)
                hearers = [Depth(native, topic).hear]
            case "trades":
                topic = DenseTrades(key, self._session, position)
                hearers = [Trades(native, topic).hear]
            case "ticker":
                topic = KnownTicker(key, self._session, position)
                tickers = Tickers(native, topic)
                hearers = [tickers.hear_book, tickers.hear_day]
            case _:
                topic = Candles(key, self._session, position)
                hearers = [Klines(native, topic).hear]
        self.topics[key] = topic
        self._routes.open(key, dict(zip(names, hearers, strict=True)))
        return names

    def _silent(self, silent: Silent) -> Notice:
        return silent.told_of(self._routes.keys[silent.name])

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
            self.subscriptions.heard(name)
            return self._routes.hear(name, frame, now_ns)
        return self._answer(envelope, frame, now_ns)

    def _answer(self, envelope: Envelope, frame: bytes, now_ns: int) -> Sequence[Output]:
        request = None if envelope.id is None else self._requests.answered(envelope.id)
        if request is None:
            raise SkipFrame("neither data nor the answer to a request of ours", frame=frame)
        if envelope.result is UNSET:
            return self._refused(request, frame, now_ns)
        # A quiet symbol may send no diff for minutes, so the snapshot does not wait for one.
        stood = self.subscriptions.confirmed(request, now_ns)
        again = (self._routes.keys[name] for name in stood.again)
        return stand(self.topics, self._routes.opened_by(stood.first), again, now_ns)

    def _refused(self, request: Request, frame: bytes, now_ns: int) -> Sequence[Output]:
        """One bad name refuses its whole message: the others are asked for again."""
        if not request.names:
            raise Reconnect(f"{request.method} refused: {frame[:300]!r}", frame=frame)
        reason = frame[:200].decode(errors="replace")
        bad = [self._routes.keys[name] for name in self.subscriptions.refused(request, reason)]
        self.unsubscribe(bad, now_ns)
        return [Notice(key, "refused", reason) for key in bad]

    def _fetch(self, key: StreamKey, path: str, weight: int, about: str = "", **params: int | str | None) -> Fetch:
        texts = ((name, str(value)) for name, value in params.items() if value is not None)
        native = self._instruments[key.symbol].native
        return Fetch(path, (("symbol", native), *texts), weight, tag_of(key, about))


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
