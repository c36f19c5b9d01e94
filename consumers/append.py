"""How consumers write: intents, orders and fills go into their streams by the same script as everything else."""

import secrets
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from consumers.delivery import Fence, Taken
from ingest.contract import append as contract
from ingest.contract import keys
from ingest.contract.append import Appended
from ingest.contract.events import Event


class _Script(NamedTuple):
    text: str
    digest: str


def _script(text: str) -> _Script:
    return _Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


_PLAIN = _script(contract.SCRIPT)
_FENCED = _script((Path(__file__).parent / "fenced.lua").read_text(encoding="utf-8") + contract.SCRIPT)


async def append(redis: Redis, events: Sequence[Event], *, fence: Fence | None = None) -> tuple[Appended, ...]:
    """The events, all of one exchange, into their streams: each exactly once, however often this is called with it.

    With the `fence` of a delivery of that exchange, all of them are written or, if the part has another owner by now,
    none: then it raises Taken. Returns where each stream stands now; look at `refused` if the events' rule has an
    order. Raises RedisError or OSError: what was appended then is not known, and calling again is right.
    """
    sent = contract.batch(secrets.token_hex(4), events)
    script, words = _PLAIN, sent.arguments()
    if fence:
        count, *rest = words
        names = int(count)
        script = _FENCED
        words = (names + 1, *rest[:names], fence.table, *rest[names:], fence.shard, fence.owner)
    try:
        reply = await _send(redis, events[0].key.exchange, script, words)
    except NoScriptError:
        await redis.script_load(script.text)
        reply = await _send(redis, events[0].key.exchange, script, words)
    if not reply:
        raise Taken(f"{events[0].key} has another owner")
    return contract.appended(sent, reply)


async def _send(redis: Redis, exchange: str, script: _Script, words: tuple[str | bytes | int, ...]) -> list[bytes]:
    # The exchange is added each time: it costs nothing beside the call, and outlives a flushed server.
    pipe = redis.pipeline(transaction=False)
    pipe.sadd(keys.EXCHANGES, exchange)
    pipe.execute_command("EVALSHA", script.digest, *words)
    replies: list[list[bytes]] = await pipe.execute()
    return replies[1]
