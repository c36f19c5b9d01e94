"""All that Redis has not confirmed, in order: on its way, then on disk, then in memory, each within its bound."""

import secrets
import time
from collections import deque
from collections.abc import Collection, Iterator
from itertools import islice, takewhile

import structlog
from msgspec import Struct

from ingest.contract.append import Batch, batch
from ingest.contract.codec import freeze, thaw
from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.spill import CannotSpill, Spill

FLUSH_EVENTS = 500
FLUSH_BYTES = 4 << 20
"""Enough for one call: the server does nothing else meanwhile, and by default takes 512 MiB in one piece at most."""
_STOW_EVENTS = 50
_SAY_EVERY_S = 10.0

log = structlog.get_logger()


class Flush(Struct):
    """What one call carries."""

    number: int
    batch: Batch
    spilled: int | None = None
    """When it is confirmed, so is all that lies on disk up to this number; None if none of it does."""


class Backlog:
    """What is in memory alone is newer than all that lies on disk: so the disk can be left to the next worker any time.

    To keep it so, all of memory goes to disk when it is full, together with what is on its way and may not arrive; and
    what comes next goes to disk as well until everything there has been taken.
    """

    def __init__(self, bound: int, spill: Spill | None) -> None:
        self.unconfirmed: deque[Flush] = deque()
        self.flushes = 0
        self.lost_on_disk = 0
        self.given_up = 0
        """How many were dropped as their stream does not take them."""
        self._bound = bound
        self._spill = spill
        self._memory: deque[Event] = deque()
        self._given_up_to: dict[StreamKey, int] = {}
        self._said_s = -_SAY_EVERY_S

    def put(self, event: Event) -> None:
        """Behind all others."""
        self._memory.append(event)
        if self._spill is not None and (len(self._memory) >= self._bound or self._spill.unread):
            self.stow()

    @property
    def full(self) -> bool:
        """Whether whoever puts should wait: memory is full, or the disk did not take what is in memory."""
        return bool(self._memory) and (len(self._memory) >= self._bound or self.on_disk > 0)

    @property
    def in_memory(self) -> int:
        """How many wait there, and have not been taken."""
        return len(self._memory)

    @property
    def on_disk(self) -> int:
        """How many wait there, and have not been taken."""
        return self._spill.unread if self._spill else 0

    @property
    def unsaved(self) -> int:
        """How many events would go with this process."""
        return len(self._memory) + sum(flush.batch.entries for flush in self.unconfirmed if flush.spilled is None)

    @property
    def left_on_disk(self) -> int:
        """How many events a next worker finds there."""
        return self._spill.depth if self._spill else 0

    def take(self) -> Flush | None:
        """The oldest, which are now on their way; None if nothing waits. Raises CannotSpill."""
        while self._spill is not None and self._spill.unread:
            if flush := self._take_from_disk(self._spill):
                return flush
        return self._flush(batch(_name(), self._popped(), FLUSH_BYTES), None) if self._memory else None

    def confirm(self) -> None:
        """The oldest that is on its way has arrived. Raises CannotSpill."""
        flush = self.unconfirmed.popleft()
        if self._spill is not None and flush.spilled is not None:
            self._spill.confirm(flush.spilled)
            if self._memory and self._spill.unread:
                self.stow()  # there may be room now

    def give_up(self, streams: Collection[StreamKey]) -> None:
        """Drop what waits of these streams."""
        kept = deque(event for event in self._memory if event.key not in streams)
        self.given_up += len(self._memory) - len(kept)
        self._memory = kept
        if self._spill is not None and self._spill.unread:
            self._given_up_to.update(dict.fromkeys(streams, self._spill.newest))

    def stow(self) -> None:
        """Put on disk what is in memory alone. What it does not take, for want of room or a sound disk, stays."""
        if self._spill is None:
            return
        try:
            if not self._spill.unread:
                self._stow_unconfirmed(self._spill)
            while chunk := tuple(islice(self._memory, _STOW_EVENTS)):
                self._spill.append([freeze(event) for event in chunk])
                for _ in chunk:
                    self._memory.popleft()
        except CannotSpill as full:
            if time.monotonic() - self._said_s >= _SAY_EVERY_S:
                self._said_s = time.monotonic()
                log.warning("cannot spill, so the sockets wait", reason=str(full), in_memory=self.in_memory)

    def _stow_unconfirmed(self, spill: Spill) -> None:
        # What was sent before something that lay on disk would come behind it.
        newest = tuple(takewhile(lambda flush: flush.spilled is None, reversed(self.unconfirmed)))
        for flush in reversed(newest):
            written = spill.append(flush.batch.frozen())
            while spill.unread:
                spill.read(len(written))  # it is taken already
            flush.spilled = written[-1]

    def _take_from_disk(self, spill: Spill) -> Flush | None:
        """None if what was next is lost or given up."""
        records = spill.read(FLUSH_EVENTS)
        for lost in spill.take_losses():
            # Which events these were is not known. Where ids are counted, the stream will refuse what follows.
            self.lost_on_disk += len(lost)
            log.error("events lost on disk", records=len(lost))
        if not records:
            return None
        newest = records[-1][0]
        numbered = [(number, thaw(payload)) for number, payload in records]
        events = [event for number, event in numbered if number > self._given_up_to.get(event.key, 0)]
        self.given_up += len(records) - len(events)
        if events:
            return self._flush(batch(_name(), events), newest)  # a read has a bound of its own
        if self.unconfirmed:
            self.unconfirmed[-1].spilled = newest
        else:
            spill.confirm(newest)
        return None

    def _popped(self) -> Iterator[Event]:
        for _ in range(min(len(self._memory), FLUSH_EVENTS)):
            yield self._memory.popleft()

    def _flush(self, carried: Batch, spilled: int | None) -> Flush:
        self.flushes += 1
        flush = Flush(self.flushes, carried, spilled)
        self.unconfirmed.append(flush)
        return flush


def _name() -> str:
    """A generation for each flush: two births of a stream, before and after its server lost it, are never alike."""
    return secrets.token_hex(4)
