"""The kill switch: while it is on, nothing becomes an order and nothing is filled. It takes effect in one step.

The script that writes a decision down looks at the switch itself (decide.lua), so whatever is decided was so before it.
"""

import contextlib
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import WatchError

from consumers import stored
from ingest.contract import keys


class NoSuchExchange(Exception):
    """The bus has never heard of it: more likely a slip of the pen than one that comes later."""


async def switch(redis: Redis, exchanges: Sequence[str], *, on: bool) -> list[str]:
    """Switch it at these exchanges, or at all there are and will be (`*`); where it is on now.

    While it is on everywhere, it cannot be switched off at one exchange. Raises NoSuchExchange.
    """
    if on and not exchanges:
        # Before asking which there are: those that come later find it on, and all others are among them.
        await redis.set(keys.KILL, "on")
    known = await stored.members(redis, keys.EXCHANGES)
    if strange := [each for each in exchanges if each not in known]:
        raise NoSuchExchange(f"nothing is known of {', '.join(strange)}; there are: {', '.join(known) or 'none'}")
    names = [keys.kill(exchange) for exchange in exchanges or known]
    if on:
        async with redis.pipeline(transaction=True) as pipe:
            for name in names:
                pipe.set(name, "on")
            await pipe.execute()
    elif not exchanges:
        await redis.delete(*names, keys.KILL)
    else:
        await _off_unless_everywhere(redis, names)
    everywhere = ["*"] if await redis.exists(keys.KILL) else []
    return everywhere + [each for each in known if await redis.exists(keys.kill(each))]


async def _off_unless_everywhere(redis: Redis, names: Sequence[str]) -> None:
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(keys.KILL)
        if await pipe.exists(keys.KILL):
            return
        pipe.multi()  # type: ignore[no-untyped-call]
        pipe.delete(*names)
        with contextlib.suppress(WatchError):  # somebody switched it on everywhere meanwhile: that is what counts
            await pipe.execute()
