"""Which streams did not take what was said: each incident is told once, however many flushes it fails."""

from collections.abc import Collection

from ingest.contract.append import Appended
from ingest.contract.keys import StreamKey


class Refusals:
    """What flushes, numbered in the order in which they are sent, came back with.

    When an entry does not join its stream, nothing that was said after it does: flushes already in flight will be
    refused as well. That is no news. News is a refusal of what was said after the telling, for that is the answer.
    """

    def __init__(self) -> None:
        self._waiting: dict[StreamKey, Appended] = {}
        self._told_at: dict[StreamKey, int] = {}

    def hear(self, flush: int, stream: Appended) -> None:
        """How one stream fared in that flush. A refusal that waits to be told keeps up with where the stream stands."""
        news = stream.refused and flush > self._told_at.get(stream.key, 0)
        if news or stream.key in self._waiting:
            self._waiting[stream.key] = stream

    def take(self, streams: Collection[StreamKey], newest_flush: int) -> list[Appended]:
        """Tell those of the streams. What was sent up to `newest_flush` is not the answer to it."""
        taken = [self._waiting.pop(key) for key in streams if key in self._waiting]
        self._told_at.update((refusal.key, newest_flush) for refusal in taken)
        return taken
