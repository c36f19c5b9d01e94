"""A conversation and a simulated exchange tied together in memory, on a clock of ours, with a model of the bus.

What `ingest.connection` does with sockets and Redis is done here with lists: time flies, the same every time.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from urllib.parse import urlencode

from msgspec import Struct

from ingest.contract.codec import Entry, decode
from ingest.contract.events import Event, Gap, Status
from ingest.contract.keys import StreamKey, parse_key
from ingest.exchanges.exchange import (
    Conversation,
    Exchange,
    Fetch,
    FetchFailed,
    Locate,
    Output,
    Reconnect,
    Send,
    SkipFrame,
    Standing,
)
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import parse
from ingest.simulator.ledger import Change, Delta, Struck
from ingest.simulator.ledger import Event as Emitted
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import Close, Session
from tests.chaos.chronicle import Chapter, Past, RawEntry
from tests.chaos.exchange import Depth
from tests.ingest.contract.model import Server

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND
STEP_NS = SECOND // 10
_SILENT_NS = 30 * SECOND
_AGAIN_NS = SECOND
_ANSWERED_WITHIN_S = 10

_Errand = Fetch | Locate | tuple[str, bytes | FetchFailed]
"""A question to be asked, or the answer to one."""


class Life(Struct):
    """What the exchange emitted while its ids went up."""

    emitted: dict[str, list[Emitted]]
    depths: dict[str, Depth]
    """Of each book, as it was before its first change was emitted, or soon after that."""


class Joined:
    """Both of them, and what came of it."""

    def __init__(
        self,
        exchange: Exchange,
        symbols: Sequence[str],
        channels: Sequence[str],
        faults: Sequence[str] = (),
        rate: int = 40,
        seed: int = 1,
    ) -> None:
        self.exchange = exchange
        self.keys = [StreamKey(exchange.name, channel, symbol) for symbol in symbols for channel in channels]
        self.market = Market([listing(symbol) for symbol in symbols], rate=rate, seed=seed, start_ns=START_NS)
        self.venue = Disturbed(DIALECTS[exchange.name](self.market, START_NS), START_NS)
        for fault in faults:
            self.venue.strike(parse(fault))
        self.now_ns = START_NS
        self.bus = Server()
        self.events: list[Event] = []
        self.lives = [Life(defaultdict(list), {})]
        self.struck: list[Struck] = []
        self.skipped: list[SkipFrame] = []
        self.endings: list[str] = []
        """Why connections ended."""
        self._instruments = exchange.instruments(self.venue.get(_target(exchange.list_instruments()), START_NS).body)
        self._positions: dict[StreamKey, str] = {}
        self._errands: list[tuple[int, int, _Errand]] = []
        self._done = 0
        self._rest_from_ns = START_NS
        self._connect_ns = START_NS
        self._heard_ns = START_NS
        self._talk: tuple[Conversation, Session] | None = None
        self._connects = 0

    def run(self, seconds: float) -> "Joined":
        """Let time pass."""
        until_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < until_ns:
            self.now_ns += STEP_NS
            self._record()
            if self._talk is None and self.now_ns >= self._connect_ns:
                self._connect()
            if self._talk:
                try:
                    self._step(*self._talk)
                except Reconnect as reason:
                    self._end(reason.reason)
        return self

    def entries(self, channel: str, symbol: str) -> list[Entry]:
        """What stands in a stream."""
        return [decode(*raw) for raw in self.raw(channel, symbol)]

    def said(self, channel: str, symbol: str) -> list[str]:
        """What stands in a stream besides data: states, gaps, and new beginnings."""
        words = []
        for entry in self.entries(channel, symbol):
            match entry.event:
                case Status(state=state):
                    words.append(state)
                case Gap(after_g=str()):
                    words.append("anew")
                case Gap():
                    words.append("gap")
        return words

    def raw(self, channel: str, symbol: str) -> list[RawEntry]:
        stream = self.bus.streams.get(StreamKey(self.exchange.name, channel, symbol))
        entries = stream.entries if stream else []
        return [
            (f"{i}-0".encode(), {name.encode(): _bytes(value) for name, value in entry})
            for i, entry in enumerate(entries, 1)
        ]

    def past(self, channel: str, symbol: str) -> Past:
        """As the oracle wants it."""
        stream = self.bus.streams.get(StreamKey(self.exchange.name, channel, symbol))
        registered = sorted(tuple(map(int, gap.split("-"))) for gap in stream.gaps) if stream else []
        return Past([Chapter(self.raw(channel, symbol), registered)])

    def _record(self) -> None:
        life = self.lives[-1]
        books = [str(key) for key in self.keys if key.channel == "orderbook" and str(key) not in life.depths]
        before = {key: self._depth(key) for key in books}
        for entry in self.venue.advance(self.now_ns):
            life = self.lives[-1]
            if isinstance(entry, Struck):
                self.struck.append(entry)
                if entry.fault.startswith("series"):
                    self.lives.append(Life(defaultdict(list), {}))
                    before = {}
            else:
                life.emitted[entry.key].append(entry)
                if isinstance(entry, Delta | Change) and entry.key not in life.depths:
                    life.depths[entry.key] = before.get(entry.key) or self._depth(entry.key)

    def _depth(self, key: str) -> Depth:
        pair = next(pair for pair in self.market.pairs if pair.listing.symbol == parse_key(key).symbol)
        price, amount = pair.listing.price, pair.listing.amount
        bids, asks = (
            {price(ticks): amount(lots) for ticks, lots in side.levels(len(side))}
            for side in (pair.book.bids, pair.book.asks)
        )
        return Depth(pair.book.update_id, bids, asks)

    def _connect(self) -> None:
        (plan,) = self.exchange.plan(self.keys)
        if refusal := self.venue.admit(plan.path, self.now_ns):
            self._connect_ns = self.now_ns + _AGAIN_NS
            self.endings.append(f"not admitted: {refusal.status}")
            return
        self._connects += 1
        conversation = self.exchange.converse(self.keys, self._instruments, self._positions, f"session{self._connects}")
        self._talk = conversation, self.venue.connect(plan.path)
        self._heard_ns = self.now_ns
        self._do(*self._talk, conversation.greet(self.now_ns))

    def _step(self, conversation: Conversation, session: Session) -> None:
        while session.outgoing:
            frame = session.outgoing.popleft()
            self._heard_ns = self.now_ns
            try:
                outputs = conversation.receive(frame.text, self.now_ns)
            except SkipFrame as skipped:
                self.skipped.append(skipped)
                continue
            self._do(conversation, session, outputs)
        if session.ending:
            raise _closed(session.ending)
        if self.now_ns - self._heard_ns > _SILENT_NS:
            raise Reconnect("silent")
        while self._errands and self._errands[0][0] <= self.now_ns:
            *_, errand = heappop(self._errands)
            self._do(conversation, session, self._run(conversation, errand))
        if conversation.due() <= self.now_ns:
            self._do(conversation, session, conversation.tick(self.now_ns))

    def _run(self, conversation: Conversation, errand: _Errand) -> Sequence[Output]:
        match errand:
            case Locate(key=key):
                return conversation.located(key, self._standing(key), self.now_ns)
            case Fetch() if self.now_ns < self._rest_from_ns:
                self._later(self._rest_from_ns, errand)
            case Fetch():
                self._fetch(errand)
            case (tag, answer):
                return conversation.fetched(tag, answer, self.now_ns)
        return ()

    def _do(self, conversation: Conversation, session: Session, outputs: Sequence[Output]) -> None:
        """What is put together is written together, as by a flush."""
        events = [output for output in outputs if isinstance(output, Event)]
        for output in outputs:
            if isinstance(output, Send):
                if close := session.receive(output.text, self.now_ns):
                    raise _closed(close)
            elif isinstance(output, Fetch | Locate):
                self._later(self.now_ns + STEP_NS, output)
        for refused in self._write(events):
            self._do(conversation, session, conversation.refused(refused[0], refused[1], self.now_ns))

    def _write(self, events: Sequence[Event]) -> Iterator[tuple[StreamKey, str | None]]:
        self.events += events
        if events:
            self._done += 1
            for reply in self.bus.append(f"g{self._done}", events):
                if reply.refused:
                    yield reply.key, reply.last

    def _fetch(self, fetch: Fetch) -> None:
        answer = self.venue.get(_target(fetch), self.now_ns)
        if answer.status in (418, 429):
            self._rest_from_ns = self.now_ns + int(dict(answer.headers)["Retry-After"]) * SECOND
        body = answer.body if answer.status == 200 else FetchFailed(answer.status, answer.body.decode())
        if answer.after_s > _ANSWERED_WITHIN_S:
            body = FetchFailed(0, "no answer")
        after_s = min(answer.after_s, _ANSWERED_WITHIN_S)
        self._later(self.now_ns + STEP_NS + int(after_s * SECOND), (fetch.tag, body))

    def _later(self, at_ns: int, errand: _Errand) -> None:
        self._done += 1
        heappush(self._errands, (at_ns, self._done, errand))

    def _standing(self, key: StreamKey) -> Standing:
        stream = self.bus.streams.get(key)
        if stream is None:
            return Standing("-", 0)
        marks = sorted(f"{source}.{mark}" for source, mark in stream.sources.items())
        position = str(stream.last) if stream.last is not None else " ".join(marks) or None
        return Standing(stream.g, stream.n, position)

    def _end(self, reason: str) -> None:
        assert self._talk is not None
        conversation, session = self._talk
        self._talk = None
        session.leave()
        self._errands.clear()
        self.endings.append(reason)
        self._positions.update(conversation.positions())
        assert not list(self._write(conversation.closed(reason)))
        self._connect_ns = self.now_ns + _AGAIN_NS


def _closed(close: Close) -> Reconnect:
    return Reconnect(f"closed: {close.code}")


def _target(fetch: Fetch) -> str:
    return f"{fetch.path}?{urlencode(fetch.params)}"


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
