"""The table of leases in Redis: one call a round of each member, all of it decided there and by its clock."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from redis.asyncio import Redis

from ingest.contract import keys

_RENEW = Path(__file__).with_name("renew.lua").read_text(encoding="utf-8")


class Row(NamedTuple):
    """One shard. Where nobody is, there is ""."""

    owner: str = ""
    fence: int = 0
    """Goes up with each change of the owner."""
    ready: str = ""
    """To whom it can be handed over: its data flows there as well."""


class Table(NamedTuple):
    """How everything stands after a member's round."""

    known: bool = True
    """Whether it had been a member until then."""
    members: tuple[str, ...] = ()
    rows: Mapping[int, Row] = {}

    def row(self, shard: int) -> Row:
        """A shard that nobody ever had is not in the table."""
        return self.rows.get(shard, Row())


class Verb(StrEnum):
    """What a member may ask about a shard; renew.lua says what comes of it."""

    HOLD = "hold"
    READY = "ready"
    GIVE = "give"
    DROP = "drop"


class Ask(NamedTuple):
    """One of a member's wishes in a round."""

    shard: int
    verb: Verb
    fence: int = 0
    """The highest that the member has seen there."""


async def renew(
    redis: Redis, exchange: str, member: str, asks: Sequence[Ask], *, ttl_ms: int, leaving: bool = False
) -> Table:
    """One round of a member, whose name has no blanks. Raises RedisError, OSError: it may have happened or not."""
    names = (keys.lease(exchange, "members"), keys.lease(exchange, "shards"))
    wishes = (f"{ask.shard} {ask.verb} {ask.fence}" for ask in asks)
    known, members, rows = await redis.eval(_RENEW, len(names), *names, member, ttl_ms, int(leaving), *wishes)
    return Table(bool(known), tuple(sorted(name.decode() for name in members)), dict(map(_row, rows)))


def _row(told: bytes) -> tuple[int, Row]:
    shard, owner, fence, ready = told.decode().split(" ")
    return int(shard), Row(_somebody(owner), int(fence), _somebody(ready))


def _somebody(name: str) -> str:
    return "" if name == "-" else name
