"""What was written, on to the disk: in a thread, so that whoever writes never waits for the disk."""

import os
from collections import deque
from threading import Event, Thread

_EVERY_S = 0.05

fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has none


class Syncer(Thread):
    """Syncs a folder's files in the order in which they were written, until it is closed or the first error."""

    def __init__(self, folder: int, durable: int) -> None:
        """`folder` is a descriptor, and stays the caller's; `durable` is what is on disk already."""
        super().__init__(name="spill", daemon=True)
        self.durable = durable
        # After an error nobody knows what the disk holds, and a second sync would say that all is well.
        self.failure: OSError | None = None
        self._folder = folder
        self._files: deque[int] = deque()
        self._written = durable
        self._unsynced = Event()
        self._closing = Event()

    def follow(self, file: int) -> None:
        """What is written from now on goes to this descriptor, which is the syncer's to close."""
        self._files.append(file)

    def written(self, sequence: int) -> None:
        """Everything up to `sequence` is written."""
        self._written = sequence
        self._unsynced.set()

    def close(self) -> None:
        """Sync what is left, and end."""
        self._closing.set()
        self._unsynced.set()
        self.join()
        for file in self._files:
            os.close(file)

    def run(self) -> None:
        """The thread."""
        try:
            while not self._closing.is_set():
                self._unsynced.wait()
                self._unsynced.clear()
                self._sync()
                self._closing.wait(_EVERY_S)
            self._sync()
        except OSError as error:
            self.failure = error

    def _sync(self) -> None:
        files, written = tuple(self._files), self._written
        for file in files:
            fdatasync(file)
        os.fsync(self._folder)  # a file that is not in its folder is not on disk
        for _ in files[:-1]:
            os.close(self._files.popleft())
        self.durable = written
