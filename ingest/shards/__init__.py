"""Several workers of one exchange: who has which symbols, and how they change hands without a gap."""

from ingest.shards.hashing import SHARDS, ShardMode, chosen, shard_of
from ingest.shards.member import Counters, Member
from ingest.shards.table import Ask, Row, Table, Verb, renew

__all__ = ["SHARDS", "Ask", "Counters", "Member", "Row", "ShardMode", "Table", "Verb", "chosen", "renew", "shard_of"]
