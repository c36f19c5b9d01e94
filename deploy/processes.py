"""Processes that belong together: started with a log each, asked to end in order, and missed when they die."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

_END_WITHIN_S = 10


class Process:
    """One of our commands as a process of its own, its log in a file."""

    def __init__(self, name: str, folder: Path, module: str, *arguments: str, env: Mapping[str, str]) -> None:
        self.name = name
        self._log = folder / f"{name.replace(' ', '-')}.log"
        self._read = 0
        self._ended = False
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches the demo alone, which then asks everyone in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-m", module, *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **env},
                start_new_session=True,
            )

    @property
    def died(self) -> bool:
        """Whether it ended without having been asked."""
        return self._process.poll() is not None and not self._ended

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def end(self) -> int:
        """Ask it to end and wait; its exit code. One that does not listen is killed."""
        self._ended = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-3000:]

    def news(self) -> Iterator[str]:
        """Warnings and errors it has logged since last asked, a line each."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            lines = log.readlines()
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._read += len(line)
            if told := _told(line):
                yield f"{self.name}: {told}"


def _told(line: bytes) -> str | None:
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.MsgspecError:
        return line.decode(errors="replace").strip() or None
    if fields.pop("level", "") not in ("warning", "error", "critical"):
        return None
    fields.pop("timestamp", None)
    event = fields.pop("event", "")
    return " ".join([str(event), *(f"{name}={value}" for name, value in fields.items())])
