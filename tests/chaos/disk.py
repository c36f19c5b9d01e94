"""What of a server's data a loss of power would leave."""

import os
import shutil
import subprocess
from pathlib import Path

_SHIM = Path(__file__).with_name("fsync_shim.c")


class NoShim(RuntimeError):
    """The loss of power cannot be simulated here; the message says why."""


class Disk:
    """A disk that remembers what was synced to it."""

    def __init__(self, folder: Path) -> None:
        """Raises NoShim."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoShim("no C compiler (cc) on PATH to build tests/chaos/fsync_shim.c with")
        self._notes = folder / "synced"
        self._notes.mkdir()
        self._shim = folder / "fsync_shim.so"
        command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(self._shim), str(_SHIM), "-ldl"]
        built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if built.returncode:
            raise NoShim(f"{_SHIM.name} does not build here: {built.stderr[-500:]}")

    @property
    def preload(self) -> dict[str, str]:
        """What a server needs to be told for its syncs to be noted."""
        return {"LD_PRELOAD": str(self._shim), "FSYNC_NOTES": str(self._notes)}

    def stall(self) -> None:
        """From now on it takes seconds to sync."""
        (self._notes / "stall").touch()

    def recover(self) -> None:
        """It is as fast as ever."""
        (self._notes / "stall").unlink(missing_ok=True)

    def forget(self, data: Path) -> int:
        """The power is gone, the server with it: what was not synced has never been. Returns how many bytes."""
        forgotten = 0
        for log in data.glob("appendonlydir/*.incr.aof"):
            note = self._notes / log.name
            synced = int(note.read_text()) if note.exists() else 0
            size = log.stat().st_size
            if size > synced:
                os.truncate(log, synced)
                forgotten += size - synced
        return forgotten
