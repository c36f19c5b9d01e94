"""What is newest, for those who come late or look seldom: nobody who reads so ever falls behind.

async for changed in Latest(redis, ["*:ticker:*"]):
    for newest in changed:
        print(newest.key.symbol, newest.entry().event)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from consumers import stored
from consumers.client import command
from consumers.continuity import Fields, place
from consumers.patience import Patience, pause
from consumers.patterns import Patterns
from ingest.contract.codec import Entry, decode
from ingest.contract.events import Ticker
from ingest.contract.keys import StreamKey

_PAGE = 50


class LatestTicker(NamedTuple):
    """The newest ticker of a stream, which is all that is known of the symbol."""

    ticker: Ticker
    entry: Entry
    stale: bool
    """Since then a worker has said that it hears nothing."""


async def latest_ticker(redis: Redis, key: StreamKey) -> LatestTicker | None:
    """What holds now; None if the stream has no ticker. Raises RedisError, OSError, UnknownVersion, UnreadableEntry."""
    until, stale = "+", False
    while page := await command(redis, "XREVRANGE", str(key), until, "-", "COUNT", _PAGE):
        for entry_id, fields in page:
            entry = decode(entry_id, fields)
            if isinstance(entry.event, Ticker):
                return LatestTicker(entry.event, entry, stale)
            stale = stale or entry.type == "status"
        until = f"({page[-1][0].decode()}"
    return None


class Newest(NamedTuple):
    """The newest entry of a stream."""

    key: StreamKey
    id: str
    fields: Fields
    skipped: int
    """So many entries lie between the last one that was given out and this one."""

    def entry(self) -> Entry:
        """The same, typed. Raises UnknownVersion, UnreadableEntry."""
        return decode(self.id.encode(), self.fields)


class Latest:
    """The newest entry of each stream that the patterns name, whenever it is another one; what it overtook is left out.

    For whoever shows how things stand (prices, states), however slow: what comes is always the newest. At first that
    is the newest of every stream. Not for whoever has to see each entry, which is a Reader's business, nor for order
    books, which LiveBook.refresh brings up to date.

    No group notices. Errors of Redis do not end it: it waits, says so, and goes on. Raises BadName for what names none.
    """

    def __init__(
        self,
        redis: Redis,
        patterns: Iterable[str],
        *,
        every_seconds: float = 0.25,
        stopping: asyncio.Event | None = None,
    ) -> None:
        self._redis = redis
        self._patterns = Patterns(patterns)
        self._every_seconds = every_seconds
        self._stopping = stopping or asyncio.Event()
        self._known: dict[StreamKey, tuple[str, Fields]] = {}

    def stop(self) -> None:
        """Ask the iteration to end."""
        self._stopping.set()

    async def __aiter__(self) -> AsyncIterator[list[Newest]]:
        patience = Patience(self._stopping)
        while not self._stopping.is_set():
            next_at = time.monotonic() + self._every_seconds
            try:
                changed = await self._look()
            except (RedisError, OSError, RuntimeError) as error:
                await patience.wait(error)
                continue
            patience.end()
            if changed:
                yield changed
            await pause(self._stopping, max(0.0, next_at - time.monotonic()))

    async def _look(self) -> list[Newest]:
        streams = [key for key in await stored.streams(self._redis) if self._patterns.wants(key)]
        pipe = self._redis.pipeline(transaction=False)
        for key in streams:
            pipe.xrevrange(str(key), count=1)
        changed = []
        for key, rows in zip(streams, await pipe.execute(), strict=True):
            for entry_id, fields in rows:
                newest = entry_id.decode(), fields
                before = self._known.get(key)
                if before is None or before[0] != newest[0]:
                    changed.append(Newest(key, *newest, _between(before, fields)))
                    self._known[key] = newest
        return changed


def _between(before: tuple[str, Fields] | None, fields: Fields) -> int:
    last, now = place(before[1]) if before else None, place(fields)
    return max(0, now[1] - last[1] - 1) if last and now and last[0] == now[0] else 0
