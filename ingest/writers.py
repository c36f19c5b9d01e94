"""What each writer says of itself in `md:{EX}:writers`, about once a second: what Redis or a disk has yet to get."""

from collections.abc import Mapping
from typing import cast

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from ingest.contract import keys

FORGOTTEN_AFTER_NS = 86_400 * 1_000_000_000
"""A writer that has been silent for so long is taken out by the next one that comes."""

# A field goes only as it was seen: its writer may have been heard since. HSET comes first, so that the script minds
# maxmemory.
_PUBLISH = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1
"""


class Share(Struct, frozen=True, array_like=True):
    """A writer's part in one stream."""

    tail: int
    """Entries that it keeps because they may not be on Redis's disk yet."""
    g: str = ""
    n: int = 0
    """Up to this entry all counts as safe (see Durability); "" and 0 if nothing does yet."""


class Figures(Struct, frozen=True, kw_only=True):
    """In events where nothing else is said; see publisher.Counters."""

    at_ns: int
    """When, by the writer's clock."""
    queued: int
    unconfirmed: int
    spilled: int
    lost_on_disk: int
    tail: int
    streams: dict[str, Share]
    """By key, those that it has written to."""
    ended: bool = False
    """Whether this is its last word."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Figures)


class Billboard:
    """One writer's field in the hash."""

    def __init__(self, redis: Redis, exchange: str, writer: str) -> None:
        self._redis = redis
        self._key = keys.writers(exchange)
        self._writer = writer
        self._tidied = False

    async def publish(self, figures: Figures) -> None:
        """Say so, and the first time forget whoever has been silent for a day. Raises RedisError, OSError."""
        silent: list[str | bytes] = []
        if not self._tidied:
            for writer, packed in (await _fields(self._redis, self._key)).items():
                if _silent(packed, figures.at_ns):
                    silent += (writer, packed)
        await self._redis.eval(_PUBLISH, 1, self._key, self._writer, _encoder.encode(figures), *silent)
        self._tidied = True


async def heard(redis: Redis, exchange: str) -> Mapping[str, Figures]:
    """What each writer last said; what cannot be read is left out. Raises RedisError, OSError."""
    said = {}
    for writer, packed in sorted((await _fields(redis, keys.writers(exchange))).items()):
        if figures := _read(packed):
            said[writer.decode(errors="replace")] = figures
    return said


async def _fields(redis: Redis, key: str) -> dict[bytes, bytes]:
    return cast("dict[bytes, bytes]", await redis.hgetall(key))


def _silent(packed: bytes, now_ns: int) -> bool:
    figures = _read(packed)
    return figures is None or now_ns - figures.at_ns > FORGOTTEN_AFTER_NS


def _read(packed: bytes) -> Figures | None:
    try:
        return _decoder.decode(packed)
    except msgspec.MsgspecError:
        return None
