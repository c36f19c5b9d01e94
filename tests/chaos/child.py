"""One of our commands as a process that can be killed, paused and started again."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

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

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._command], stdout=log, stderr=log, env=self._env, cwd=_ROOT
            )

    def alive(self) -> bool:
        """Whether it was started and has not ended, of itself or by us."""
        return self._process is not None and self._process.poll() is None

    def signal(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)

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

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-1500:]
