"""One connection of a dialect under faults, between its session and its socket."""

from collections import deque
from typing import Protocol

from ingest.simulator.venue import Close, Frame, Session


class Carrier(Protocol):
    """Whoever decides what gets through."""

    def carry(self, wire: "Wire") -> None:
        """What its session has said, as far as that gets through."""

    def forget(self, wire: "Wire") -> None:
        """It has left."""


class Wire:
    """A Session: one connection, as far as faults let it be one."""

    def __init__(self, session: Session, carrier: Carrier) -> None:
        self.session = session
        self.outgoing: deque[Frame] = deque()
        self.ending: Close | None = None
        self.mute = False
        self.swapped: dict[str, tuple[Frame, int]] = {}
        """Per stream a frame that waits for the one behind it, and until when."""
        self._carrier = carrier

    def receive(self, message: str | bytes, now_ns: int) -> Close | None:
        """Nobody hears what is said to a dead one."""
        if self.mute:
            return None
        close = self.session.receive(message, now_ns)
        self._carrier.carry(self)
        return close

    def beat(self, now_ns: int) -> Close | None:
        """Neither pings."""
        return None if self.mute else self.session.beat(now_ns)

    def leave(self) -> None:
        """It hears nothing any more."""
        self.session.leave()
        self._carrier.forget(self)

    def swap(self, key: str) -> list[Frame]:
        """What waited for a frame of this stream."""
        waited = self.swapped.pop(key, None)
        return [waited[0]] if waited else []

    def overdue(self, now_ns: int) -> list[Frame]:
        """What has waited long enough."""
        return [
            frame
            for key, (_, until_ns) in tuple(self.swapped.items())
            if until_ns <= now_ns
            for frame in self.swap(key)
        ]
