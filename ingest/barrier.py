"""Asking Redis what is on its disk, and finding out first whether its answer can be trusted."""

import time
from typing import cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from ingest import wire
from ingest.contract import keys
from ingest.contract.keys import line_key

_PROBES = 5
_HONEST_S = 2.5
_WITHIN_MS = 2_500
_KEEP_S = 3600

log = structlog.get_logger()


class Barrier:
    """Asks one server."""

    def __init__(self, redis: Redis, exchange: str, *, asks: bool) -> None:
        """`asks`: for the server's disk, if its word can be trusted. Else for its memory alone."""
        self.trusted: bool | None = None if asks else False
        """Whether what it has reached is on disk; unknown until the server has been asked."""
        self._redis = redis
        self._exchange = exchange
        self._probe = f"{keys.streams(exchange)}:barrier"

    async def reached(self, line: str) -> int | None:
        """The newest call of the line that is there, None if that cannot be had. Raises RedisError, OSError."""
        with wire.closed_is_away():
            if self.trusted is None:
                self.trusted = await trusted(self._redis, self._probe)
                word = "trusted" if self.trusted else "not to be trusted"
                log.info("durability", exchange=self._exchange, waitaof=word)
            key = line_key(self._exchange, line)
            if self.trusted:
                return await synced(self._redis, key, self._probe)
            # A server that lost its end and came back knows of an earlier call than the newest.
            number = await self._redis.get(key)
            return None if number is None else int(number)


async def trusted(redis: Redis, key: str) -> bool:
    """Whether WAITAOF exists and tells the truth: some servers answer too early. Raises RedisError, OSError.

    Where the file is synced every second, five syncs in a row take seconds; an answer in no time is no answer.
    """
    try:
        settings = cast(dict[str, str], await redis.config_get("appendfsync"))
        started_s = time.monotonic()
        for _ in range(_PROBES):
            await redis.set(key, "probe", ex=_KEEP_S)
            reply = await redis.execute_command("WAITAOF", 1, 0, _WITHIN_MS)  # type: ignore[no-untyped-call]
            local, _replicas = cast(list[int], reply)
            if local < 1:
                return False
    except ResponseError:  # no such command, no append-only file, or no right to ask
        return False
    return "always" in settings.values() or time.monotonic() - started_s >= _HONEST_S


async def synced(redis: Redis, line: str, key: str) -> int | None:
    """The newest call of the line that is on disk; None if that could not be had in time. Raises RedisError, OSError.

    Position and sync go over one connection, in this order: what a server says of a position before it died would be
    confirmed by the one that came after it.
    """
    pipeline = redis.pipeline(transaction=False)
    pipeline.get(line)
    pipeline.set(key, "barrier", ex=_KEEP_S)
    pipeline.execute_command("WAITAOF", 1, 0, _WITHIN_MS)
    number, _, (local, _replicas) = await pipeline.execute()
    return int(number) if number is not None and local >= 1 else None
