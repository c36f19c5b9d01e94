"""How long to wait for Redis, and waiting so that one can be asked to stop."""

import asyncio

from redis.exceptions import RedisError


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
