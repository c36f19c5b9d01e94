"""What Redis cannot take now: on disk, in order, until it can."""

import errno
import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from ingest.spill import segment
from ingest.spill.segment import Damaged
from ingest.spill.slot import CannotSpill, Full, Segment, Slot, explained, locked
from ingest.spill.syncer import Syncer

__all__ = ["CannotSpill", "Full", "Spill", "adopt", "inherit", "open_spill"]

SEGMENT_BYTES = 16 << 20
"""The most that a segment has, unless a single batch is larger: a batch is never divided."""
READ_BYTES = 4 << 20
"""How many bytes of payload are enough for one read."""


def open_spill(root: Path, exchange: str, *, cap_bytes: int) -> "Spill":
    """A slot of this exchange that no living process has: one with records, else the first. Raises CannotSpill."""
    slots = (_take(root / exchange / str(number), cap_bytes) for number in count())
    return adopt(root, exchange, cap_bytes=cap_bytes) or next(filter(None, slots))


def adopt(root: Path, exchange: str, *, cap_bytes: int) -> "Spill | None":
    """What a dead process left in its slot; None if there is nothing of that kind. Raises CannotSpill."""
    for folder in (root / exchange).glob("[0-9]*"):
        spill = _take(folder, cap_bytes)
        if spill and spill.depth:
            return spill
        if spill:
            spill.close()
    return None


def inherit(root: Path, exchange: str, heir: "Spill", *, cap_bytes: int) -> None:
    """Take over what dead processes left in other slots, one after the other.

    Raises Full when the heir has no room for more, which then stays where it is, and CannotSpill.
    """
    while orphan := adopt(root, exchange, cap_bytes=cap_bytes):
        try:
            while records := orphan.read(1_000):
                heir.append([payload for _, payload in records])
                orphan.confirm(records[-1][0])
        finally:
            orphan.close()


def _take(folder: Path, cap_bytes: int) -> "Spill | None":
    with explained(folder):
        lock = locked(folder)
        if lock is None:
            return None
        try:
            return Spill(Slot(folder, lock), cap_bytes)
        except OSError:
            os.close(lock)
            raise


class Spill:
    """Records, numbered without a hole, in a slot of the disk. For one thread.

    What `append` has returned survives the death of the process; up to `durable` it survives a power loss, too. Records
    are read from the first on that is not confirmed: those that were read but not confirmed come again after a start.
    """

    def __init__(self, slot: Slot, cap_bytes: int) -> None:
        """The slot is the spill's to close. Raises OSError."""
        self._slot = slot
        self._cap_bytes = cap_bytes
        self._next = slot.next
        self._at = 0
        self._damaged = False
        self._losses: list[range] = []
        self._uncut: OSError | None = None
        self._syncer = Syncer(slot.lock, slot.next - 1)
        self._begin_segment()
        self._read_from(slot.segments[0])
        self._syncer.start()

    def append(self, payloads: Sequence[bytes]) -> range:
        """Write all of them or, if it raises, none. Returns their numbers. Raises Full, CannotSpill."""
        if self._failure or not self._syncer.is_alive():
            raise self._broken()
        records = b"".join(map(segment.pack, count(self._next), payloads))
        with explained(self._slot.folder):
            last = self._slot.segments[-1]
            if last.size and (not self.depth or last.size + len(records) > SEGMENT_BYTES):
                self._begin_segment()
            if self.size_bytes + len(records) > self._cap_bytes:
                raise Full(
                    f"{self._slot.folder}: the cap of {self._cap_bytes} bytes is reached; bring Redis back, or raise it"
                )
            self._write(records)
        numbers = range(self._next, self._next + len(payloads))
        self._next = numbers.stop
        self._syncer.written(numbers.stop - 1)
        return numbers

    def read(self, limit: int) -> list[tuple[int, bytes]]:
        """Some of the next records, with their numbers; at most `limit`, and none only if all are read.

        Where the numbers leave something out, it is lost: `take_losses` then says so. Raises CannotSpill.
        """
        with explained(self._slot.folder):
            while limit > 0 and self._at < self._next:
                if records := self._read_here(limit):
                    return records
                if self._at < self._next:
                    self._turn()
        return []

    def take_losses(self) -> list[range]:
        """The numbers of records that the disk lost, all before those of the last read. Each loss is told once.

        After a start it is told again, unless it, or something behind it, is confirmed.
        """
        taken, self._losses = self._losses, []
        return taken

    def confirm(self, sequence: int) -> None:
        """Everything up to this number is where it belongs, and need not be kept. Raises CannotSpill."""
        if sequence <= self._slot.confirmed:
            return
        if sequence >= self._at:
            raise ValueError(f"record {sequence} is not read yet, so it cannot be confirmed; {self._at} is the next")
        with explained(self._slot.folder):
            self._slot.confirm(sequence)

    @property
    def depth(self) -> int:
        """How many records are not confirmed, with those that are lost."""
        return self._next - 1 - self._slot.confirmed

    @property
    def unread(self) -> int:
        """How many have not been read, with those that are lost among them."""
        return self._next - self._at

    @property
    def newest(self) -> int:
        """The number of the record that was written last; one less than the next gets."""
        return self._next - 1

    @property
    def size_bytes(self) -> int:
        """How much of the disk it takes, and of its cap."""
        return self._slot.size_bytes

    @property
    def durable(self) -> int:
        """The number up to which everything is known to be on disk."""
        return self._syncer.durable

    def close(self) -> None:
        """Sync, and leave the slot with all that is in it to the next. Raises CannotSpill."""
        self._syncer.close()
        self._file.close()
        os.close(self._slot.lock)
        if self._failure:
            raise self._broken()

    @property
    def _failure(self) -> OSError | None:
        return self._uncut or self._syncer.failure

    def _broken(self) -> CannotSpill:
        reason = self._failure or "nothing is synced any more"
        return CannotSpill(f"{self._slot.folder}: {reason}; check the disk, then start again")

    def _begin_segment(self) -> None:
        self._descriptor = self._slot.begin(self._next)
        self._syncer.follow(self._descriptor)
        self._slot.forget()

    def _write(self, records: bytes) -> None:
        last = self._slot.segments[-1]
        try:
            _write_whole(self._descriptor, records)
        except OSError as error:
            self._uncut = error
            os.ftruncate(self._descriptor, last.size)
            self._uncut = None
            raise
        last.size += len(records)

    def _read_here(self, limit: int) -> list[tuple[int, bytes]]:
        """Of one segment; nothing where it ends, or is damaged."""
        records: list[tuple[int, bytes]] = []
        size = 0
        while self._at < self._next and len(records) < limit and size < READ_BYTES:
            try:
                payload = segment.read(self._file, self._at)
            except (Damaged, OSError):  # a sector that cannot be read is damage, too
                self._damaged = True
                break
            if payload is None:
                break
            if self._at > self._slot.confirmed:
                records.append((self._at, payload))
                size += len(payload)
            self._at += 1
        return records

    def _turn(self) -> None:
        """On to the next segment."""
        if self._reading is self._slot.segments[-1]:
            self._begin_segment()
        if self._damaged:
            self._reading.quarantine()
        done = self._file
        self._read_from(next(other for other in self._slot.segments if other.first > self._reading.first))
        done.close()

    def _read_from(self, reading: Segment) -> None:
        file = reading.path.open("rb")
        # The segments' names tell what is missing between them.
        if lost := range(max(self._at, self._slot.confirmed + 1), reading.first):
            self._losses.append(lost)
        self._reading, self._file, self._at, self._damaged = reading, file, reading.first, False


def _write_whole(descriptor: int, records: bytes) -> None:
    """In one go, so that a batch is either there or at the torn end of the file."""
    if os.write(descriptor, records) < len(records):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
