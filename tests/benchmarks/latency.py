"""How long an event takes from the socket of one process to the handler of another."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from consumers import Reader
from deploy.processes import Process
from tests.benchmarks.recording import CHANNELS, SYMBOLS
from tests.benchmarks.scene import Scene
from tests.eventually import eventually

RATES = (1_000, 5_000)
"""Events a second."""
SECONDS = 3

# The snapshots of more would have to wait: an exchange allows only so much at once.
_SYMBOLS = SYMBOLS[:30]


class Latency(NamedTuple):
    """At one rate; in milliseconds."""

    rate: int
    p50: float
    p99: float
    p999: float


async def latencies(scene: Scene, redis_url: str) -> list[Latency]:
    """With a worker of its own process, and the reader in this one."""
    await scene.redis.flushall()
    heard: list[int] = []
    with _worker(scene, redis_url) as worker:
        async with _listening(scene, heard):
            await eventually(lambda: _alive(worker) and len(heard) == len(_SYMBOLS))
            await _at(RATES[0], scene, heard, seconds=1)  # a reader takes half a second to find streams that are new
            return [await _at(rate, scene, heard) for rate in RATES]


async def _at(rate: int, scene: Scene, heard: list[int], *, seconds: int = SECONDS) -> Latency:
    heard.clear()
    frames = seconds * rate
    scene.sender.send(frames, rate=rate)
    await eventually(lambda: len(heard) >= frames, within_seconds=3 * SECONDS)
    cuts = quantiles((latency_ns / 1e6 for latency_ns in heard), n=1000, method="inclusive")
    return Latency(rate, cuts[499], cuts[989], cuts[998])


@contextmanager
def _worker(scene: Scene, redis_url: str) -> Iterator[Process]:
    env = {
        "INGEST_SYMBOLS": ",".join(_SYMBOLS),
        "INGEST_CHANNELS": ",".join(CHANNELS),
        "INGEST_REDIS_URL": redis_url,
        "INGEST_STREAM_URL": scene.sender.stream_url,
        "INGEST_REST_URL": scene.sender.rest_url,
    }
    with tempfile.TemporaryDirectory(prefix="tickbus-benchmark-") as folder:
        worker = Process("worker", Path(folder), "ingest", "run", env=env)
        try:
            yield worker
        finally:
            worker.end()


def _alive(worker: Process) -> bool:
    if worker.died:
        raise RuntimeError(f"the worker ended by itself:\n{worker.last_words()}")
    return True


@asynccontextmanager
async def _listening(scene: Scene, heard: list[int]) -> AsyncIterator[None]:
    async with Reader(scene.redis, group="latency", channels=CHANNELS) as reader:
        listening = asyncio.create_task(_listen(reader, heard))
        try:
            yield
        finally:
            reader.stop()
            await listening


async def _listen(reader: Reader, heard: list[int]) -> None:
    async for delivery in reader:
        received_ns = getattr(delivery.event, "received_ns", None)
        if received_ns:
            heard.append(time.time_ns() - received_ns)
        await delivery.ack()
