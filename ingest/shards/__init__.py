"""Several workers of one exchange: who has which symbols, and how they change hands without a gap."""

from ingest.contract.hashing import SHARDS, chosen, shard_of
from ingest.contract.leases import Ask, Row, Table, Verb
from ingest.shards.member import Counters, Member, ShardMode
from ingest.shards.table import renew

__all__ = ["SHARDS", "Ask", "Counters", "Member", "Row", "ShardMode", "Table", "Verb", "chosen", "renew", "shard_of"]
