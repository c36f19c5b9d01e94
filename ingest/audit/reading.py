"""Redis as an audit reads it: page by page, whatever the length."""

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

_PAGE = 1000

Page = list[tuple[bytes, dict[bytes, bytes]]]


async def pages(redis: Redis, key: str, first: str, last: str) -> AsyncIterator[Page]:
    """The entries from `first` to `last`. Raises RedisError, OSError."""
    while page := await command(redis, "XRANGE", key, first, last, "COUNT", _PAGE):
        yield page
        first = f"({page[-1][0].decode()}"


async def members(redis: Redis, name: str) -> list[str]:
    """Of a set, in order."""
    return sorted(member.decode() for member in await command(redis, "SMEMBERS", name))


async def command(redis: Redis, *words: str | int) -> Any:
    """One command and its reply, whose type is the command's business."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]
