"""Coinbase Exchange, the feed without a key: trades by consecutive ids, books without any, candles made of trades.

https://docs.cdp.coinbase.com/exchange/websocket-feed/overview
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import structs

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges import coinbase_frames as frames
from ingest.exchanges.built_candles import BuiltCandles
from ingest.exchanges.by_id import Ask, PagesBack
from ingest.exchanges.coinbase_listener import PAGE, Listener
from ingest.exchanges.coinbase_rest import CandlePage, best, bucket_of, instruments, page_from, past_trades
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
from ingest.exchanges.intervals import INTERVALS
from ingest.exchanges.known_ticker import KnownTicker
from ingest.exchanges.packing import pack
from ingest.exchanges.requests import Request, Requests
from ingest.exchanges.session import Session
from ingest.exchanges.subscriptions import Silent, Subscriptions
from ingest.exchanges.talk import UNREADABLE, Talk, stand, tag_of
from ingest.exchanges.topic import (
    BestWanted,
    BookWanted,
    CandlePartWanted,
    CandlesWanted,
    OlderTradesWanted,
    Question,
    Topic,
    TradesWanted,
)

_STREAMS_PER_CONNECTION: Final = 100
_NAMES_PER_MESSAGE: Final = 100
_MESSAGE_EVERY_NS: Final = 200_000_000
_ACK_WITHIN_NS: Final = 10_000_000_000
# There is a heartbeat each second for each product.
_QUIET_NS: Final = 10_000_000_000
_FEEDS: Final = {"trades": "matches", "ticker": "ticker", "orderbook": "level2_batch"}
_HEARTBEAT: Final = "heartbeat"
_ALIASES: Final = {"level2_50": "level2_batch"}
"""What it calls some feeds in its answers: batches of 50 ms, not 50 levels."""
_OF_BOOK: Final = re.compile(rb'\{"type":"(?:l2update|snapshot)","product_id":"([A-Z0-9-]{3,40})"')
_LIMIT: Final = ("limit", str(PAGE))
_CANDLES: Final = "candles"
_PART: Final = "part"
"""What a stream of candles asks about, unless it asks about trades."""


class Coinbase:
    """What holds for Coinbase Exchange whatever the connection."""

    name = "coinbase"
    stream_url = "wss://ws-feed.exchange.coinbase.com"
    rest_url = "https://api.exchange.coinbase.com"
    channels = frozenset({*_FEEDS, *(f"candles-{interval}" for interval in INTERVALS)})
    # Of ten requests a second, fifteen at once; eight connections a second, twenty at once; a hundred messages.
    limits = Limits(weight=Limit(4, 5), connects=Limit(5, 2), messages=Limit(20, 20))
    wait_after: Mapping[int, float] = {}
    single_writer = frozenset({"orderbook"})
    feeds: Mapping[str, Feed] = {
        "trades": Feed(DenseTrades.kept, also="a heartbeat tells of a newer one"),
        "orderbook": Feed(CountedBook.kept, also="its best prices are compared by REST"),
        "ticker": Feed(KnownTicker.kept),
        "candles": Feed(BuiltCandles.kept),
    }
    rotation = ""

    def list_instruments(self) -> Fetch:
        """Everything traded, and what was."""
        return Fetch("/products", (), 1, "instruments")

    def instruments(self, body: bytes) -> dict[str, Instrument]:
        """By symbol."""
        try:
            return instruments(body)
        except UNREADABLE as bad:
            raise SkipFrame(f"products: {bad}", frame=body[:1000]) from bad

    def plan(self, streams: Sequence[StreamKey], plans: Sequence[Plan] = ()) -> tuple[Plan, ...]:
        """No limit is published, but busy products should be spread: who reads too slowly is cut off."""
        return pack(streams, plans, _STREAMS_PER_CONNECTION, lambda _: "")

    def converse(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: str,
    ) -> Talk:
        """One connection's talk."""
        return Talk(self.name, CoinbaseVoice(instruments, positions, Session(session)), streams)


class CoinbaseVoice:
    """One connection's talk with Coinbase. A subscription's name is its feed and the product, with a blank between.

    Several streams may come of one name: trades and candles of the matches, and all need the heartbeat.
    """

    def __init__(
        self, instruments: Mapping[str, Instrument], positions: Mapping[StreamKey, str], session: Session
    ) -> None:
        self.topics: dict[StreamKey, Topic] = {}
        self._instruments = instruments
        self._positions = positions
        self._session = session
        self._listeners: dict[str, Listener] = {}
        self._requests = Requests(
            names_per_message=_NAMES_PER_MESSAGE,
            every_ns=_MESSAGE_EVERY_NS,
            answered_within_ns=_ACK_WITHIN_NS,
            in_turn=True,
        )
        self.subscriptions = Subscriptions(self._requests, begins=True)
        self._candle_pages: dict[tuple[StreamKey, str], CandlePage] = {}
        self._doubts: list[Event] = []
        self._silent_ns = NEVER

    def greet(self, now_ns: int) -> None:
        """From now on there are heartbeats."""
        self._silent_ns = now_ns + _QUIET_NS

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Of each name once, whatever comes of it."""
        before = self.subscriptions.states()
        for key in streams:
            listener = self._listeners.setdefault(self._native(key), Listener(self._session))
            self.topics[key] = listener.open(key, self._positions.get(key), now_ns)
        wanted = dict.fromkeys(name for key in streams for name in self._names(key))
        within = {name: _QUIET_NS if name.startswith(_HEARTBEAT) else NEVER for name in wanted}
        self.subscriptions.want({name: within[name] for name in wanted if name not in before})

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Names of which nothing is wanted any more; frames that are still on the way fall silent."""
        known = [key for key in streams if self.topics.pop(key, None)]
        for key in known:
            self._listeners[self._native(key)].close(key, now_ns)
        needed = {name for key in self.topics for name in self._names(key)}
        self.subscriptions.drop(dict.fromkeys(name for key in known for name in self._names(key) if name not in needed))

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame: data, a heartbeat, or the answer to a request."""
        self._silent_ns = now_ns + _QUIET_NS
        try:
            match frames.read(frame):
                case frames.Subscriptions() as said:
                    return self._listed(said, now_ns)
                case frames.Refusal() as said:
                    return self._failed(said, frame, now_ns)
                case said:
                    return self._hear(said, now_ns)
        except UNREADABLE as bad:
            self._doubt(frame, now_ns)
            raise SkipFrame(str(bad), frame=frame) from bad

    def say(self, now_ns: int) -> Sequence[Output]:
        """A request, and that nothing comes."""
        if now_ns >= self._silent_ns:
            raise Reconnect("not even a heartbeat for ten seconds")
        doubts, self._doubts = self._doubts, []
        silent = self._silent(self.subscriptions.silent(now_ns))
        return [*doubts, *silent, *(Send(_message(request)) for request in self.subscriptions.ready(now_ns))]

    def due(self) -> int:
        """When `say` next has something to say."""
        return 0 if self._doubts else min(self._silent_ns, self.subscriptions.due())

    def ask(self, key: StreamKey, question: Question, now_ns: int) -> Sequence[Output]:
        """Trades and candles by REST; a book begins anew with another subscription."""
        match question:
            case TradesWanted(first=first):
                return [self._fetch_trades(key, self._pages(key).ask(first).before)]
            case OlderTradesWanted(before=before):
                return [self._fetch_trades(key, before)]
            case CandlesWanted(from_ms=from_ms):
                if page := page_from(key.interval or "", from_ms):
                    return [self._fetch_candles(key, _CANDLES, page)]
                return self.topics[key].failed(f"there are no candles of {key.interval} by REST", now_ns)
            case CandlePartWanted(begin_ms=begin_ms, end_ms=end_ms):
                bucket_ms = bucket_of(key.interval or "")
                assert bucket_ms is not None
                return [self._fetch_candles(key, _PART, CandlePage(key.interval or "", begin_ms, end_ms, bucket_ms))]
            case BestWanted():
                return [Fetch(f"/products/{self._native(key)}/book", (("level", "1"),), 1, tag_of(key))]
            case BookWanted():
                self.subscriptions.renew([self._names(key)[0]])
                return ()
        return self._silent(self.subscriptions.again([self._names(key)[0]], now_ns))

    def answered(self, key: StreamKey, about: str, answer: bytes, now_ns: int) -> Sequence[Output]:
        """A page of trades or candles."""
        match self.topics[key]:
            case CountedBook() as book:
                book.best(best(answer), now_ns)
            case DenseTrades() as trades:
                return self._backfill(key, trades, answer, now_ns)
            case BuiltCandles() as candles if about == _CANDLES:
                return candles.fetched(self._candle_pages[key, about].closed(answer, now_ns), now_ns)
            case BuiltCandles() as candles if about == _PART:
                page = self._candle_pages[key, about]
                asked = CandlePartWanted(page.begin_ms, page.end_ms)
                return candles.part(asked, page.part(answer, now_ns), now_ns)
            case BuiltCandles() as candles:
                return candles.page(past_trades(answer, now_ns), now_ns)
        return ()

    def _native(self, key: StreamKey) -> str:
        return self._instruments[key.symbol].native

    def _names(self, key: StreamKey) -> tuple[str, ...]:
        """What it comes of, and what tells that nothing is missing of it: of a book, that no trade is."""
        feeds = dict.fromkeys((_FEEDS.get(key.channel, "matches"), _HEARTBEAT))
        if key.channel == "orderbook":
            feeds["matches"] = None
        return tuple(f"{feed} {self._native(key)}" for feed in feeds)

    def _keys(self, names: Iterable[str]) -> list[StreamKey]:
        """All streams that come of one of these, or have no heartbeat without."""
        found = set(names)
        return [key for key in self.topics if found.intersection(self._names(key)[:2])]

    def _silent(self, silent: Iterable[Silent]) -> list[Output]:
        return [each.told_of(key) for each in silent for key in self._keys([each.name])]

    # What is said of products.

    def _hear(self, said: frames.Data, now_ns: int) -> Sequence[Output]:
        listener = self._listeners.get(said.product_id)
        if listener is None:
            raise ValueError(f"a product that nobody subscribed to: {said.product_id[:40]!r}")
        events = listener.hear(said, now_ns)
        self.subscriptions.heard(f"{said.feed} {said.product_id}".encode())
        behind = [f"{feed} {said.product_id}" for feed in listener.silent()]
        return [*events, *self._silent(self.subscriptions.again(behind, now_ns))]

    def _doubt(self, frame: bytes, now_ns: int) -> None:
        """Nothing else will tell that changes of a book are missing which could not be read."""
        found = _OF_BOOK.match(frame)
        listener = self._listeners.get(found[1].decode()) if found else None
        if listener and listener.book:
            self._doubts += listener.book.resync("a frame of it makes no sense", now_ns)

    # What REST is asked for.

    def _pages(self, key: StreamKey) -> PagesBack:
        return self._listeners[self._native(key)].pages

    def _fetch_trades(self, key: StreamKey, before: int | None) -> Fetch:
        # A page without any bound may be seconds old. What is newer than all that was said comes live, and counts on.
        bound = int(self.topics[key].position or 0) + 2 if before is None else before
        return Fetch(f"/products/{self._native(key)}/trades", (_LIMIT, ("after", str(bound))), 1, tag_of(key))

    def _backfill(self, key: StreamKey, trades: DenseTrades, answer: bytes, now_ns: int) -> Sequence[Output]:
        came = self._pages(key).came(past_trades(answer, now_ns))
        return [self._fetch_trades(key, came.before)] if isinstance(came, Ask) else trades.fetched(came, now_ns)

    def _fetch_candles(self, key: StreamKey, about: str, page: CandlePage) -> Fetch:
        self._candle_pages[key, about] = page
        return Fetch(f"/products/{self._native(key)}/candles", page.params, 1, tag_of(key, about))

    # What is answered to requests.

    def _listed(self, said: frames.Subscriptions, now_ns: int) -> Sequence[Output]:
        """All that there is now. What was asked for and is not in it was refused."""
        request = self._requests.newest
        if request is None:
            return ()
        self._requests.answered(request.id)
        there = {
            f"{_ALIASES.get(each.name, each.name)} {product}" for each in said.channels for product in each.product_ids
        }
        accepted = request
        if request.method == "subscribe":
            accepted = structs.replace(request, names=tuple(name for name in request.names if name in there))
        stood = self.subscriptions.confirmed(accepted, now_ns)
        first, again = ([key for key in self.topics if self._names(key)[0] in names] for names in stood)
        outputs: list[Output] = [*stand(self.topics, first, again, now_ns)]
        absent = tuple(name for name in request.names if name not in there)
        if absent and request.method == "subscribe":
            outputs += self._refused(structs.replace(request, names=absent), "it is not acknowledged", now_ns)
        return outputs

    def _failed(self, said: frames.Refusal, frame: bytes, now_ns: int) -> Sequence[Output]:
        """One bad name refuses its whole message; whatever is no answer is the last word on a connection."""
        reason = f"{said.message}: {said.reason}"[:256]
        request = self._requests.newest
        if request is None or "subscribe" not in said.message:
            raise Reconnect(reason, frame=frame)
        self._requests.answered(request.id)
        named = [name for name in request.names if said.reason.startswith(f"{name.partition(' ')[2]} is not")]
        if not named or request.method != "subscribe":
            return self._refused(request, reason, now_ns)
        self._requests.add(request.method, [name for name in request.names if name not in named])
        parts = (structs.replace(request, names=(name,)) for name in named)
        return [output for part in parts for output in self._refused(part, reason, now_ns)]

    def _refused(self, request: Request, reason: str, now_ns: int) -> Sequence[Output]:
        bad = self._keys(self.subscriptions.refused(request, reason))
        self.unsubscribe(bad, now_ns)
        return [Notice(key, "refused", reason) for key in bad]


def _message(request: Request) -> str:
    feeds: dict[str, list[str]] = {}
    for name in request.names:
        feed, _, product = name.partition(" ")
        feeds.setdefault(feed, []).append(product)
    channels = [{"name": feed, "product_ids": products} for feed, products in feeds.items()]
    return msgspec.json.encode({"type": request.method, "channels": channels}).decode()
