"""`consume tail`: what is written into streams, as it is written. Plain XREAD: no group notices."""

import asyncio
import time
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import RedisError

from consumers import stored
from consumers.client import by_stream, command
from consumers.console.lines import Seen
from consumers.latest import Latest
from consumers.patience import Patience, pause
from consumers.patterns import Patterns
from ingest.contract.keys import parse_key

LOOK_EVERY_SECONDS = 0.5
_COUNT = 100
_BLOCK_MS = 250


async def follow(redis: Redis, patterns: Patterns, start: str, stopping: asyncio.Event) -> AsyncIterator[list[Seen]]:
    """Entries of the streams that these name, until asked to stop; waits for Redis if it is away.

    `start` is `0`, `$` for what comes from now on, or the id behind which to begin. Of a stream that appears later,
    all is new.
    """
    places: dict[str, str] = {}
    look_at, patience = 0.0, Patience(stopping)
    while not stopping.is_set():
        entries: list[Seen] = []
        try:
            if time.monotonic() >= look_at:
                await _look(redis, patterns, places, start)
                start = start.replace("$", "0")
                look_at = time.monotonic() + LOOK_EVERY_SECONDS
            if places:
                entries = await _read(redis, places)
            patience.end()
        except (RedisError, OSError, RuntimeError) as error:
            await patience.wait(error)
        if entries:
            yield entries
        elif not places:
            await pause(stopping, LOOK_EVERY_SECONDS)


async def newest(redis: Redis, pattern: str, stopping: asyncio.Event) -> AsyncIterator[list[Seen]]:
    """The newest entry of each stream, whenever it is another one: a slow terminal is up to date all the same."""
    async for changed in Latest(redis, [pattern], every_seconds=LOOK_EVERY_SECONDS, stopping=stopping):
        yield [Seen(each.key, each.id, each.fields) for each in changed]


async def _look(redis: Redis, patterns: Patterns, places: dict[str, str], start: str) -> None:
    for key in await stored.streams(redis):
        name = str(key)
        if name not in places and patterns.wants(key):
            places[name] = await _end(redis, name) if start == "$" else start


async def _end(redis: Redis, name: str) -> str:
    newest = await command(redis, "XREVRANGE", name, "+", "-", "COUNT", 1)
    return newest[0][0].decode() if newest else "0"


async def _read(redis: Redis, places: dict[str, str]) -> list[Seen]:
    words: tuple[str | int, ...] = ("COUNT", _COUNT, "BLOCK", _BLOCK_MS, "STREAMS", *places, *places.values())
    entries = []
    for name, rows in by_stream(await command(redis, "XREAD", *words)):
        key = parse_key(name.decode())
        entries += [Seen(key, entry_id.decode(), fields) for entry_id, fields in rows if fields]
        places[name.decode()] = rows[-1][0].decode()
    return entries
