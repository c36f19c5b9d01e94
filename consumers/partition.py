"""How the readers of a group share its streams: what has one owner at a time, and in which part of it a stream is."""

from typing import Literal
from zlib import crc32

from ingest.contract.hashing import SHARDS, shard_of
from ingest.contract.keys import StreamKey

Partition = Literal["symbol", "account", "whole", "none"]
"""What has one owner at a time, who is handed its entries in their order:

- symbol: all streams of a symbol.
- account: all entries of an account. Such a service is several groups, `NAME.0` to `NAME.3`; each reads all streams
  and is handed what is about no account, and what is about its own ones.
- whole: everything.
- none: nothing. Each entry goes to whoever of the group is free: for work in which order does not matter.
"""

ACCOUNT_PARTS = 4
"""Fixed for the life of the data: the groups are named by it."""


def shards_of(partition: Partition, part: int) -> range:
    """The numbers that parts have in the table of leases; `part` is which of the groups of an `account` it is."""
    return range(SHARDS) if partition == "symbol" else range(part, part + 1)


def shard_in(partition: Partition, part: int, key: StreamKey) -> int:
    """The number of the part that the stream is in: that of a symbol is the same at every exchange."""
    return shard_of(key.symbol) if partition == "symbol" else part


def part_of(account: str) -> int:
    """Which of the groups the account is handed to."""
    return crc32(account.encode()) % ACCOUNT_PARTS
