"""Several streams as one: the oldest entry first, nothing twice. Pure."""

import heapq
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct, field

from consumers.continuity import Continuity, Fields, place
from consumers.places import parts
from ingest.contract.keys import StreamKey


class Track(Struct, eq=False):
    """One stream on its way."""

    key: StreamKey
    after: str
    """Where XRANGE goes on: at an id, or behind one if a parenthesis stands before it."""
    begun: bool = False
    """Whether its entries are given out: those of a book from a snapshot on."""
    rows: deque[tuple[str, Fields]] = field(default_factory=deque)
    continuity: Continuity = field(default_factory=Continuity)

    def fill(self, page: Sequence[tuple[bytes, Fields]]) -> bool:
        """Take what comes next of it, a page with something in it; whether any of that is to be given out."""
        self.after = f"({page[-1][0].decode()}"
        for entry_id, fields in page:
            self.begun = self.begun or fields.get(b"type") == b"snapshot"
            if self.begun:
                self.rows.append((entry_id.decode(), fields))
        return bool(self.rows)


class Taken(NamedTuple):
    """The oldest entry in hand."""

    track: Track
    at: tuple[int, int]
    id: str
    fields: Fields
    missing: int
    """So many entries of its stream are not there right before it."""
    repeated: bool
    """It was there before."""


class Merge:
    """What is in hand of the tracks, in the order of the ids, and of one id in that of the keys."""

    def __init__(self) -> None:
        self._heads: list[tuple[tuple[int, int], StreamKey, Track]] = []

    def __bool__(self) -> bool:
        return bool(self._heads)

    def put(self, track: Track) -> None:
        """One that has rows again."""
        heapq.heappush(self._heads, (parts(track.rows[0][0]), track.key, track))

    def take(self) -> Taken:
        """The next one; its track is out once it has no more rows."""
        at, _, track = heapq.heappop(self._heads)
        entry_id, fields = track.rows.popleft()
        if track.rows:
            self.put(track)
        where = place(fields)
        missing, repeated = track.continuity.feed(*where) if where else (0, False)
        return Taken(track, at, entry_id, fields, missing, repeated)
