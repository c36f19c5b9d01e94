"""What an error of Redis means to a writer: it passes, or a person has to do something."""

import time
from collections.abc import Collection
from typing import NamedTuple

import structlog
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from ingest import wire
from ingest.contract import keys
from ingest.contract.keys import StreamKey

_SAY_EVERY_S = 10.0
_PASSES = (NoScriptError, OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
_PASSES_TOO = ("BUSY", "EARLY", "MISCONF", "NOREPLICAS")  # for which redis-py has no classes

log = structlog.get_logger()


async def remedy(
    error: RedisError | OSError, redis: Redis, exchange: str, streams: Collection[StreamKey]
) -> str | None:
    """What to do about an error that came of appending to these streams of the exchange; None if it is waiting."""
    if isinstance(error, AuthenticationError | AuthorizationError):
        return "put the user and password of this server into its address"
    if not isinstance(error, ResponseError) or isinstance(error, _PASSES) or str(error).startswith(_PASSES_TOO):
        return None
    if isinstance(error, NoPermissionError) or "permission" in str(error):
        return f"allow this user what append.lua does, on {keys.EXCHANGES} and md:{{{exchange}}}:*"
    if str(error).startswith("WRONGTYPE"):
        return f"rename or delete what is in the way: {', '.join(await _in_the_way(redis, exchange, streams))}"
    return "look after the server; the append script needs Redis 7.0 or Valkey 7.2, or later"


async def _in_the_way(redis: Redis, exchange: str, streams: Collection[StreamKey]) -> list[str]:
    """Keys of another type than what the script keeps there."""
    types = {keys.EXCHANGES: b"set", keys.streams(exchange): b"set"}
    for key in streams:
        types |= {str(key): b"stream", key.state: b"hash", key.gaps: b"zset", key.ids: b"zset", key.snap: b"hash"}
    pipeline = redis.pipeline(transaction=False)
    for name in types:
        pipeline.type(name)
    try:
        with wire.closed_is_away():
            found = dict(zip(types, await pipeline.execute(), strict=True))
    except (RedisError, OSError) as away:
        return [f"a key among {', '.join(types)} ({away})"]
    return [f"{name} (a {found[name].decode()})" for name in types if found[name] not in (types[name], b"none")]


def address(redis: Redis) -> str:
    """Where a client connects to, without user and password."""
    at = redis.connection_pool.connection_kwargs
    return str(at.get("path") or f"{at.get('host')}:{at.get('port')}/{at.get('db', 0)}")


class Waiting(NamedTuple):
    """How many events wait in memory and on disk, and whether nothing more is read from the exchange."""

    in_memory: int
    on_disk: int
    sockets_wait: bool


class Complaints:
    """What the log hears of a trouble with Redis: every ten seconds that it is there, and once that it is over."""

    def __init__(self, **subject: str) -> None:
        self._log = log.bind(**subject)
        self._said_s: dict[bool, float] = {}
        self._open = False

    def say(self, reason: str, what_to_do: str | None, waiting: Waiting) -> None:
        """It fails for this reason, while so much waits. What somebody has to do is an error, not a warning."""
        now_s, mends = time.monotonic(), what_to_do is not None
        if now_s - self._said_s.get(mends, -_SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said_s[mends] = now_s
            self._open = True
            if mends:
                self._log.error("cannot append", reason=reason, what_to_do=what_to_do, **waiting._asdict())
            else:
                self._log.warning("cannot append for now", reason=reason, **waiting._asdict())

    def over(self) -> None:
        """It works."""
        if self._open:
            self._open = False
            self._log.info("appending again")
