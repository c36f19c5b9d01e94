"""What a stretch of work costs: events, seconds, processor time of this process and of the server."""

import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import NamedTuple, cast

from redis.asyncio import Redis


class Cost(NamedTuple):
    """Of one stage; in seconds."""

    events: int
    seconds: float
    own_cpu: float
    server_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def own_us(self) -> float:
        """This process's CPU time per event, in µs."""
        return self.own_cpu / self.events * 1e6

    @property
    def server_us(self) -> float:
        """The server's, in µs."""
        return self.server_cpu / self.events * 1e6


class Stretch:
    """What is being measured; `cost` is there once it is over."""

    cost: Cost


@asynccontextmanager
async def measured(events: int, redis: Redis | None = None) -> AsyncIterator[Stretch]:
    """The cost of what happens inside of the `with`."""
    stretch = Stretch()
    gc.collect()
    gc.freeze()  # what was made beforehand is not the stage's to look through
    server_cpu = await _server_cpu(redis)
    own_cpu, start = time.process_time(), time.perf_counter()
    yield stretch
    seconds, own_cpu = time.perf_counter() - start, time.process_time() - own_cpu
    stretch.cost = Cost(events, seconds, own_cpu, await _server_cpu(redis) - server_cpu)
    gc.unfreeze()


def middle(costs: list[Cost]) -> Cost:
    """Each figure's median."""
    return Cost(*(median(figures) for figures in zip(*costs, strict=True)))


async def _server_cpu(redis: Redis | None) -> float:
    if redis is None:
        return 0.0
    figures = cast("dict[str, float]", await redis.info("cpu"))
    return figures["used_cpu_user"] + figures["used_cpu_sys"]
