"""OKX v5 spot: two paths, books by a chain of updates, trades by consecutive ids, candles that are confirmed.

https://www.okx.com/docs-v5/en/#overview-websocket
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence

from ingest.contract.keys import StreamKey
from ingest.exchanges.by_id import Ask, PagesBack
from ingest.exchanges.chained import ChainedBook
from ingest.exchanges.confirmed import ConfirmedCandles
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
from ingest.exchanges.okx_feeds import BARS, DEPTH, bar_of, message, name_of, path_of
from ingest.exchanges.okx_frames import Head, levels, read_head
from ingest.exchanges.okx_readers import Hear, books, candles, tickers, trades, unheard
from ingest.exchanges.okx_rest import book, instruments, past_candles, past_trades
from ingest.exchanges.packing import pack
from ingest.exchanges.requests import Request, Requests, number_of
from ingest.exchanges.session import Session
from ingest.exchanges.subscriptions import Subscriptions
from ingest.exchanges.talk import UNREADABLE, Talk, stand, tag_of
from ingest.exchanges.topic import BookWanted, CandlesWanted, Question, Topic, TradesWanted

# How many streams a connection may have is not said, but that there should be less than 30 books among them.
_ROOM = 240
_BOOKS_ROOM = 10
_NAMES_PER_MESSAGE = 100
_MESSAGE_EVERY_NS = 200_000_000
# 480 are allowed, each of many names.
_MESSAGES_AN_HOUR = 470
_HOUR_NS = 3_600_000_000_000
_ACK_WITHIN_NS = 10_000_000_000
# The exchange closes a connection of which nothing came for 30 seconds.
_QUIET_NS = 20_000_000_000
_PONG_WITHIN_NS = 8_000_000_000
# A ticker begins with what is newest. Candles may have none, nor may trades, and a book has a patience of its own.
_BEGINS_WITHIN_NS: Mapping[str, int] = {"ticker": 60_000_000_000}
_SLOWER_NS = 60_000_000_000
_TOO_OFTEN = frozenset({"60014", "63999", "64007"})
_UPGRADE = "64008"
_TRADES_LIMIT = 100
_CANDLES_LIMIT = 300
_RECENT_CANDLES = 1_400  # of the 1,440 that the quicker of two requests reaches back
_COMPARISON = "comparison"
"""What a book is asked for about, that is only compared."""
_PREFIX = b'{"arg":'
_NAMED = re.compile(r"channel:([^,\s]+),instId:([^,\s]+)")


class Okx:
    """What holds for OKX spot whatever the connection."""

    name = "okx"
    stream_url = "wss://ws.okx.com"
    rest_url = "https://openapi.okx.com"
    channels = frozenset({"trades", "ticker", "orderbook", *(f"candles-{interval}" for interval in BARS)})
    # Of a book or recent candles 40 in two seconds, of the rest 20, which weigh twice; and of 3 connections a second.
    limits = Limits(weight=Limit(10, 10), connects=Limit(1, 1))
    # Too many channels, of all connections or of one.
    wait_after: Mapping[int, float] = {4008: 60.0, 4009: 60.0}
    single_writer = frozenset[str]()
    feeds: Mapping[str, Feed] = {
        "trades": Feed(DenseTrades.kept),
        "orderbook": Feed(ChainedBook.kept, also="a quiet book is compared by REST", depth=DEPTH),
        "ticker": Feed(KnownTicker.kept),
        "candles": Feed(ConfirmedCandles.kept, also="none for five seconds after its end: REST is asked"),
    }
    rotation = "when a server is upgraded, and says so a minute before; another takes over at once"

    def list_instruments(self) -> Fetch:
        """Everything traded."""
        return Fetch("/api/v5/public/instruments", (("instType", "SPOT"),), 2, "instruments")

    def instruments(self, body: bytes) -> dict[str, Instrument]:
        """By symbol."""
        try:
            return instruments(body)
        except UNREADABLE as bad:
            raise SkipFrame(f"instruments: {bad}", frame=body[:1000]) from bad

    def plan(self, streams: Sequence[StreamKey], plans: Sequence[Plan] = ()) -> tuple[Plan, ...]:
        """Trades and candles are told on one path, tickers and books on the other."""
        return pack(streams, plans, _ROOM, path_of, lambda key: _BOOKS_ROOM if key.channel == "orderbook" else 1)

    def converse(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: str,
    ) -> Talk:
        """One connection's talk, whichever the path."""
        return Talk(self.name, OkxVoice(instruments, positions, Session(session)), streams)


class OkxVoice:
    """One connection's talk with OKX. A subscription's name is its channel and the symbol, with a colon between."""

    def __init__(
        self, instruments: Mapping[str, Instrument], positions: Mapping[StreamKey, str], session: Session
    ) -> None:
        self.topics: dict[StreamKey, Topic] = {}
        self._instruments = instruments
        self._positions = positions
        self._session = session
        self._hear: dict[str, Hear] = {}
        self._names: dict[bytes, str] = {}
        """By the beginning of a frame, whose it is."""
        self._keys: dict[str, StreamKey] = {}
        self._pages: dict[StreamKey, PagesBack] = {}
        self._requests = Requests(
            names_per_message=_NAMES_PER_MESSAGE, every_ns=_MESSAGE_EVERY_NS, answered_within_ns=_ACK_WITHIN_NS
        )
        self.subscriptions = Subscriptions(self._requests, begins=True)
        self._said_ns: deque[int] = deque(maxlen=_MESSAGES_AN_HOUR)
        self._ping_ns = NEVER
        self._pong_ns = NEVER

    def greet(self, now_ns: int) -> None:
        """From now on something has to come, if only to a ping."""
        self._ping_ns = now_ns + _QUIET_NS

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Many names to a message, whatever their channels."""
        self.subscriptions.want({self._open(key): _BEGINS_WITHIN_NS.get(key.channel, NEVER) for key in streams})

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Frames that are still on the way are not unknown, but unheard."""
        names = [self._name(key) for key in streams if self.topics.pop(key, None)]
        self._hear.update(dict.fromkeys(names, unheard))
        self.subscriptions.drop(names)

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame: data, the answer to a request, a notice, or the bare text `pong`."""
        self._ping_ns, self._pong_ns = now_ns + _QUIET_NS, NEVER
        if frame.startswith(_PREFIX):
            name = self._names.get(frame[: frame.find(b"}") + 1])
            if name is not None:
                return self._heard(name, frame, now_ns)
        return () if frame == b"pong" else self._other(frame, now_ns)

    def say(self, now_ns: int) -> Sequence[Output]:
        """A request or a ping, and that nothing comes."""
        if now_ns >= self._pong_ns:
            raise Reconnect("no answer to a ping")
        said: list[Output] = [each.told_of(self._keys[each.name]) for each in self.subscriptions.silent(now_ns)]
        for request in self.subscriptions.ready(now_ns):
            self._count(now_ns)
            said.append(Send(message(request)))
        if now_ns >= self._ping_ns:
            self._ping_ns, self._pong_ns = NEVER, now_ns + _PONG_WITHIN_NS
            said.append(Send("ping"))
        return said

    def due(self) -> int:
        """When `say` next has something to say."""
        return min(self._ping_ns, self._pong_ns, self.subscriptions.due())

    def ask(self, key: StreamKey, question: Question, now_ns: int) -> Sequence[Output]:
        """By REST, but for a subscription: another one would have the whole book as well, but they are counted."""
        match question:
            case BookWanted(just_its_id=True):
                return [self._fetch(key, "books", 1, _COMPARISON, sz=1)]
            case BookWanted():
                return [self._fetch(key, "books", 1, sz=DEPTH)]
            case TradesWanted(first=first):
                return [self._page(key, self._pages[key].ask(first))]
            case CandlesWanted(from_ms=from_ms):
                return [self._ask_candles(key, from_ms, now_ns)]
        return [each.told_of(key) for each in self.subscriptions.again([self._name(key)], now_ns)]

    def answered(self, key: StreamKey, about: str, answer: bytes, now_ns: int) -> Sequence[Output]:
        """A book, or a page of trades or candles."""
        match self.topics[key]:
            case ChainedBook() as topic if about == _COMPARISON:
                topic.stands_at(book(answer).seqId, now_ns)
            case ChainedBook() as topic:
                whole = book(answer)
                return topic.snapshot(whole.seqId, *levels(whole), DEPTH, now_ns)
            case DenseTrades() as topic:
                found = self._pages[key].came(past_trades(answer, now_ns))
                return [self._page(key, found)] if isinstance(found, Ask) else topic.fetched(found, now_ns)
            case ConfirmedCandles() as topic:
                return topic.fetched(*past_candles(answer, key.interval or "", now_ns), now_ns)
        return ()

    def _open(self, key: StreamKey) -> str:
        """Its name, of which somebody now understands the frames."""
        position, name = self._positions.get(key), self._name(key)
        topic: Topic
        match key.channel:
            case "orderbook":
                topic = ChainedBook(key, self._session, position, DEPTH)
                hear = books(name, topic)
            case "trades":
                topic = DenseTrades(key, self._session, position)
                self._pages[key] = PagesBack(_TRADES_LIMIT)
                hear = trades(name, topic)
            case "ticker":
                topic = KnownTicker(key, self._session, position)
                hear = tickers(name, topic)
            case _:
                topic = ConfirmedCandles(key, self._session, position)
                hear = candles(name, key.interval or "", topic)
        self.topics[key] = topic
        self._hear[name] = hear
        self._keys[name] = key
        channel, _, native = name.partition(":")
        self._names[_PREFIX + f'{{"channel":"{channel}","instId":"{native}"}}'.encode()] = name
        return name

    def _name(self, key: StreamKey) -> str:
        return name_of(key, self._instruments[key.symbol].native)

    def _heard(self, name: str, frame: bytes, now_ns: int) -> Sequence[Output]:
        hear = self._hear.get(name)
        if hear is None:
            raise SkipFrame("nobody subscribed to that", stream=name[:80], frame=frame)
        self.subscriptions.heard(name.encode())
        try:
            return hear(frame, now_ns)
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), stream=name, frame=frame) from bad

    def _count(self, now_ns: int) -> None:
        if len(self._said_ns) == _MESSAGES_AN_HOUR and now_ns - self._said_ns[0] < _HOUR_NS:
            raise Reconnect("the requests that a connection has in an hour are used up")
        self._said_ns.append(now_ns)

    # What is no data in its usual form.

    def _other(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        try:
            head = read_head(frame)
        except UNREADABLE as bad:
            raise SkipFrame(f"not a frame of this exchange: {bad}", frame=frame) from bad
        if head.event == "error":
            return self._refused(head, frame, now_ns)
        if head.event == "notice" and head.code == _UPGRADE:
            return [Renew("the exchange announced that it closes this connection")]
        if head.event and not head.arg:
            return ()
        if head.arg is None:
            raise SkipFrame("neither data nor the answer to a request", frame=frame)
        return self._accepted(head, now_ns) if head.event else self._heard(head.arg.name, frame, now_ns)

    def _accepted(self, head: Head, now_ns: int) -> Sequence[Output]:
        """Each name has an answer of its own; one that was asked for again meanwhile may have several."""
        assert head.arg is not None
        name = head.arg.name
        self._requests.answered_for(number_of(head.id), name)
        stood = self.subscriptions.confirmed(Request(0, head.event, (name,)), now_ns)
        first, again = ((self._keys[name] for name in names) for names in stood)
        return stand(self.topics, first, again, now_ns)

    def _refused(self, head: Head, frame: bytes, now_ns: int) -> Sequence[Output]:
        """Which name is to blame is said in words at most; else those that have no answer yet are asked for apart."""
        request_id, named = number_of(head.id), _NAMED.search(head.msg)
        request = self._requests.answered_for(request_id, ":".join(named.groups())) if named else None
        request = request or self._requests.answered(request_id)
        if request is None:
            raise SkipFrame(f"an error that is no answer to a request: {head.code} {head.msg[:200]}", frame=frame)
        if head.code in _TOO_OFTEN:
            self.subscriptions.later(request, now_ns + _SLOWER_NS)
            return ()
        reason = f"{head.code} {head.msg}"[:256]
        bad = [self._keys[name] for name in self.subscriptions.refused(request, reason)]
        self.unsubscribe(bad, now_ns)
        return [Notice(key, "refused", reason) for key in bad]

    # What REST is asked for.

    def _page(self, key: StreamKey, page: Ask) -> Fetch:
        return self._fetch(key, "history-trades", 2, after=page.before, limit=_TRADES_LIMIT)

    def _ask_candles(self, key: StreamKey, from_ms: int, now_ns: int) -> Fetch:
        """As many as a page has, both bounds left out."""
        bar, length_ms = bar_of(key), BARS[key.interval or ""][1]
        recent = now_ns // 1_000_000 - from_ms < _RECENT_CANDLES * length_ms
        path, weight = ("candles", 1) if recent else ("history-candles", 2)
        before, after = from_ms - 1, from_ms + _CANDLES_LIMIT * length_ms
        return self._fetch(key, path, weight, bar=bar, before=before, after=after, limit=_CANDLES_LIMIT)

    def _fetch(self, key: StreamKey, what: str, weight: int, about: str = "", **params: int | str | None) -> Fetch:
        texts = ((name, str(value)) for name, value in params.items() if value is not None)
        native = self._instruments[key.symbol].native
        return Fetch(f"/api/v5/market/{what}", (("instId", native), *texts), weight, tag_of(key, about))
