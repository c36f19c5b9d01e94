"""What Redis holds, what it held before somebody took it away, and what a reader may have seen in it."""

from collections.abc import Sequence

from msgspec import Struct
from redis.asyncio import Redis

from ingest.contract.keys import StreamKey

RawEntry = tuple[bytes, dict[bytes, bytes]]
Range = tuple[int, int]
_PAGE = 2000


class Chapter(Struct, frozen=True):
    """What stood in a stream when it was taken away, or stands there now."""

    entries: Sequence[RawEntry]
    registered: Sequence[Range] | None = None
    """The gaps that the server kept until then; None if it goes on keeping them."""


class Past(Struct, frozen=True):
    """Of one stream: its chapters, oldest first. What is written again is in several of them."""

    chapters: Sequence[Chapter]
    witnessed: Sequence[RawEntry] = ()
    """Entries that stood in the stream at some time."""


class Chronicle:
    """Of all streams of a scene."""

    def __init__(self, keys: Sequence[StreamKey]) -> None:
        self._keys = keys
        self._taken: list[dict[StreamKey, Chapter]] = []
        self._witnessed: dict[StreamKey, list[RawEntry]] = {key: [] for key in keys}

    async def take(self, redis: Redis, key: StreamKey) -> None:
        """Delete one stream, but not what the server knows of it. What was written there is not lost by that."""
        async with redis.pipeline(transaction=True) as at_once:
            entries, _ = await at_once.xrange(str(key)).delete(str(key)).execute()
        self._taken.append({key: Chapter(entries)})

    async def take_all(self, redis: Redis) -> None:
        """Delete everything."""
        async with redis.pipeline(transaction=True) as at_once:
            for key in self._keys:
                at_once.xrange(str(key)).zrange(key.gaps, 0, -1)
            *found, _ = await at_once.flushall().execute()
        pasts = zip(self._keys, found[::2], found[1::2], strict=True)
        self._taken.append({key: Chapter(entries, _ranges(members)) for key, entries, members in pasts})

    async def witness(self, redis: Redis) -> None:
        """Read on, as a reader does who does not forget what it saw."""
        for key, seen in self._witnessed.items():
            seen += await _read(redis, key, f"({seen[-1][0].decode()}" if seen else "-")

    async def past(self, redis: Redis, key: StreamKey) -> Past:
        """All that ever stood in a stream."""
        chapters = [taken[key] for taken in self._taken if key in taken]
        chapters.append(Chapter(await _read(redis, key, "-"), _ranges(await redis.zrange(key.gaps, 0, -1))))
        return Past(chapters, self._witnessed[key])


async def _read(redis: Redis, key: StreamKey, first: str) -> list[RawEntry]:
    entries: list[RawEntry] = []
    while page := await redis.xrange(str(key), first, "+", _PAGE):
        entries += page
        first = f"({page[-1][0].decode()}"
    return entries


def _ranges(members: Sequence[bytes]) -> list[Range]:
    return sorted((int(first), int(last)) for first, _, last in (member.partition(b"-") for member in members))
