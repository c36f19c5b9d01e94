"""The form that every exchange fills in: what a worker may ask of it, and what it may ask of the worker."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey

NEVER = 1 << 63
"""A time that does not come: what `due` says when nothing is."""


class Send(Struct, frozen=True):
    """Say this on the socket."""

    text: str


class Fetch(Struct, frozen=True):
    """GET this by REST; the answer comes back through `fetched` with the same tag."""

    path: str
    params: tuple[tuple[str, str], ...]
    weight: int
    """What it takes from the exchange's budget for this address."""
    tag: str


class Locate(Struct, frozen=True):
    """Ask the bus where this stream stands; the answer comes back through `located`."""

    key: StreamKey


class Notice(Struct, frozen=True):
    """Tell the world about a subscription: `refused` (and given up), or `silent`; the other streams go on."""

    key: StreamKey
    state: str
    reason: str
    renew: bool = False
    """Whether a new connection might help; it will not be tried for the same stream again and again."""


class Renew(Struct, frozen=True):
    """Have another connection take the place of this one, which goes on until that one delivers."""

    reason: str


Output = Event | Send | Fetch | Locate | Notice | Renew


class Standing(Struct, frozen=True):
    """Where a stream stands, by the server's word."""

    g: str
    n: int
    position: str | None = None
    """The newest id; where ids have no order, the newest time in ms; where the writer counts, its `SESSION.COUNTER`;
    where several count, the newest `SOURCE.MARK` or `SOURCE~SERIES.MARK` of each, separated by blanks."""


class FetchFailed(Struct, frozen=True):
    """A request without a usable answer. `status` is 0 if none came at all."""

    status: int
    reason: str


class ExchangeError(Exception):
    """Something an exchange said that cannot simply be used; its subclasses are named by remedy."""

    def __init__(self, reason: str, *, stream: str = "", frame: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.stream = stream
        self.frame = frame


class SkipFrame(ExchangeError):
    """Count it, keep the bytes for the log, read on."""


class Reconnect(ExchangeError):
    """This connection is of no more use, or soon will be: open a new one."""


class Stop(ExchangeError):
    """No retry can help (a region that is not served, a symbol that is gone): end the worker and say so."""


class Instrument(Struct, frozen=True):
    """What an exchange trades under one symbol."""

    symbol: str
    """`BASE/QUOTE`"""
    native: str
    """The exchange's own name of it."""
    trading: bool
    """Whether there is something to hear."""
    status: str
    """The exchange's own word; `delisted` of what is not traded any more."""
    tick_size: str | None = None
    lot_size: str | None = None
    min_notional: str | None = None
    halted: bool = False
    """Whether orders are refused for now although there is something to hear."""


class Limit(Struct, frozen=True):
    """What an exchange allows one address: so much at once, and then so much a second."""

    at_once: float
    per_s: float


class Limits(Struct, frozen=True):
    """An exchange's limits for one address.

    Keep each so that twice `at_once`, and what a whole window of the exchange's brings, is within what it allows: when
    Redis comes or goes, what was spent just before is forgotten.
    """

    weight: Limit
    """Of REST requests, by their `Fetch.weight`."""
    connects: Limit
    """Attempts to open a WebSocket."""
    messages: Limit | None = None
    """That we send on all sockets together, where that is limited for an address and not only for each socket."""
    bans: Mapping[int, float] = {}
    """HTTP statuses that ban the address, besides 418 and 429, and for how many seconds."""


class Kept(Struct, frozen=True):
    """How a kind of stream is kept whole, in words for people."""

    named: str
    """What `s` is."""
    noticed: str
    """By what it shows that something was missed."""
    mended: str
    """What comes of that."""
    far: str
    """How much of it can be had."""


class Feed(Struct, frozen=True):
    """How one channel of an exchange is kept whole. README's table is made of these; tests hold them to what happens.

    The words come with the topic that does it, the rest is particular to the exchange.
    """

    kept: Kept
    also: str = ""
    """By what else it shows that something was missed."""
    depth: int | None = None
    """Levels of a book's side that are vouched for; None for all."""
    reach: int | None = None
    """What REST has of trades; None for as many as are asked for."""


class Plan(Struct, frozen=True):
    """One connection to be: where to, and which streams it carries."""

    path: str
    streams: tuple[StreamKey, ...]


class Conversation(Protocol):
    """One connection's talk with an exchange. A new connection is a new object: there is no reset.

    Every input returns the outputs that follow from it, in order. Inputs raise nothing but ExchangeError.
    """

    def greet(self, now_ns: int) -> Sequence[Output]:
        """What to do once connected."""

    def receive(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame has come."""

    def fetched(self, tag: str, answer: bytes | FetchFailed, now_ns: int) -> Sequence[Output]:
        """The answer to a Fetch has come."""

    def located(self, key: StreamKey, standing: Standing | None, now_ns: int) -> Sequence[Output]:
        """The answer to a Locate has come; None if there was none."""

    def refused(self, key: StreamKey, last: str | None, now_ns: int) -> Sequence[Output]:
        """The stream does not take what was said: it stands at `last`, and what is behind that must be said again."""

    def closed(self, reason: str) -> Sequence[Event]:
        """The connection has ended, or could not be opened: nothing is heard from now on."""

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Time has passed; call it when `due` says so."""

    def due(self) -> int:
        """When `tick` is next wanted, or NEVER."""

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Take these on as well."""

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Let these go; the others go on."""

    def own(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """These, of channels that are `single_writer`, are ours to write from now on, and are begun anew.

        Until then, and after `disown`, they are listened to and nothing is said of them.
        """

    def disown(self, streams: Sequence[StreamKey]) -> None:
        """These are another's to write."""

    def acknowledged(self) -> bool:
        """Whether the exchange has confirmed all subscriptions, so that a stream without data is a quiet one."""

    def positions(self) -> Mapping[StreamKey, str]:
        """As `Standing.position`, or more, of every stream that has one: where the next connection goes on."""


class Exchange(Protocol):
    """What holds for an exchange whatever the connection."""

    name: str
    stream_url: str
    """Base address of its WebSocket; a Plan's path is added."""
    rest_url: str
    channels: frozenset[str]
    limits: Limits
    wait_after: Mapping[int, float]
    """Seconds to stay away after a close with this code."""
    single_writer: frozenset[str]
    """Channels whose streams can have one writer at a time: their ids mean nothing beyond one connection."""
    feeds: Mapping[str, Feed]
    """By channel, `candles` for all intervals."""
    rotation: str
    """When it ends connections as planned, so that another one takes over before; "" if it never says so."""

    def list_instruments(self) -> Fetch:
        """The request for everything it trades."""

    def instruments(self, body: bytes) -> Mapping[str, Instrument]:
        """The answer to that, by symbol. Raises SkipFrame if it makes no sense."""

    def plan(self, streams: Sequence[StreamKey], plans: Sequence[Plan] = ()) -> tuple[Plan, ...]:
        """The streams over as few connections as the exchange's limits allow.

        `plans` are those that there are: they come first, in their order, each with what it has and what it had room
        for.
        """

    def converse(
        self,
        streams: Sequence[StreamKey],
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        session: str,
    ) -> Conversation:
        """A new connection's talk. `positions` are where the streams stand; `session` is unique to it.

        Both mappings are read again for streams that are subscribed to later.
        """
