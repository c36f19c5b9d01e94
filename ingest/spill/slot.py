"""One process's folder of a spill: its lock, its segments, and how far they are done with."""

import errno
import fcntl
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from ingest.spill.segment import measure
from ingest.spill.syncer import fdatasync

_NUMBER = "[0-9]" * 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CannotSpill(Exception):
    """The folder cannot be used, or its disk cannot be trusted; the text says which, and what to do."""


class Full(CannotSpill):
    """There is no room, for now."""


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """What the operating system refuses in here is said with its place and its remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise Full(f"{folder}: {error.strerror}; make room there, or name a folder on another disk") from error
        raise CannotSpill(f"{folder}: {error}; name a folder on a sound disk that this user may write to") from error


class Segment(Struct):
    """A file of records, of which the first is in its name; `.bad` instead of `.seg` marks it for a person to see."""

    first: int
    path: Path
    size: int

    def quarantine(self) -> None:
        """It is damaged: it stays when its records are done with. What is before the damage is still read."""
        self.path = self.path.rename(self.path.with_suffix(".bad"))


class Slot:
    """A folder that no other living process has, and its segments, oldest first. Raises OSError."""

    def __init__(self, folder: Path, lock: int) -> None:
        """`lock` is what `locked` gave, and is the slot's to close."""
        self.folder = folder
        self.lock = lock
        paths = sorted((*folder.glob(f"{_NUMBER}.seg"), *folder.glob(f"{_NUMBER}.bad")), key=lambda path: path.stem)
        self.segments = deque(Segment(int(path.stem), path, path.stat().st_size) for path in paths)
        # The cursor is the name of an empty file: to move it takes no room, and it is never half written. Without
        # one, nothing is confirmed.
        first = self.segments[0].first if self.segments else 1
        self._cursor = max(folder.glob(f"{_NUMBER}.cursor"), default=self._path(first - 1, "cursor"))
        self._cursor.touch()
        self.confirmed = int(self._cursor.stem)
        self.next = max(self.confirmed + 1, self._cut_tail())
        self._sync()

    def begin(self, first: int) -> int:
        """A new segment, to be written to through this descriptor."""
        path = self._path(first, "seg")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.segments.append(Segment(first, path, 0))
        return file

    def confirm(self, sequence: int) -> None:
        """Everything up to it is done with."""
        self._cursor = self._cursor.rename(self._path(sequence, "cursor"))
        self.confirmed = sequence
        self.forget()

    def forget(self) -> None:
        """Delete the segments that are done with, but for the last one and the damaged ones."""
        while len(self.segments) > 1 and self.segments[1].first <= self.confirmed + 1:
            done = self.segments.popleft()
            if done.path.suffix == ".seg":
                done.path.unlink()

    @property
    def size_bytes(self) -> int:
        """Of all its segments, also of what in them is confirmed."""
        return sum(segment.size for segment in self.segments)

    def _path(self, sequence: int, kind: str) -> Path:
        return self.folder / f"{sequence:020d}.{kind}"

    def _cut_tail(self) -> int:
        """The number behind the last record. Cuts what the last owner was writing when it died."""
        if not self.segments:
            return 1
        last = self.segments[-1]
        behind, last.size = measure(last.path.read_bytes(), last.first)
        os.truncate(last.path, last.size)
        if behind == last.first:
            self.segments.pop()  # empty: its name will be taken again
        return behind

    def _sync(self) -> None:
        """Page cache that a dead process left becomes the disk's."""
        for segment in self.segments:
            with segment.path.open("rb") as file:
                fdatasync(file.fileno())
        os.fsync(self.lock)


def locked(folder: Path) -> int | None:
    """A descriptor of the folder that keeps others out until it is closed; None if another has it. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
