"""What Redis has confirmed and could still lose: kept until it is known to be on disk, to be sent again if need be."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ingest.contract.append import Batch
from ingest.contract.keys import StreamKey

Durability = Literal["none", "everysec", "confirmed", "always"]
"""When what Redis confirms counts as kept:

- none: at once; there is no append-only file, or a loss is acceptable.
- everysec: when the server has it still after ten seconds: an append-only file that is synced every second has surely
  reached the disk by then.
- confirmed: when the server says so (WAITAOF), where it can be trusted to; else as everysec.
- always: at once; the server syncs before it answers.
"""

SYNCED_AFTER_S = 10.0


class Place(NamedTuple):
    """An entry of a stream, by generation and number."""

    g: str
    n: int
    last: str | None = None
    """The newest id as of then, where ids are counted."""


class Kept(NamedTuple):
    """A batch, the number of its flush, and the call that carried it out; where its streams then stood."""

    flush: int
    batch: Batch
    line: str
    number: int
    confirmed_s: float
    size_bytes: int
    places: Mapping[StreamKey, Place]


class Tail:
    """Confirmed batches, oldest first."""

    def __init__(self) -> None:
        self._kept: deque[Kept] = deque()
        self.size_bytes = 0
        self.depths: Counter[StreamKey] = Counter()
        """How many events of each stream are kept."""
        self.durable: dict[StreamKey, Place] = {}
        """Up to where each stream is safe: what stands there was let go."""

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, kept: Kept) -> None:
        """It was confirmed now."""
        self._kept.append(kept)
        self.size_bytes += kept.size_bytes
        for key in kept.batch.streams:
            self.depths[key] += kept.batch.count(key)

    def trust(self, places: Mapping[StreamKey, Place]) -> None:
        """What was confirmed now is safe as it is: it is not kept."""
        self.durable.update(places)

    def let_go(self, line: str, number: int, *, confirmed_by_s: float) -> None:
        """All up to that call of that line is on disk, as far as it was confirmed by then.

        With it goes what was confirmed before the line began.
        """
        while self._kept and self._kept[0].confirmed_s <= confirmed_by_s:
            if self._kept[0].line == line and self._kept[0].number > number:
                break
            self._drop()

    def take(self) -> list[Kept]:
        """All of it, oldest first: it is to be sent again."""
        kept = list(self._kept)
        self._kept.clear()
        self.depths.clear()
        self.size_bytes = 0
        return kept

    def resumes(self, key: StreamKey) -> int | None:
        """The id behind which all of a stream's can be said again, without a hole; None if none can.

        What came late, and belongs before others, does not count. A book can be said again from a snapshot on. Where
        the exchange has begun to count anew in between, that is of the old series; the new one is then begun again.
        """
        if key.channel == "orderbook":
            snapshot = next((i for kept in self._kept for i in kept.batch.snapshots(key)), None)
            return None if snapshot is None else snapshot - 1
        begin: int | None = None
        end = 0
        for kept in self._kept:
            for first, last in kept.batch.numbered(key):
                if begin is None or first > end + 1:
                    begin = first
                end = max(end, last)
        return None if begin is None else begin - 1

    def _drop(self) -> None:
        dropped = self._kept.popleft()
        self.size_bytes -= dropped.size_bytes
        for key in dropped.batch.streams:
            self.depths[key] -= dropped.batch.count(key)
        self.durable.update(dropped.places)
