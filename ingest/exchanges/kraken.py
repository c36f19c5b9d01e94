"""Kraken spot, WebSocket v2: books with checksums and without ids, trades by consecutive ids, candles without an end.

https://docs.kraken.com/api/docs/guides/spot-ws-intro
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from ingest.contract.events import Event, Status, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges import kraken_frames as frames
from ingest.exchanges.by_time import Timed
from ingest.exchanges.candles import Interval
from ingest.exchanges.counted import CountedBook
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
    Send,
    SkipFrame,
)
from ingest.exchanges.known_ticker import KnownTicker
from ingest.exchanges.kraken_feeds import DEPTH, INTERVALS, feed_of, message
from ingest.exchanges.kraken_readers import TRADES_LIMIT, Books, Tickers, Trades
from ingest.exchanges.kraken_rest import digits_of, instruments, legacy, passes, past_candles, past_trades
from ingest.exchanges.packing import pack
from ingest.exchanges.requests import Request, Requests
from ingest.exchanges.session import Session
from ingest.exchanges.subscriptions import Subscriptions
from ingest.exchanges.talk import UNREADABLE, Talk, stand, tag_of
from ingest.exchanges.topic import BookWanted, CandlesWanted, Question, Topic, TradesWanted
from ingest.exchanges.unflagged import UnflaggedCandles

_STREAMS_PER_CONNECTION = 250
_NAMES_PER_MESSAGE = 50
_MESSAGE_EVERY_NS = 200_000_000
_ACK_WITHIN_NS = 10_000_000_000
# There is a heartbeat each second while nothing else is sent.
_QUIET_NS = 10_000_000_000
_SLOWER_NS = 10_000_000_000
# A subscription begins with what is newest. What comes of a book is the book's own concern, and candles may have none.
_BEGINS_WITHIN_NS: Mapping[str, int] = {"trades": 60_000_000_000, "ticker": 60_000_000_000}

Reader = Trades | Tickers | Books | UnflaggedCandles


class Kraken:
    """What holds for Kraken spot whatever the connection."""

    name = "kraken"
    stream_url = "wss://ws.kraken.com"
    rest_url = "https://api.kraken.com"
    channels = frozenset({"trades", "ticker", "orderbook", *(f"candles-{interval}" for interval in INTERVALS)})
    # One public request a second for an address, and of about 150 connections in ten minutes.
    limits = Limits(weight=Limit(2, 1), connects=Limit(20, 0.2))
    # "Market data unavailable": while there is maintenance, one attempt every five seconds.
    wait_after: Mapping[int, float] = {1013: 5.0}
    single_writer = frozenset({"orderbook"})
    feeds: Mapping[str, Feed] = {
        "trades": Feed(DenseTrades.kept),
        "orderbook": Feed(CountedBook.kept, also="every change has a checksum", depth=DEPTH),
        "ticker": Feed(KnownTicker.kept),
        "candles": Feed(UnflaggedCandles.kept, also="none for five seconds after its end: REST is asked"),
    }
    rotation = ""

    def list_instruments(self) -> Fetch:
        """Everything traded."""
        return Fetch("/0/public/AssetPairs", (), 1, "instruments")

    def instruments(self, body: bytes) -> dict[str, Instrument]:
        """By symbol, under the names of WebSocket v2: BTC and DOGE, where REST says XBT and XDG."""
        try:
            return instruments(body)
        except UNREADABLE as bad:
            raise SkipFrame(f"AssetPairs: {bad}", frame=body[:1000]) from bad

    def plan(self, streams: Sequence[StreamKey], plans: Sequence[Plan] = ()) -> tuple[Plan, ...]:
        """No limit is published; 250 streams on one connection are few enough to start anew together."""
        return pack(streams, plans, _STREAMS_PER_CONNECTION, lambda _: "/v2")

    def converse(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: str,
    ) -> Talk:
        """One connection's talk."""
        return Talk(self.name, KrakenVoice(instruments, positions, Session(session)), streams)


class KrakenVoice:
    """One connection's talk with Kraken. A subscription's name is its feed and the symbol, with a blank between."""

    def __init__(
        self, instruments: Mapping[str, Instrument], positions: Mapping[StreamKey, str], session: Session
    ) -> None:
        self.topics: dict[StreamKey, Topic] = {}
        self._instruments = instruments
        self._positions = positions
        self._session = session
        self._readers: dict[tuple[str, str], Reader | None] = {}
        """By feed and symbol; None of what was let go."""
        self._keys: dict[str, StreamKey] = {}
        self._requests = Requests(
            names_per_message=_NAMES_PER_MESSAGE,
            every_ns=_MESSAGE_EVERY_NS,
            answered_within_ns=_ACK_WITHIN_NS,
            kind_of=lambda name: name.partition(" ")[0],
        )
        self.subscriptions = Subscriptions(
            self._requests, subscribe="subscribe", unsubscribe="unsubscribe", begins=True
        )
        self._silent_ns = NEVER
        self._system = "online"
        self._hearers: dict[str, Callable[[bytes, int], Sequence[Output]]] = {
            "trade": self._hear_trades,
            "book": self._hear_books,
            "ticker": self._hear_tickers,
            "ohlc": self._hear_candles,
            "status": self._hear_status,
            "heartbeat": _nothing,
            "": self._answer,
        }

    def greet(self, now_ns: int) -> None:
        """From now on there is a heartbeat."""
        self._silent_ns = now_ns + _QUIET_NS

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Each feed in messages of its own, for many symbols."""
        self.subscriptions.want({self._open(key): _BEGINS_WITHIN_NS.get(key.channel, NEVER) for key in streams})

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Frames that are still on the way are not unknown, but unheard."""
        known = [key for key in streams if self.topics.pop(key, None)]
        self._readers.update(((feed_of(key), self._native(key)), None) for key in known)
        self.subscriptions.drop(map(self._name, known))

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame: data, a heartbeat, or the answer to a request."""
        self._silent_ns = now_ns + _QUIET_NS
        try:
            channel = frames.read_head(frame).channel
            return self._hearers.get(channel, _unknown)(frame, now_ns)
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), frame=frame) from bad

    def say(self, now_ns: int) -> Sequence[Output]:
        """A request, and that nothing comes."""
        if now_ns >= self._silent_ns:
            raise Reconnect("not even a heartbeat for ten seconds")
        silent = [each.told_of(self._keys[each.name]) for each in self.subscriptions.silent(now_ns)]
        return [*silent, *(Send(message(request)) for request in self.subscriptions.ready(now_ns))]

    def due(self) -> int:
        """When `say` next has something to say."""
        return min(self._silent_ns, self.subscriptions.due())

    def ask(self, key: StreamKey, question: Question, now_ns: int) -> Sequence[Output]:
        """Trades and candles by REST; a book begins anew with another subscription."""
        match question:
            case TradesWanted(first=first):
                return [self._ask_trades(key, first)]
            case CandlesWanted(from_ms=from_ms):
                return [self._ask_candles(key, from_ms)]
            case BookWanted():
                self.subscriptions.renew([self._name(key)])
                return ()
        return [each.told_of(key) for each in self.subscriptions.again([self._name(key)], now_ns)]

    def answered(self, key: StreamKey, about: str, answer: bytes, now_ns: int) -> Sequence[Output]:
        """A page of trades or candles."""
        match self._readers[feed_of(key), self._native(key)]:
            case Trades() as reader:
                return self._backfill(key, reader, answer, now_ns)
            case UnflaggedCandles() as candles:
                return candles.fetched(*past_candles(answer, INTERVALS[key.interval or ""], now_ns), now_ns)
        return ()

    def _open(self, key: StreamKey) -> str:
        """Its name, of which somebody now understands the frames."""
        position, name = self._positions.get(key), self._name(key)
        reader: Reader
        topic: Topic
        match key.channel:
            case "orderbook":
                topic = CountedBook(key, self._session, position, DEPTH)
                reader = Books(topic, self._instruments[key.symbol])
            case "trades":
                topic = DenseTrades(key, self._session, position)
                reader = Trades(topic)
            case "ticker":
                topic = KnownTicker(key, self._session, position)
                reader = Tickers(topic)
            case _:
                topic = reader = UnflaggedCandles(key, self._session, position)
        self.topics[key] = topic
        self._readers[feed_of(key), self._native(key)] = reader
        self._keys[name] = key
        return name

    def _native(self, key: StreamKey) -> str:
        return self._instruments[key.symbol].native

    def _name(self, key: StreamKey) -> str:
        return f"{feed_of(key)} {self._native(key)}"

    def _reader(self, feed: str, symbol: str) -> Reader | None:
        try:
            reader = self._readers[feed, symbol]
        except KeyError:
            raise ValueError(f"{feed} of {symbol[:40]!r}, which nobody subscribed to") from None
        self.subscriptions.heard(f"{feed} {symbol}".encode())
        return reader

    # What REST is asked for.

    def _ask_trades(self, key: StreamKey, first: int | None) -> Fetch:
        """A page that has this id; without one, the newest."""
        reader = self._readers[feed_of(key), self._native(key)]
        assert isinstance(reader, Trades)
        reader.wanted = first
        since = None if first is None else reader.pages.since(first)
        about = () if since is None else (("since", str(since)),)
        return self._fetch(key, "/0/public/Trades", (*about, ("count", str(TRADES_LIMIT))))

    def _backfill(self, key: StreamKey, reader: Trades, answer: bytes, now_ns: int) -> Sequence[Output]:
        rows = past_trades(answer, digits_of(self._instruments[key.symbol].tick_size), now_ns)
        first = reader.wanted
        if first is None:
            return reader.topic.fetched([(trade_id, trade) for trade_id, _, trade in rows], now_ns)
        if not reader.pages.found([Timed(trade_id, ns) for trade_id, ns, _ in rows], first):
            return [self._ask_trades(key, first)]
        news = [(trade_id, trade) for trade_id, _, trade in rows if trade_id >= first]
        return reader.topic.fetched(news, now_ns) if news else reader.topic.failed("the exchange has none", now_ns)

    def _ask_candles(self, key: StreamKey, from_ms: int) -> Fetch:
        minutes = INTERVALS[key.interval or ""]
        # Whether `since` is included is not said: one interval more is no harm.
        since = max(0, from_ms // 1000 - minutes * 60)
        return self._fetch(key, "/0/public/OHLC", (("interval", str(minutes)), ("since", str(since))))

    def _fetch(self, key: StreamKey, path: str, about: tuple[tuple[str, str], ...]) -> Fetch:
        return Fetch(path, (("pair", legacy(self._native(key))), *about), 1, tag_of(key))

    # A frame is understood as a whole before any of it is said: what is skipped then has changed nothing.

    def _hear_trades(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_trades(frame)
        heard: dict[Reader | None, list[tuple[int, Trade]]] = {}
        for row in said.data:
            reader = self._reader("trade", row.symbol)
            heard.setdefault(reader, []).append((row.trade_id, frames.trade(row, now_ns)))
        events: list[Event] = []
        for reader, trades in heard.items():
            if isinstance(reader, Trades) and said.type == "snapshot":
                events += reader.whole(trades, now_ns)
            elif isinstance(reader, Trades):
                events += chain.from_iterable(reader.topic.trade(*each, now_ns) for each in trades)
        return events

    def _hear_tickers(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_tickers(frame)
        heard = [(self._reader("ticker", row.symbol), frames.ticker(row, now_ns)) for row in said.data]
        whole = said.type == "snapshot"
        return [
            event
            for reader, known in heard
            if isinstance(reader, Tickers)
            for event in reader.hear(known, whole, now_ns)
        ]

    def _hear_books(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_books(frame)
        heard = [(self._reader("book", row.symbol), frames.changes(row, now_ns), row.checksum) for row in said.data]
        whole = said.type == "snapshot"
        return [
            event
            for reader, delta, checksum in heard
            if isinstance(reader, Books)
            for event in reader.hear(delta, checksum, whole, now_ns)
        ]

    def _hear_candles(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        said = frames.read_candles(frame)
        heard: dict[Reader | None, list[Interval]] = {}
        for row in said.data:
            reader = self._reader(f"ohlc-{row.interval}", row.symbol)
            heard.setdefault(reader, []).append(frames.candle(row, said.timestamp, now_ns))
        events: list[Event] = []
        for reader, candles in heard.items():
            if isinstance(reader, UnflaggedCandles) and said.type == "snapshot":
                events += reader.snapshot(sorted(candles, key=_opens), now_ns)
            elif isinstance(reader, UnflaggedCandles):
                events += chain.from_iterable(reader.candle(each, now_ns) for each in candles)
        return events

    def _hear_status(self, frame: bytes, _now_ns: int) -> Sequence[Event]:
        """The first frame of each connection, and whenever it changes: told if it is news."""
        events: list[Event] = []
        for status in frames.read_status(frame).data:
            if status.system != self._system:
                self._system = status.system
                reason = f"the exchange says that it is {status.system}"[:256]
                body = Status(state=status.system.upper()[:40], reason=reason)
                events.append(Event(StreamKey("kraken", "status"), self._session.identity(), body, "window"))
        return events

    # What is answered to requests.

    def _answer(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A request has one answer for each of its symbols, or one for all if it is refused as a whole."""
        answer = frames.read_answer(frame)
        if answer.method == "pong":
            return ()
        symbol = answer.result.symbol if answer.result else answer.symbol
        request = self._answered(answer.req_id, symbol, whole=not answer.success)
        if answer.success and request:
            return self._accepted(request, now_ns)
        if answer.success:
            raise ValueError("not the answer to a request of ours")
        if request is None:
            raise Reconnect(f"{answer.method} refused: {answer.error[:200]}", frame=frame)
        return self._failure(request, answer.error, now_ns)

    def _answered(self, request_id: int | None, symbol: str, *, whole: bool) -> Request | None:
        """What is answered with that: of a request the part about a symbol, or as far as allowed the whole."""
        request = None if request_id is None else self._requests.sent(request_id)
        if request is None:
            return None
        name = f"{request.names[0].partition(' ')[0]} {symbol}"
        return self._requests.answered_for(request.id, name) or (self._requests.answered(request.id) if whole else None)

    def _failure(self, request: Request, error: str, now_ns: int) -> Sequence[Output]:
        if request.method == "unsubscribe" or error.startswith("Already subscribed"):
            return self._accepted(request, now_ns)
        if passes(error):
            self.subscriptions.later(request, now_ns + _SLOWER_NS)
            return ()
        bad = [self._keys[name] for name in self.subscriptions.refused(request, error)]
        self.unsubscribe(bad, now_ns)
        return [Notice(key, "refused", error[:256]) for key in bad]

    def _accepted(self, request: Request, now_ns: int) -> Sequence[Output]:
        stood = self.subscriptions.confirmed(request, now_ns)
        first, again = ((self._keys[name] for name in names) for names in stood)
        return stand(self.topics, first, again, now_ns)


def _opens(interval: Interval) -> int:
    return interval.open_ms


def _nothing(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    return ()


def _unknown(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    raise ValueError("a channel that nobody subscribed to")
