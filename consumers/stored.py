"""What Redis keeps, read back typed: a stretch of a stream, a hash, a set."""

import contextlib
from collections.abc import AsyncIterator
from typing import cast

from redis.asyncio import Redis

from ingest.contract import keys
from ingest.contract.codec import Entry, UnknownVersion, UnreadableEntry, decode
from ingest.contract.keys import BadName, StreamKey, parse_key

_PAGE = 500
"""Entries that one read asks for."""


async def entries(redis: Redis, key: StreamKey, *, after: str, until: str = "+") -> AsyncIterator[Entry]:
    """The entries behind the id `after`, up to and with `until`. Raises UnknownVersion.

    An entry that cannot be read is left out: whoever needs them all sees the hole in `n`.
    """
    while True:
        page = cast(
            "list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(str(key), f"({after}", until, count=_PAGE)
        )
        for entry_id, fields in page:
            try:
                entry = decode(entry_id, fields)
            except UnknownVersion:
                raise
            except UnreadableEntry:
                continue
            yield entry
        if len(page) < _PAGE:
            return
        after = page[-1][0].decode()


async def standing(redis: Redis, name: str) -> tuple[str, int]:
    """The `g` and `n` in a hash, such as a stream's state; ("", 0) if there are none."""
    g, n = cast("list[bytes | None]", await redis.hmget(name, "g", "n"))
    return ("", 0) if g is None or n is None else (g.decode(), int(n))


async def fields(redis: Redis, name: str) -> dict[bytes, bytes]:
    """A whole hash; empty if there is none."""
    return cast("dict[bytes, bytes]", await redis.hgetall(name))


async def members(redis: Redis, name: str) -> list[str]:
    """A whole set, sorted."""
    return sorted(member.decode() for member in cast("set[bytes]", await redis.smembers(name)))


async def streams(redis: Redis) -> list[StreamKey]:
    """All that are in the registries, sorted within each exchange; what is there and names none is left out."""
    found = []
    for exchange in await members(redis, keys.EXCHANGES):
        for name in await members(redis, keys.streams(exchange)):
            with contextlib.suppress(BadName):
                found.append(parse_key(name))
    return found
