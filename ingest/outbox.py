"""What is on its way to Redis: queued, sent but not confirmed, confirmed but perhaps not on its disk."""

import secrets
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from ingest import wire
from ingest.backlog import Backlog, Flush
from ingest.contract.append import Appended, appended
from ingest.contract.keys import StreamKey
from ingest.refusals import Refusals
from ingest.tail import Kept, Place, Tail


class ServerLost(ConnectionError):
    """A stream is not the one that we know: whatever is not on disk is sent again, on a new connection."""


class Counters(Struct):
    """What a publisher counted, in events where nothing else is said.

    `put` is the sum of the seven behind it, without those that were sent once more because the server had lost them.
    """

    put: int = 0
    appended: int = 0
    duplicates: int = 0
    refused: int = 0
    queued: int = 0
    unconfirmed: int = 0
    spilled: int = 0
    lost_on_disk: int = 0
    again: int = 0
    flushes: int = 0
    connects: int = 0
    away: int = 0
    """Attempts that failed for a reason that passes."""
    denied: int = 0
    """Attempts that failed for a reason that somebody has to mend."""
    waited_s: float = 0.0
    """How long whoever puts had to wait."""


class _Call(Struct, frozen=True):
    flush: Flush
    line: str
    number: int
    size_bytes: int


class Outbox:
    """The order in which events are sent, and what the replies mean for them. It neither waits nor connects.

    A line is what one connection carries: its calls are numbered, and each fails unless the one before was carried out.
    """

    def __init__(self, backlog: Backlog, tail: Tail, *, keeps: bool) -> None:
        """`keeps`: what is confirmed goes to the tail, which somebody empties."""
        self.backlog = backlog
        self.places: dict[StreamKey, Place] = {}
        self.fences: dict[StreamKey, int] = {}
        self._beginning: set[StreamKey] = set()
        """Streams that begin anew in a call without a reply so far: in which generation they go on, that says."""
        self.line = ""
        self._number = 0
        self._calls: deque[_Call] = deque()
        self._tail = tail
        self._keeps = keeps
        self._refusals = Refusals()
        self._refused = 0
        self.away = 0
        self.denied = 0
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """As of now."""
        now = self._counters
        now.queued = self.backlog.in_memory
        now.spilled = self.backlog.on_disk
        now.lost_on_disk = self.backlog.lost_on_disk
        now.unconfirmed = sum(flush.batch.entries for flush in self.backlog.unconfirmed)
        now.away, now.denied = self.away, self.denied
        now.flushes = self.backlog.flushes
        now.refused = self._refused + self.backlog.given_up
        arrived = now.appended + now.duplicates + now.refused
        now.put = arrived + now.queued + now.unconfirmed + now.spilled + now.lost_on_disk - now.again
        return now

    def take_refusals(self, streams: Collection[StreamKey]) -> list[Appended]:
        """Those of the streams that did not take what was said; what is queued of them goes as well."""
        taken = self._refusals.take(streams, self.backlog.flushes)
        if taken:
            # What is queued does not join either, and in one flush with the answer it would drag that down.
            self.backlog.give_up({refusal.key for refusal in taken})
        return taken

    def begin_line(self) -> deque[Flush]:
        """A new connection; returns what has to be sent first, as it was not confirmed on the one before."""
        self._counters.connects += 1
        self.line, self._number = secrets.token_hex(4), 0
        self._calls.clear()
        self._beginning.clear()
        return deque(self.backlog.unconfirmed)

    def send_tail_again(self) -> None:
        """Before all else, unchanged: what the streams have still is dropped there."""
        kept = [Flush(kept.flush, kept.batch) for kept in self._tail.take()]
        self._counters.again += sum(flush.batch.entries for flush in kept)
        self.backlog.unconfirmed.extendleft(reversed(kept))

    def call(self, digest: str, flush: Flush) -> bytes:
        """The next call of the line."""
        self._number += 1
        known = {
            key: self.places[key].g for key in flush.batch.streams if key in self.places and key not in self._beginning
        }
        command = wire.call(digest, flush.batch.arguments(known, self.line, self._number, self.fences))
        self._beginning.update(flush.batch.restarts)
        self._calls.append(_Call(flush, self.line, self._number, len(command)))
        return command

    def settle(self, reply: Sequence[bytes]) -> None:
        """The reply to the oldest call that has none. Raises ServerLost."""
        call = self._calls.popleft()
        counters, flush = self._counters, call.flush
        streams = appended(flush.batch, reply)
        if lost := [stream for stream in streams if stream.lost]:
            for stream in lost:
                self.places.setdefault(stream.key, Place(stream.g or "-", stream.n, stream.last))
            raise ServerLost(f"the server lost {', '.join(str(stream.key) for stream in lost)}")
        self._beginning.difference_update(flush.batch.restarts)
        places = {stream.key: Place(stream.g, stream.n, stream.last) for stream in streams if stream.g}
        self.places |= places
        self._keep(call, places)
        self.backlog.confirm()
        for stream in streams:
            counters.appended += stream.appended
            counters.duplicates += stream.handled - stream.appended
            self._refused += flush.batch.count(stream.key) - stream.handled
            self._refusals.hear(flush.number, stream)

    def _keep(self, call: _Call, places: Mapping[StreamKey, Place]) -> None:
        if self._keeps:
            flush, now_s = call.flush, time.monotonic()
            self._tail.keep(Kept(flush.number, flush.batch, call.line, call.number, now_s, call.size_bytes, places))
        else:
            self._tail.trust(places)
