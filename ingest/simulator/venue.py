"""What a dialect is to the server that gives it sockets: pure conversations, a clock to be moved, answers to GET."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from ingest.simulator.ledger import Record


class Close(Struct, frozen=True):
    """Close this connection."""

    code: int
    reason: str


class Answer(Struct, frozen=True):
    """To a GET."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Session(Protocol):
    """One connection."""

    outgoing: deque[bytes]
    """Text frames to be sent, oldest first; whoever sends them takes them out."""

    def receive(self, message: str | bytes, now_ns: int) -> Close | None:
        """The client has sent a message; the answer is in `outgoing`."""

    def beat(self, now_ns: int) -> Close | None:
        """The client has sent a ping or a pong."""

    def leave(self) -> None:
        """The connection is gone, or given up."""


class Venue(Protocol):
    """A whole exchange."""

    def accepts(self, target: str) -> bool:
        """Whether there is anything to connect to at this path and query."""

    def connect(self, target: str) -> Session:
        """A new connection to there."""

    def advance(self, until_ns: int) -> Sequence[Record]:
        """Let time pass: frames go into the sessions' `outgoing`. The result is to be recorded before they are sent."""

    def skip(self, by_ns: int) -> None:
        """Let nothing happen for so long."""

    def get(self, target: str, now_ns: int) -> Answer:
        """Answer a REST request."""
