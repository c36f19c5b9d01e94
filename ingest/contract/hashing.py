"""Who has which symbol: from a symbol to its shard, and from a shard to a member, the same in every process."""

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

SHARDS = 64
"""Fixed for the life of the data: the leases of workers and of groups are numbered by it."""


def shard_of(symbol: str) -> int:
    """The shard of a symbol, with all its channels."""
    return crc32(symbol.encode()) % SHARDS


def chosen(shard: int, members: Collection[str]) -> str:
    """Who of the members is to have the shard, "" if there are none.

    Rendezvous hashing: each member draws a lot for the shard, and the highest wins. Whoever comes or goes changes no
    other's lot, so nothing moves but what it wins or leaves.
    """
    return max(members, key=lambda member: (_lot(shard, member), member), default="")


@lru_cache(maxsize=64 * SHARDS)
def _lot(shard: int, member: str) -> bytes:
    # Not a CRC: of two CRCs that differ in the name alone, the same one tends to be higher whatever the shard.
    return blake2b(f"{shard} {member}".encode(), digest_size=8).digest()
