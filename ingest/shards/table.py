"""One round of a worker at the table of leases in Redis."""

from collections.abc import Sequence

from redis.asyncio import Redis

from ingest.contract import keys, leases
from ingest.contract.leases import Ask, Table


async def renew(
    redis: Redis, exchange: str, member: str, asks: Sequence[Ask], *, ttl_ms: int, leaving: bool = False
) -> Table:
    """One round of a member, whose name has no blanks. Raises RedisError, OSError: it may have happened or not."""
    names = (keys.lease(exchange, "members"), keys.lease(exchange, "shards"))
    arguments = leases.arguments(member, asks, ttl_ms=ttl_ms, leaving=leaving)
    return leases.table(await redis.eval(leases.SCRIPT, len(names), *names, *arguments))
