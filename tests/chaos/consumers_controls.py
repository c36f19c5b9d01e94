"""Ways of reading that are commonly taken: `python -m tests.chaos.consumers_controls WAY`, as the group WAY.

An oracle that lets one of them pass is worth nothing.
"""

import asyncio
import os
import random
import sys

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from consumers import connect
from consumers.continuity import Fields
from ingest.contract import keys
from ingest.contract.codec import UnreadableEntry, decode
from ingest.contract.keys import parse_key
from tests.chaos.consumers_child import POISON, SLOW, effects

_BLOCK_MS = 100


class Plain:
    """A group whose readers acknowledge what they have handled, and claim what others left: at least once, and in
    order, one should think, for each of them reads in order."""

    start = "0"
    acks_at_once = False

    def __init__(self, url: str, group: str, consumer: str) -> None:
        self._redis = self.client(url)
        self._group = group
        self._consumer = consumer

    def client(self, url: str) -> Redis:
        return connect(url)

    async def run(self) -> None:
        while True:
            try:
                await self._round()
            except RedisError:
                await asyncio.sleep(0.05)

    async def _round(self) -> None:
        exchanges = [name.decode() for name in await self._redis.smembers(keys.EXCHANGES)]
        streams = [name.decode() for each in exchanges for name in await self._redis.smembers(keys.streams(each))]
        for name in streams:
            try:
                await self._redis.xgroup_create(name, self._group, self.start)
            except ResponseError as there:
                if "BUSYGROUP" not in str(there):
                    raise
        if not streams:
            await asyncio.sleep(0.05)
            return
        await self._claim(streams)
        reply = await self._redis.xreadgroup(
            self._group, self._consumer, dict.fromkeys(streams, ">"), count=20, block=_BLOCK_MS
        )
        for name, rows in reply or ():
            await self._handle(name.decode(), rows)

    async def _claim(self, streams: list[str]) -> None:
        for name in streams:
            _, rows, _ = await self._redis.xautoclaim(name, self._group, self._consumer, 1_500, count=20)
            await self._handle(name, rows)

    async def _handle(self, name: str, rows: list) -> None:
        if self.acks_at_once and rows:
            await self._redis.xack(name, self._group, *(entry_id for entry_id, _ in rows))
        for entry_id, fields in rows:
            if random.random() < SLOW:
                await asyncio.sleep(0.3)
            if _is_poison(entry_id, fields):
                dead = keys.dead_letters(parse_key(name).exchange, self._group)
                await self._redis.xadd(dead, {"dead_stream": name, "s": fields[b"s"]})
            else:
                await self._redis.rpush(effects(self._group, name), fields[b"s"])
            await self._redis.xack(name, self._group, entry_id)


def _is_poison(entry_id: bytes, fields: Fields) -> bool:
    try:
        return decode(entry_id, fields).event.amount == POISON
    except UnreadableEntry:
        return True


class AtOnce(Plain):
    """Acknowledges on receipt, so that nothing is handled twice: nor is what was in hand at the end."""

    acks_at_once = True


class FromNow(Plain):
    """Begins where it comes, as most examples do."""

    start = "$"


class Retried(Plain):
    """With a client as it comes, which reads again when a reply is lost, without a word; and what was in it is pending
    for ever, since this one knows its own name and claims from nobody."""

    def client(self, url: str) -> Redis:
        return Redis.from_url(url)

    async def _claim(self, streams: list[str]) -> None:
        """It has seen no error."""


WAYS = {"plain": Plain, "at-once": AtOnce, "from-now": FromNow, "retried": Retried}


if __name__ == "__main__":
    way = sys.argv[1]
    asyncio.run(WAYS[way](os.environ["CONSUMER_REDIS_URL"], way, os.environ["CONSUMER_CONSUMER"]).run())
