"""All streams of a symbol up to one entry, in the order in which a replay has them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from redis.asyncio import Redis

from consumers.continuity import Fields
from consumers.places import parts
from ingest.contract.codec import Entry, UnreadableEntry, decode
from ingest.contract.keys import StreamKey

_PAGE = 500


class _Row(NamedTuple):
    """An entry as it is, ordered by its id, which is Redis's time, and of the same id by its stream."""

    at: tuple[int, int]
    key: StreamKey
    id: bytes
    fields: Fields


async def up_to(
    redis: Redis, after: Mapping[StreamKey, str], key: StreamKey, entry_id: str
) -> AsyncIterator[tuple[StreamKey, Entry]]:
    """What these streams have behind these ids, up to and with this entry. Raises RedisError, OSError.

    It waits until the ms of the entry is over, so that nothing can come later that belongs before it. Only where the
    clock of Redis was put back may that be; then it comes in its stream's own order. What cannot be read is left out.
    """
    places = dict(after)
    while True:
        pipe = redis.pipeline(transaction=False)
        pipe.time()
        for each, place in places.items():
            pipe.xrange(str(each), f"({place}", entry_id if each <= key else f"({entry_id}", count=_PAGE)
        (seconds, microseconds), *pages = await pipe.execute()
        if seconds * 1000 + microseconds // 1000 == parts(entry_id)[0]:
            await asyncio.sleep(0.001)
            continue
        rows, more = _merged(dict(zip(places, pages, strict=True)))
        for row in rows:
            places[row.key] = row.id.decode()
            try:
                entry = decode(row.id, row.fields)
            except UnreadableEntry:
                continue  # the reader of that stream knows what to do with it
            yield row.key, entry
        if not more:
            return


def _merged(pages: Mapping[StreamKey, list[tuple[bytes, Fields]]]) -> tuple[list[_Row], bool]:
    """As far as all streams are known, and whether there may be more."""
    rows = [_Row(parts(name.decode()), key, name, fields) for key, page in pages.items() for name, fields in page]
    ends = [max(row.at for row in rows if row.key == key) for key, page in pages.items() if len(page) == _PAGE]
    rows.sort(key=lambda row: (row.at, row.key))
    return [row for row in rows if not ends or row.at <= min(ends)], bool(ends)
