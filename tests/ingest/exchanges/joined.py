"""A conversation and a simulated exchange tied together in memory, on a clock of ours, with a model of the bus.

What `ingest.connection` does with sockets and Redis is done here with lists: time flies, the same every time.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from urllib.parse import urlencode

from ingest.contract.codec import Entry, decode
from ingest.contract.events import Event, Gap, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import (
    Conversation,
    Exchange,
    Fetch,
    FetchFailed,
    Locate,
    Notice,
    Output,
    Plan,
    Reconnect,
    Send,
    SkipFrame,
    Standing,
)
from ingest.exchanges.known_ticker import Mark
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import parse
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import Close, Session
from ingest.simulator.wholes import Wholes
from tests.chaos.chronicle import Chapter, Past, RawEntry
from tests.ingest.contract.model import Server
from tests.ingest.exchanges.lives import Lives

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND
STEP_NS = SECOND // 10
_SILENT_NS = 30 * SECOND
_AGAIN_NS = SECOND
_ANSWERED_WITHIN_S = 10

_Errand = Fetch | Locate | tuple[str, bytes | FetchFailed]
"""A question to be asked, or the answer to one."""


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
        self._lives = Lives()
        self._wholes = Wholes(exchange.name, self.market)
        self.lives, self.struck = self._lives.lives, self._lives.struck
        self.skipped: list[SkipFrame] = []
        self.notices: list[Notice] = []
        self.endings: list[str] = []
        """Why connections ended."""
        self.instruments = exchange.instruments(self.venue.get(target(exchange.list_instruments()), START_NS).body)
        self.rest_from_ns = START_NS
        self._calls = 0
        self._lines = [_Line(self, plan) for plan in exchange.plan(self.keys)]

    def run(self, seconds: float) -> "Joined":
        """Let time pass."""
        until_ns = self.now_ns + int(seconds * SECOND)
        while self.now_ns < until_ns:
            self.now_ns += STEP_NS
            self._record()
            for line in self._lines:
                line.step()
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

    def standing(self, key: StreamKey) -> Standing:
        stream = self.bus.streams.get(key)
        if stream is None:
            return Standing("-", 0)
        marks = sorted(Mark(*mark).of(source) for source, mark in stream.sources.items())
        newest = stream.newest_ms if stream.last is None else stream.last
        position = " ".join(marks) or None if newest is None else str(newest)
        return Standing(stream.g, stream.n, position)

    def write(self, events: Sequence[Event]) -> list[tuple[StreamKey, str | None]]:
        """What is put together is written together, as by a flush. The streams that do not take it, and why not."""
        if not events:
            return []
        self._calls += 1
        replies = self.bus.append(f"g{self._calls}", events)
        return [(reply.key, reply.last) for reply in replies if reply.refused]

    def get(self, fetch: Fetch) -> tuple[bytes | FetchFailed, float]:
        """The answer, and how long it takes."""
        answer = self.venue.get(target(fetch), self.now_ns)
        if answer.status in (418, 429):
            self.rest_from_ns = self.now_ns + int(dict(answer.headers)["Retry-After"]) * SECOND
        if answer.after_s > _ANSWERED_WITHIN_S:
            return FetchFailed(0, "no answer"), _ANSWERED_WITHIN_S
        body = answer.body if answer.status == 200 else FetchFailed(answer.status, answer.body.decode())
        return body, answer.after_s

    def _record(self) -> None:
        self._wholes.look()
        for entry in self._wholes.among(self.venue.advance(self.now_ns)):
            self._lives.note(entry)


class _Line:
    """One connection after another, for the same streams."""

    def __init__(self, joined: Joined, plan: Plan) -> None:
        self._joined = joined
        self._plan = plan
        self._positions: dict[StreamKey, str] = {}
        self._errands: list[tuple[int, int, _Errand]] = []
        self._numbered = 0
        self._connects = 0
        self._connect_ns = START_NS
        self._heard_ns = START_NS
        self._talk: tuple[Conversation, Session] | None = None

    def step(self) -> None:
        """A moment has passed."""
        if self._talk is None and self._joined.now_ns >= self._connect_ns:
            self._connect()
        if self._talk:
            try:
                self._hear(*self._talk)
            except Reconnect as reason:
                self._end(reason.reason)

    def _connect(self) -> None:
        joined = self._joined
        if refusal := joined.venue.admit(self._plan.path, joined.now_ns):
            self._connect_ns = joined.now_ns + _AGAIN_NS
            joined.endings.append(f"not admitted: {refusal.status}")
            return
        self._connects += 1
        session = f"{self._plan.streams[0]}/{self._connects}"
        conversation = joined.exchange.converse(self._plan.streams, joined.instruments, self._positions, session)
        self._talk = conversation, joined.venue.connect(self._plan.path)
        self._heard_ns = joined.now_ns
        self._do(*self._talk, conversation.greet(joined.now_ns))
        # Nobody else is about: what has one writer at a time has us.
        ours = [key for key in self._plan.streams if key.channel in joined.exchange.single_writer]
        self._do(*self._talk, conversation.own(ours, joined.now_ns))

    def _hear(self, conversation: Conversation, session: Session) -> None:
        joined, now_ns = self._joined, self._joined.now_ns
        while session.outgoing:
            frame = session.outgoing.popleft()
            self._heard_ns = now_ns
            try:
                outputs = conversation.receive(frame.text, now_ns)
            except SkipFrame as skipped:
                joined.skipped.append(skipped)
                continue
            self._do(conversation, session, outputs)
        if session.ending:
            raise _closed(session.ending)
        if now_ns - self._heard_ns > _SILENT_NS:
            raise Reconnect("silent")
        while self._errands and self._errands[0][0] <= now_ns:
            *_, errand = heappop(self._errands)
            self._do(conversation, session, self._run(conversation, errand))
        if conversation.due() <= now_ns:
            self._do(conversation, session, conversation.tick(now_ns))

    def _run(self, conversation: Conversation, errand: _Errand) -> Sequence[Output]:
        joined, now_ns = self._joined, self._joined.now_ns
        match errand:
            case Locate(key=key):
                return conversation.located(key, joined.standing(key), now_ns)
            case Fetch() if now_ns < joined.rest_from_ns:
                self._later(joined.rest_from_ns, errand)
            case Fetch(tag=tag):
                answer, after_s = joined.get(errand)
                self._later(now_ns + STEP_NS + int(after_s * SECOND), (tag, answer))
            case (tag, answer):
                return conversation.fetched(tag, answer, now_ns)
        return ()

    def _do(self, conversation: Conversation, session: Session, outputs: Sequence[Output]) -> None:
        now_ns = self._joined.now_ns
        for output in outputs:
            if isinstance(output, Send):
                if close := session.receive(output.text, now_ns):
                    raise _closed(close)
            elif isinstance(output, Fetch | Locate):
                self._later(now_ns + STEP_NS, output)
            elif isinstance(output, Notice):
                self._joined.notices.append(output)
        for key, last in self._joined.write([output for output in outputs if isinstance(output, Event)]):
            self._do(conversation, session, conversation.refused(key, last, now_ns))

    def _later(self, at_ns: int, errand: _Errand) -> None:
        self._numbered += 1
        heappush(self._errands, (at_ns, self._numbered, errand))

    def _end(self, reason: str) -> None:
        assert self._talk is not None
        conversation, session = self._talk
        self._talk = None
        session.leave()
        self._errands.clear()
        self._joined.endings.append(reason)
        self._positions.update(conversation.positions())
        assert not self._joined.write(conversation.closed(reason))
        self._connect_ns = self._joined.now_ns + _AGAIN_NS


def target(fetch: Fetch) -> str:
    """As a GET names it."""
    return f"{fetch.path}?{urlencode(fetch.params)}"


def _closed(close: Close) -> Reconnect:
    return Reconnect(f"closed: {close.code}")


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
