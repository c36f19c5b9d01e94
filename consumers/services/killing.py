"""The kill switch: while it is on, nothing becomes an order and nothing is filled. It takes effect in one step."""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from consumers import stored
from consumers.delivery import Command
from ingest.contract import keys


async def switch(redis: Redis, exchanges: Sequence[str], *, on: bool) -> list[str]:
    """Switch it at these exchanges, or at all there are and will be (`*`); where it is on now."""
    names = [keys.kill(exchange) for exchange in exchanges or await stored.members(redis, keys.EXCHANGES)]
    names += [] if exchanges else [keys.KILL]
    pipe = redis.pipeline(transaction=True)
    for name in names:
        pipe.set(name, "on") if on else pipe.delete(name)
    await pipe.execute()
    known = {*await stored.members(redis, keys.EXCHANGES), *exchanges}
    everywhere = ["*"] if await redis.exists(keys.KILL) else []
    return everywhere + [each for each in sorted(known) if await redis.exists(keys.kill(each))]


def while_not_killed(exchange: str) -> tuple[Command, ...]:
    """Commands that Redis refuses, and with them all that stands behind them, while the switch is on.

    The switch is a text, and a text has no HLEN. So whatever was committed was so before the switch was on.
    """
    return (("HLEN", keys.kill(exchange)),)


def is_killed(error: ResponseError) -> bool:
    """Whether that is why Redis refused."""
    return "WRONGTYPE" in str(error)
