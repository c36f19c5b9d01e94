"""How consumers write: intents, orders and fills go into their streams by the same script as everything else."""

import secrets
from collections.abc import Sequence
from hashlib import sha1

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from ingest.contract import append as contract
from ingest.contract import keys
from ingest.contract.append import Appended, Batch
from ingest.contract.events import Event

_DIGEST = sha1(contract.SCRIPT.encode(), usedforsecurity=False).hexdigest()


async def append(redis: Redis, events: Sequence[Event]) -> tuple[Appended, ...]:
    """The events, all of one exchange, into their streams: each exactly once, however often this is called with it.

    Returns where each stream stands now; look at `refused` if the events' rule has an order. Raises RedisError or
    OSError: what was appended then is not known, and calling again is right.
    """
    sent = contract.batch(secrets.token_hex(4), events)
    try:
        reply = await _send(redis, events[0].key.exchange, sent)
    except NoScriptError:
        await redis.script_load(contract.SCRIPT)
        reply = await _send(redis, events[0].key.exchange, sent)
    return contract.appended(sent, reply)


async def _send(redis: Redis, exchange: str, sent: Batch) -> list[bytes]:
    # The exchange is added each time: it costs nothing beside the call, and outlives a flushed server.
    pipe = redis.pipeline(transaction=False)
    pipe.sadd(keys.EXCHANGES, exchange)
    pipe.execute_command("EVALSHA", _DIGEST, *sent.arguments())
    replies: list[list[bytes]] = await pipe.execute()
    return replies[1]
