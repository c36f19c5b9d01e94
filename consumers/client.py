"""Redis as readers speak to it: a client that never repeats a command by itself, scripts, replies in one form."""

from collections.abc import Iterable, Sequence
from hashlib import sha1
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from consumers.continuity import Fields

Row = tuple[bytes, Fields | None]
"""An entry's id and fields; None for one that was trimmed while it was pending."""


def connect(url: str) -> Redis:
    """A client as a Reader wants it. It never tries again on its own: a reply lost so would never be missed."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5, socket_connect_timeout=5)


def check_client(redis: Redis, block_ms: int) -> None:
    """Raise ValueError if a client so configured loses entries or hangs."""
    # What it says of itself differs by version of redis-py; what its connections do is what counts.
    connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    remedy = "make it with consumers.connect(url)"
    if connection.retry.get_retries() != 0:
        raise ValueError(
            f"this Redis client repeats reads whose reply was lost, and what was in it is lost too; {remedy}"
        )
    if connection.encoder.decode_responses:
        raise ValueError(f"this Redis client decodes replies (decode_responses), but entries are bytes; {remedy}")
    if not connection.socket_timeout or connection.socket_timeout * 1000 <= block_ms:
        raise ValueError(f"the client's socket_timeout must exceed block_ms={block_ms}; {remedy}")


async def command(redis: Redis, *words: str | bytes | float) -> Any:
    """Its reply. Raises RedisError, OSError."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


class Script:
    """A Lua file beside this one, run by its digest and loaded where the server lacks it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, names: Sequence[str], arguments: Sequence[str | bytes | float]) -> Any:
        """Its reply. Raises RedisError."""
        words = ("EVALSHA", self._digest, len(names), *names, *arguments)
        try:
            return await command(redis, *words)
        except NoScriptError:
            await command(redis, "SCRIPT LOAD", self._text)
            return await command(redis, *words)


def by_stream(reply: Any) -> Iterable[tuple[bytes, list[Row]]]:
    """What XREAD and XREADGROUP reply, in the three forms that redis-py gives it by protocol and `legacy_responses`."""
    if not isinstance(reply, dict):
        return reply or ()
    return [(name, rows[0] if rows and isinstance(rows[0], list) else rows) for name, rows in reply.items()]
