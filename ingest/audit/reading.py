"""Redis as an audit reads it: page by page, whatever the length."""

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

_PAGE = 1000

NO_STREAM: dict[str, Any] = {"entries-added": 0, "length": 0, "last-generated-id": b"0-0"}
"""What XINFO would say of a stream that never was."""

Page = list[tuple[bytes, dict[bytes, bytes]]]


async def pages(redis: Redis, key: str, first: str, last: str) -> AsyncIterator[Page]:
    """The entries from `first` to `last`. Raises RedisError, OSError."""
    while page := await command(redis, "XRANGE", key, first, last, "COUNT", _PAGE):
        yield page
        first = f"({page[-1][0].decode()}"


async def at_once(pipeline: Pipeline) -> list[Any]:
    """The replies as of one moment; None where XINFO finds no such key. Raises RedisError, OSError."""
    replies = await pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception) and "no such key" not in str(reply):
            raise reply
    return [None if isinstance(reply, Exception) else reply for reply in replies]


async def members(redis: Redis, name: str) -> list[str]:
    """Of a set, in order."""
    return sorted(member.decode() for member in await command(redis, "SMEMBERS", name))


async def command(redis: Redis, *words: str | int) -> Any:
    """One command and its reply, whose type is the command's business."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]
