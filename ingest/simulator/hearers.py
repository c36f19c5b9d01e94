"""Who hears which topic of a dialect."""

from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeVar

TopicT = TypeVar("TopicT")
SessionT = TypeVar("SessionT")


class Hearers(Generic[TopicT, SessionT]):
    """Who hears what, what was ever asked for, and who has just come and waits for what a subscription begins with."""

    def __init__(self, stream_of: Callable[[TopicT], str]) -> None:
        """`stream_of` is ours, that carries a topic; empty if none does."""
        self.of: dict[TopicT, list[SessionT]] = {}
        self.followed: set[str] = set()
        """Streams of ours that were ever asked for."""
        self.refused: Collection[str] = ()
        """Those that cannot be subscribed to now."""
        self._stream_of = stream_of
        self._fresh: list[tuple[SessionT, TopicT]] = []

    def join(self, session: SessionT, topic: TopicT) -> None:
        """It hears this from the next welcome on."""
        self._fresh.append((session, topic))

    def welcome(self) -> list[tuple[SessionT, TopicT]]:
        """Those who have come since the last call; they hear all that is to come."""
        fresh, self._fresh = self._fresh, []
        for session, topic in fresh:
            self.of.setdefault(topic, []).append(session)
            self.followed.add(self._stream_of(topic))
        return fresh

    def leave(self, session: SessionT, topics: Iterable[TopicT]) -> None:
        """It no longer hears these."""
        for topic in topics:
            self._fresh = [each for each in self._fresh if each != (session, topic)]
            hearing = self.of.get(topic, [])
            if session in hearing:
                hearing.remove(session)
            if not hearing:
                self.of.pop(topic, None)
