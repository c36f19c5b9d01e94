"""What an exchange is to the server that gives it sockets, and what a dialect is to the faults that play with it."""

from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from ingest.simulator.faults import Fault
from ingest.simulator.ledger import Entry, Event, Whole
from ingest.simulator.market import Market

CUT = 1006
"""Not a code that is ever sent: the connection ends without a word."""


class Close(Struct, frozen=True):
    """Close this connection."""

    code: int
    reason: str


class Answer(Struct, frozen=True):
    """To a GET."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    after_s: float = 0.0
    """How long it is on its way."""


class Frame(NamedTuple):
    """A text frame, and the events in it."""

    text: bytes
    records: tuple[Event, ...] = ()


class Session(Protocol):
    """One connection."""

    outgoing: deque[Frame]
    """Frames to be sent, oldest first; whoever sends them takes them out."""
    ending: Close | None
    """To be closed, once that is set; with CUT, to be cut."""
    mute: bool
    """It is as good as dead, but nobody says so: not even pings are answered."""

    def receive(self, message: str | bytes, now_ns: int) -> Close | None:
        """The client has sent a message; the answer is in `outgoing`."""

    def beat(self, now_ns: int) -> Close | None:
        """The client has sent a ping or a pong."""

    def leave(self) -> None:
        """The connection is gone, or given up."""


class Venue(Protocol):
    """A whole exchange."""

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """Why there is no connection to this path and query now; None if there is."""

    def connect(self, target: str) -> Session:
        """A new connection to there."""

    def advance(self, until_ns: int) -> Sequence[Entry]:
        """Let time pass: frames go into the sessions' `outgoing`. The result is to be recorded before they are sent."""

    def skip(self, by_ns: int) -> None:
        """Let nothing happen for so long."""

    def get(self, target: str, now_ns: int) -> Answer:
        """Answer a REST request."""

    def strike(self, fault: Fault) -> None:
        """Let this go wrong, counted from now. Raises BadFault if it cannot."""


class Rest(Protocol):
    """What a dialect answers to requests, as of the last `advance`."""

    def get(self, target: str, now_ns: int) -> Answer:
        """As Venue."""

    def in_trouble(self, status: int, retry_after_s: int) -> Answer:
        """To any GET, when it is asked too much (429), bans (418), is broken (500), or down (503)."""

    def asks_for(self, target: str) -> str | None:
        """The stream that a GET is about, if it is about one."""


class Dialect(Protocol):
    """An exchange whose faults are somebody else's to play; pure, so that the same calls give the same bytes."""

    keys: frozenset[str]
    """All streams that it can tell."""
    market: Market
    """That it tells of. The crowd there may pause, and symbols be halted."""
    has_checksums: bool
    maintenance: Close
    """How it ends its connections before it goes down."""

    @property
    def rest(self) -> Rest:
        """Its REST."""

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """As Venue."""

    def connect(self, target: str) -> Session:
        """As Venue."""

    def advance(self, until_ns: int) -> Sequence[Event | Whole]:
        """As Venue."""

    def refuse(self, keys: Collection[str]) -> None:
        """None of these can be subscribed to now, and all others can."""

    def notice(self) -> bytes:
        """The frame that says that this server goes down soon."""

    def crossed(self, frame: Frame) -> bytes | None:
        """A frame of a book's changes, with a bid above the best ask. None if it is no such frame."""

    def miscounted(self, frame: Frame) -> bytes | None:
        """A frame with a wrong checksum. None if it has none."""

    def begin_anew(self) -> None:
        """Count all ids from lower ones."""
