"""What waits for Redis, in order: in memory up to a bound, what is beyond on disk, and no more than that."""

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

import structlog

from ingest.contract.codec import freeze, thaw
from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.spill import CannotSpill, Spill

log = structlog.get_logger()


class Taken(NamedTuple):
    """The oldest events. Those that lay on disk do so until they are confirmed, up to the number `spilled`."""

    events: list[Event]
    spilled: int | None


class Backlog:
    """Oldest in memory, then on disk, then what neither could take: that is at most what one frame says."""

    def __init__(self, bound: int, spill: Spill | None) -> None:
        self._bound = bound
        self._spill = spill
        self._oldest: deque[Event] = deque()
        self._newest: deque[Event] = deque()
        self.lost_on_disk = 0

    def put(self, event: Event) -> None:
        """Behind all others."""
        if self._newest:
            self._newest.append(event)
        elif self._spill is not None and (self._spill.unread or len(self._oldest) >= self._bound):
            self._put_on_disk(self._spill, event)
        else:
            self._oldest.append(event)

    @property
    def full(self) -> bool:
        """Whether whoever puts should wait."""
        return bool(self._newest) or (self._spill is None and len(self._oldest) >= self._bound)

    @property
    def in_memory(self) -> int:
        """How many events would go with this process."""
        return len(self._oldest) + len(self._newest)

    @property
    def on_disk(self) -> int:
        """How many lie there and have not been taken."""
        return self._spill.unread if self._spill else 0

    def __bool__(self) -> bool:
        return bool(self._oldest or self.on_disk or self._newest)

    def take(self, limit: int) -> Taken:
        """The oldest events, up to `limit`; none if the disk has lost all it had. Raises CannotSpill."""
        if not self._oldest and self._spill is not None and self._spill.unread:
            records = self._spill.read(limit)
            for lost in self._spill.take_losses():
                # Which events these were is not known. Where ids are counted, the stream will refuse what follows.
                self.lost_on_disk += len(lost)
                log.error("events lost on disk", records=len(lost))
            if records:
                return Taken([thaw(payload) for _, payload in records], records[-1][0])
        if not self._oldest:
            self._oldest, self._newest = self._newest, deque()
        take = self._oldest.popleft
        return Taken([take() for _ in range(min(len(self._oldest), limit))], None)

    def confirm(self, spilled: int) -> None:
        """What lay on disk up to this number is in Redis."""
        if self._spill is not None:
            self._spill.confirm(spilled)

    def remove(self, streams: Collection[StreamKey]) -> int:
        """Take what is in memory of these streams out; how many events that were."""
        before = self.in_memory
        self._oldest = deque(event for event in self._oldest if event.key not in streams)
        self._newest = deque(event for event in self._newest if event.key not in streams)
        return before - self.in_memory

    def _put_on_disk(self, spill: Spill, event: Event) -> None:
        try:
            spill.append([freeze(event)])
        except CannotSpill as full:
            log.warning("cannot spill, so the sockets wait", reason=str(full))
            self._newest.append(event)
