"""What Redis holds, what it held before somebody took it away, and what a reader may have seen in it."""

from collections.abc import Sequence

from msgspec import Struct
from redis.asyncio import Redis

from ingest.contract.keys import StreamKey

RawEntry = tuple[bytes, dict[bytes, bytes]]
Range = tuple[int, int]
_PAGE = 2000


class Past(Struct, frozen=True):
    """Of one stream."""

    entries: Sequence[RawEntry]
    chapters: Sequence[Sequence[RawEntry]] = ()
    """The same as they stood there, if it was taken away meanwhile: what was written again is in several of them."""
    registered: Sequence[Range] = ()
    """The gaps that the server keeps."""
    witnessed: Sequence[RawEntry] = ()
    """Entries that stood in the stream at some time."""


class Chronicle:
    """Of all streams of a scene."""

    def __init__(self, keys: Sequence[StreamKey]) -> None:
        self._keys = keys
        self._taken: list[dict[StreamKey, Past]] = []
        self._witnessed: dict[StreamKey, list[RawEntry]] = {key: [] for key in keys}

    async def take(self, redis: Redis, key: StreamKey) -> None:
        """Delete one stream, but not what the server knows of it. What was written there is not lost by that."""
        async with redis.pipeline(transaction=True) as at_once:
            entries, _ = await at_once.xrange(str(key)).delete(str(key)).execute()
        self._taken.append({key: Past(entries)})

    async def take_all(self, redis: Redis) -> None:
        """Delete everything."""
        async with redis.pipeline(transaction=True) as at_once:
            for key in self._keys:
                at_once.xrange(str(key)).zrange(key.gaps, 0, -1)
            *found, _ = await at_once.flushall().execute()
        pasts = zip(self._keys, found[::2], found[1::2], strict=True)
        self._taken.append({key: Past(entries, registered=_ranges(members)) for key, entries, members in pasts})

    async def witness(self, redis: Redis) -> None:
        """Read on, as a reader does who does not forget what it saw."""
        for key, seen in self._witnessed.items():
            seen += await _read(redis, key, f"({seen[-1][0].decode()}" if seen else "-")

    async def past(self, redis: Redis, key: StreamKey) -> Past:
        """All that ever stood in a stream, in the order in which it first came; what came again stands where it did."""
        chapters = [taken[key] for taken in self._taken if key in taken]
        registered = _ranges(await redis.zrange(key.gaps, 0, -1))
        chapters.append(Past(await _read(redis, key, "-"), registered=registered))
        entries: list[RawEntry] = []
        for chapter in reversed(chapters):
            again = {_identity(fields) for _, fields in entries}
            entries = [entry for entry in chapter.entries if _identity(entry[1]) not in again] + entries
        all_registered = sorted({lost for chapter in chapters for lost in chapter.registered})
        return Past(entries, [chapter.entries for chapter in chapters], all_registered, self._witnessed[key])


async def _read(redis: Redis, key: StreamKey, first: str) -> list[RawEntry]:
    entries: list[RawEntry] = []
    while page := await redis.xrange(str(key), first, "+", _PAGE):
        entries += page
        first = f"({page[-1][0].decode()}"
    return entries


def _ranges(members: Sequence[bytes]) -> list[Range]:
    return sorted((int(first), int(last)) for first, _, last in (member.partition(b"-") for member in members))


def _identity(fields: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    return fields[b"type"], fields[b"s"]
