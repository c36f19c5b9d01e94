"""Kraken spot, WebSocket v2: books with checksums and without ids, trades by consecutive ids, candles without an end.

https://docs.kraken.com/api/docs/guides/spot-ws-intro
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from ingest.contract.events import Event, Status, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges import kraken_frames as frames
from ingest.exchanges import kraken_rest as rest
from ingest.exchanges.candles import Interval
from ingest.exchanges.counted import CountedBook
from ingest.exchanges.dense import DenseTrades
from ingest.exchanges.exchange import (
    NEVER,
    Fetch,
    FetchFailed,
    Instrument,
    Limit,
    Limits,
    Output,
    Plan,
    Reconnect,
    Send,
    SkipFrame,
    Standing,
)
from ingest.exchanges.known_ticker import KnownTicker
from ingest.exchanges.kraken_errands import UNREADABLE, Errands
from ingest.exchanges.kraken_feeds import DEPTH, INTERVALS, feed_of, message
from ingest.exchanges.kraken_readers import Books, Tickers, Trades
from ingest.exchanges.requests import Request, Requests
from ingest.exchanges.session import Session
from ingest.exchanges.topic import BookWanted, CandlesWanted, SubscriptionWanted, Topic, TradesWanted
from ingest.exchanges.unflagged import UnflaggedCandles

_STREAMS_PER_CONNECTION = 250
_NAMES_PER_MESSAGE = 50
_MESSAGE_EVERY_NS = 200_000_000
_ACK_WITHIN_NS = 10_000_000_000
# There is a heartbeat each second while nothing else is sent.
_QUIET_NS = 10_000_000_000
_SLOWER_NS = 10_000_000_000

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

    def list_instruments(self) -> Fetch:
        """Everything traded."""
        return Fetch("/0/public/AssetPairs", (), 1, "instruments")

    def instruments(self, body: bytes) -> dict[str, Instrument]:
        """By symbol, under the names of WebSocket v2: BTC and DOGE, where REST says XBT and XDG."""
        try:
            return rest.instruments(body)
        except UNREADABLE as bad:
            raise SkipFrame(f"AssetPairs: {bad}", frame=body[:1000]) from bad

    def plan(self, streams: Sequence[StreamKey], plans: Sequence[Plan] = ()) -> tuple[Plan, ...]:
        """No limit is published; 250 streams on one connection are few enough to start anew together."""
        carried = [list(plan.streams) for plan in plans]
        for key in streams:
            place = next((keys for keys in carried if len(keys) < _STREAMS_PER_CONNECTION), None)
            if place is None:
                carried.append([key])
            else:
                place.append(key)
        return tuple(Plan("/v2", tuple(keys)) for keys in carried)

    def converse(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: str,
    ) -> "KrakenConversation":
        """One connection's talk."""
        return KrakenConversation(streams, instruments, positions, Session(session))


class KrakenConversation:
    """One connection's talk with Kraken."""

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
        self._topics: dict[StreamKey, Topic] = {}
        self._readers: dict[tuple[str, str], Reader | None] = {}
        """By feed and symbol; None of what was let go."""
        self._opened: set[StreamKey] = set()
        self._requests = Requests(
            names_per_message=_NAMES_PER_MESSAGE, every_ns=_MESSAGE_EVERY_NS, answered_within_ns=_ACK_WITHIN_NS
        )
        self._later: list[tuple[int, str, tuple[str, ...]]] = []
        self._errands = Errands(instruments)
        self._silent_ns = NEVER
        self._system = "online"
        self._hearers: dict[str, Callable[[bytes, int], Sequence[Event]]] = {
            "trade": self._hear_trades,
            "book": self._hear_books,
            "ticker": self._hear_tickers,
            "ohlc": self._hear_candles,
            "status": self._hear_status,
            "heartbeat": _nothing,
            "": self._answer,
        }

    def greet(self, now_ns: int) -> Sequence[Output]:
        """Subscribe to all."""
        self._silent_ns = now_ns + _QUIET_NS
        return self.subscribe(self._streams, now_ns)

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Take these on as well; their instruments must be known."""
        feeds: dict[str, list[str]] = {}
        for key in streams:
            self._open(key)
            feeds.setdefault(feed_of(key), []).append(self._native(key))
        for feed, natives in feeds.items():
            self._requests.add(f"subscribe {feed}", natives)
        return self.tick(now_ns)

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Let these go; frames of theirs that are still on the way fall silent."""
        for key in streams:
            if self._drop(key):
                self._requests.add(f"unsubscribe {feed_of(key)}", [self._native(key)])
        return self.tick(now_ns)

    def receive(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame: data, a heartbeat, or the answer to a request."""
        self._silent_ns = now_ns + _QUIET_NS
        try:
            channel = frames.read_head(frame).channel
            return self._hearers.get(channel, _unknown)(frame, now_ns)
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), frame=frame) from bad

    def fetched(self, tag: str, answer: bytes | FetchFailed, now_ns: int) -> Sequence[Output]:
        """A page of trades or candles, for the stream that the tag names."""
        channel, _, symbol = tag.partition(" ")
        key = StreamKey("kraken", channel, symbol)
        outputs: Sequence[Output] = ()
        match self._readers.get((feed_of(key), symbol)):
            case Trades() as trades:
                outputs = self._errands.backfill(key, trades, answer, now_ns)
            case UnflaggedCandles() as candles:
                outputs = self._errands.refill(key, candles, answer, now_ns)
        return [*outputs, *self._wanted(now_ns)]

    def located(self, key: StreamKey, standing: Standing | None, now_ns: int) -> Sequence[Output]:
        """Where the stream stands by now, perhaps because of another writer."""
        topic = self._topics.get(key)
        return [*topic.located(standing, now_ns), *self._wanted(now_ns)] if topic else ()

    def refused(self, key: StreamKey, last: str | None, now_ns: int) -> Sequence[Output]:
        """The stream stands elsewhere: its book is said anew, its trades are fetched again."""
        topic = self._topics.get(key)
        return [*topic.refused(last, now_ns), *self._wanted(now_ns)] if topic else ()

    def closed(self, reason: str) -> Sequence[Event]:
        """Whatever does not tell by its ids what is missing says that it is not up to date any more."""
        return [event for topic in self._topics.values() for event in topic.closed(reason)]

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Say what may be said, and fetch what is due."""
        if now_ns >= self._silent_ns:
            raise Reconnect("not even a heartbeat for ten seconds")
        for at_ns, method, names in self._later:
            if at_ns <= now_ns:
                self._requests.add(method, names)
        self._later = [each for each in self._later if each[0] > now_ns]
        wanted = self._wanted(now_ns)
        return [*(Send(message(request)) for request in self._requests.ready(now_ns)), *wanted]

    def due(self) -> int:
        """When `tick` is next wanted."""
        later = (at_ns for at_ns, _, _ in self._later)
        topics = (topic.due() for topic in self._topics.values())
        return min(self._silent_ns, self._requests.due(), self._errands.due(), *later, *topics)

    def own(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """These books are ours to write; each begins with what is known of it."""
        return list(chain.from_iterable(book.own(now_ns) for book in self._books(streams)))

    def disown(self, streams: Sequence[StreamKey]) -> None:
        """These are another's: they are kept, and not said."""
        for book in self._books(streams):
            book.disown()

    def acknowledged(self) -> bool:
        """Whether no subscription waits to be said or answered."""
        feeds = {feed_of(key) for key in self._topics}
        return not self._later and not any(self._requests.open(f"subscribe {feed}") for feed in feeds)

    def positions(self) -> Mapping[StreamKey, str]:
        """Of each stream the newest that was said."""
        return {key: topic.position for key, topic in self._topics.items() if topic.position is not None}

    def _open(self, key: StreamKey) -> None:
        """Somebody who understands its frames."""
        position = self._positions.get(key)
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
        self._topics[key] = topic
        self._readers[feed_of(key), self._native(key)] = reader

    def _drop(self, key: StreamKey) -> bool:
        self._opened.discard(key)
        self._errands.forget(key)
        self._readers[feed_of(key), self._native(key)] = None
        return self._topics.pop(key, None) is not None

    def _native(self, key: StreamKey) -> str:
        return self._instruments[key.symbol].native

    def _books(self, streams: Sequence[StreamKey]) -> list[CountedBook]:
        topics = (self._topics.get(key) for key in streams)
        return [topic for topic in topics if isinstance(topic, CountedBook)]

    def _reader(self, feed: str, symbol: str) -> Reader | None:
        try:
            return self._readers[feed, symbol]
        except KeyError:
            raise ValueError(f"{feed} of {symbol[:40]!r}, which nobody subscribed to") from None

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
                events.append(self._tell(status.system.upper()[:40], f"the exchange says that it is {status.system}"))
        return events

    def _tell(self, state: str, reason: str) -> Event:
        body = Status(state=state, reason=reason[:256])
        return Event(StreamKey("kraken", "status"), self._session.identity(), body, "window")

    def _answer(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """A request has one answer for each of its symbols, or one for all if it is refused as a whole."""
        answer = frames.read_answer(frame)
        if answer.method == "pong":
            return ()
        if not answer.success:
            return self._failure(answer, frame, now_ns)
        symbol = answer.result.symbol if answer.result else ""
        request = None if answer.req_id is None else self._requests.answered_for(answer.req_id, symbol)
        if request is None:
            raise ValueError("not the answer to a request of ours")
        return self._accepted(request, now_ns)

    def _failure(self, answer: frames.Answer, frame: bytes, now_ns: int) -> Sequence[Event]:
        request = None
        if answer.req_id is not None:
            one = self._requests.answered_for(answer.req_id, answer.symbol) if answer.symbol else None
            request = one or self._requests.answered(answer.req_id)
        if request is None:
            raise Reconnect(f"{answer.method} refused: {answer.error[:200]}", frame=frame)
        verb = request.method.partition(" ")[0]
        if verb == "unsubscribe" or answer.error.startswith("Already subscribed"):
            return self._accepted(request, now_ns)
        if rest.passes(answer.error):
            self._later.append((now_ns + _SLOWER_NS, request.method, request.names))
            return ()
        if not answer.symbol:
            raise Reconnect(f"{request.method} refused: {answer.error[:200]}", frame=frame)
        return [self._give_up(key, answer.error) for key in self._keys(request)]

    def _give_up(self, key: StreamKey, error: str) -> Event:
        """The others go on."""
        self._drop(key)
        return self._tell("REFUSED", f"{key.channel} {key.symbol}: {error}")

    def _accepted(self, request: Request, now_ns: int) -> Sequence[Event]:
        if not request.method.startswith("subscribe "):
            return ()
        news = [key for key in self._keys(request) if key not in self._opened]
        self._opened.update(news)
        return [event for key in news for event in self._topics[key].open(now_ns)]

    def _keys(self, request: Request) -> list[StreamKey]:
        feed = request.method.partition(" ")[2]
        return [key for key in self._topics if feed_of(key) == feed and self._native(key) in request.names]

    def _wanted(self, now_ns: int) -> list[Output]:
        wanted: list[Output] = [*self._errands.again(now_ns)]
        for key, topic in self._topics.items():
            for want in topic.wants(now_ns) if topic.due() <= now_ns else ():
                match want:
                    case BookWanted():
                        self._requests.add("unsubscribe book", [self._native(key)])
                        self._requests.add("subscribe book", [self._native(key)])
                    case TradesWanted():
                        reader = self._readers["trade", self._native(key)]
                        assert isinstance(reader, Trades)
                        wanted.append(self._errands.trades(key, reader, want.first))
                    case CandlesWanted():
                        wanted.append(self._errands.candles(key, want.from_ms))
                    case SubscriptionWanted():
                        feed = feed_of(key)
                        self._requests.add(f"unsubscribe {feed}", [self._native(key)])
                        self._requests.add(f"subscribe {feed}", [self._native(key)])
                    case _:
                        wanted.append(want)
        return wanted


def _opens(interval: Interval) -> int:
    return interval.open_ms


def _nothing(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    return ()


def _unknown(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    raise ValueError("a channel that nobody subscribed to")
