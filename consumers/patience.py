"""How long to wait for Redis, and waiting so that one can be asked to stop."""

import asyncio
import math

import structlog
from redis.exceptions import RedisError

_log = structlog.get_logger()
MAX = math.inf
"""The pace of as fast as possible."""


def passes(error: Exception) -> bool:
    """Whether it is the server or the way to it that failed. One form of that is not redis-py's: uvloop raises a
    RuntimeError when a socket that was closed meanwhile is written to.
    """
    return isinstance(error, RedisError | OSError) or "handler is closed" in str(error)


def wait_seconds(failures: int) -> float:
    """After so many failures in a row: 0.1 s, doubled each time, 5 s at most."""
    return min(5.0, 0.1 * 2.0 ** min(failures - 1, 10))


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait that long, or until asked to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass


class Patience:
    """Waiting for a Redis that is away, longer after each failure in a row."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self._failures = 0

    async def wait(self, error: Exception) -> None:
        """Say it, and wait before the next attempt, or until asked to stop. Raises the error if it does not pass."""
        if not passes(error):
            raise error
        self._failures += 1
        wait_s = wait_seconds(self._failures)
        _log.warning("no Redis", reason=str(error)[:200], next_attempt_s=wait_s)
        await pause(self._stopping, wait_s)

    def end(self) -> None:
        """It is there again."""
        self._failures = 0


class Pace:
    """The pace of what was written once: 1 as it was, 10 ten times as fast."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._since: tuple[float, int] | None = None

    def wait_s(self, at_ms: int, now_s: float) -> float:
        """How long until what was written then is due: as long after the first one as it was, or so much sooner."""
        if self._speed == MAX:
            return 0.0
        if self._since is None:
            self._since = now_s, at_ms
        began_s, began_ms = self._since
        return max(0.0, began_s + (at_ms - began_ms) / 1000 / self._speed - now_s)
