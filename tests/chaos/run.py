"""One run: a scene is played, a plan is carried out on it, and the oracle judges what is left."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from msgspec import Struct
from redis.asyncio import Redis

from ingest.contract.keys import StreamKey
from ingest.simulator.ledger import Record
from tests.chaos.faults import Fault
from tests.chaos.market import closed_candles
from tests.chaos.oracle import Past, RawEntry, Verdict, judge
from tests.chaos.scene import Scene, Setting, staged
from tests.chaos.strikes import carry_out

_PAGE = 2000


class Outcome(Struct, frozen=True):
    """What came of it."""

    server: str
    faults: Counter[str]
    verdicts: tuple[Verdict, ...]
    troubles: tuple[str, ...]
    """What went wrong with the run as a whole: who ended by itself, what did not come about in time."""

    @property
    def good(self) -> bool:
        return not self.troubles and all(verdict.good for verdict in self.verdicts)

    def total(self, column: str) -> int:
        """The sum over all streams."""
        return sum(getattr(verdict, column) for verdict in self.verdicts)


async def play(setting: Setting, plan: Sequence[Fault], seconds: float, folder: Path) -> Outcome:
    """From the first process to the last entry. `folder` keeps logs, ledgers and data. Raises NoRedis, NoShim."""
    async with staged(setting, folder) as scene:
        await scene.flowing()
        await scene.look_at_books()
        async with _watched(scene):
            done = await carry_out(plan, scene, seconds)
            await scene.settled()
        candles = {
            key: await asyncio.to_thread(closed_candles, scene.exchange.port, key) for key in scene.keys if key.interval
        }
        await scene.rest()
        emitted = _by_stream(record for life in scene.exchange.emitted() for record in life)
        async with scene.redis() as redis:
            version = (await redis.info("server"))["redis_version"]
            verdicts = []
            for key in scene.keys:
                past = Past(
                    str(key),
                    await _entries(scene, redis, key),
                    await _registered(redis, key),
                    emitted.get(str(key), ()),
                    scene.depths[0].get(str(key)),
                    candles.get(key, ()),
                )
                verdicts.append(await asyncio.to_thread(judge, past))
        return Outcome(version, done, tuple(verdicts), tuple(scene.troubles))


@contextlib.asynccontextmanager
async def _watched(scene: Scene) -> AsyncIterator[None]:
    watching = asyncio.create_task(scene.watch())
    try:
        yield
    finally:
        watching.cancel()


def _by_stream(records) -> dict[str, list[Record]]:
    by_stream: dict[str, list[Record]] = {}
    for record in records:
        by_stream.setdefault(record.key, []).append(record)
    return by_stream


async def _entries(scene: Scene, redis: Redis, key: StreamKey) -> list[RawEntry]:
    """All that ever stood in the stream; what was taken out first."""
    entries = [entry for taken in scene.taken for entry in taken.get(str(key).encode(), ())]
    first = "-"
    while page := await redis.xrange(str(key), first, "+", _PAGE):
        entries += page
        first = f"({page[-1][0].decode()}"
    return entries


async def _registered(redis: Redis, key: StreamKey) -> list[tuple[int, int]]:
    members = await redis.zrange(key.gaps, 0, -1)
    return sorted((int(first), int(last)) for first, _, last in (member.partition(b"-") for member in members))
