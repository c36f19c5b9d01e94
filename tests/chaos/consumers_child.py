"""A process of three groups: `python -m tests.chaos.consumers_child`, at the Redis that CONSUMER_REDIS_URL names.

Each has an effect for every trade, but for poison, on which it raises: two as owners, in the same step as the
acknowledgement, and one as competing readers, before it.
"""

import asyncio
import random
import signal
from collections.abc import Sequence

import uvloop
from redis.asyncio import Redis

from consumers import Reader, connect
from consumers.delivery import Delivery
from consumers.partition import Partition
from consumers.services import lines
from consumers.settings import read_settings

POISON = "0.13"
"""As an amount: nobody can handle it."""
GROUPS: dict[str, Partition] = {"by-symbol": "symbol", "whole": "whole", "shared": "none"}
SLOW = 0.002
"""Of the entries, those that take long."""


def effects(group: str, stream: object) -> str:
    """The list of what a group has handled of a stream, in the order in which it did."""
    exchange = str(stream).partition("{")[2].partition("}")[0]
    return f"effects:{{{exchange}}}:{group}:{stream}"


class Poisoned(Exception):
    """Nobody can handle this."""


class Tally:
    """Notes what it handles."""

    channels = ("trades",)

    def __init__(self, redis: Redis, name: str, partition: Partition) -> None:
        self.name = name
        self.partition = partition
        self._redis = redis

    async def handle(self, delivery: Delivery) -> None:
        if delivery.event.amount == POISON:
            raise Poisoned(delivery.entry.s)
        if random.random() < SLOW:
            await asyncio.sleep(0.3)
        words = ("RPUSH", effects(self.name, delivery.key), delivery.entry.s)
        if self.partition == "none":
            await self._redis.execute_command(*words)
        else:
            await delivery.commit(words)


async def main(groups: Sequence[str] = tuple(GROUPS)) -> None:
    lines.FIRST_PAUSE_SECONDS = 0.02
    stopping = asyncio.Event()
    for asked in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(asked, stopping.set)
    settings = read_settings()
    redis = connect(str(settings.redis_url))

    async def serve(name: str) -> None:
        partition = GROUPS[name]
        service = Tally(redis, name, partition)
        async with Reader(
            redis,
            group=name,
            consumer=settings.consumer,
            partition=partition,
            channels=service.channels,
            block_ms=100,
            count=20,
            in_hand=100,
            claim_idle_ms=1_500,
            lease_ms=1_000,
        ) as reader:
            await lines.run(service, reader, stopping, time_limit_s=2)

    async with asyncio.TaskGroup() as tasks:
        for name in groups:
            tasks.create_task(serve(name))
    await redis.aclose()


if __name__ == "__main__":
    uvloop.run(main())
