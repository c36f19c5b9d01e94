"""One of our commands as a process that can be killed, paused and started again."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).parents[2]
_END_WITHIN_S = 15


class Child:
    """The process of one life after another; `lock` is held by whoever does something to it."""

    def __init__(self, name: str, folder: Path, *command: str, env: Mapping[str, str]) -> None:
        self.name = name
        self.lock = asyncio.Lock()
        self._log = folder / f"{name}.log"
        self._command = command
        self._env = {**os.environ, **env}
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0

    def start(self) -> None:
        self._started_s = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._env,
            cwd=_ROOT,
        )
        # Not into the file itself: what the process says is no file of its own, and its disk may be full.
        threading.Thread(target=self._note, args=(self._process.stdout,), daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the life that it is in."""
        assert self._process is not None
        return self._process.pid

    @property
    def age_s(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._started_s

    def alive(self) -> bool:
        """Whether it was started and has not ended, of itself or by us."""
        return self._process is not None and self._process.poll() is None

    def signal(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)

    def fill_disk(self) -> None:
        """From now on this life of it can write to no file."""
        self._limit_files(0)

    def clear_disk(self) -> None:
        """It can again."""
        self._limit_files(resource.RLIM_INFINITY)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def end(self) -> int | None:
        """Ask it to end; its exit code. One that does not listen is killed: None."""
        if self._process is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self._process.wait, _END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def _limit_files(self, size_bytes: int) -> None:
        if self._process is not None and self._process.poll() is None:
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    def _note(self, said: IO[bytes]) -> None:
        with said, self._log.open("ab", buffering=0) as log:
            for line in said:
                log.write(line)

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-1500:] if self._log.exists() else ""
