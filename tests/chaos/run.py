"""One run: a scene is played, a plan is carried out on it, and the oracle judges what is left."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tests.chaos.faults import Fault
from tests.chaos.oracle import Verdict, judge
from tests.chaos.scene import Scene, Setting, staged
from tests.chaos.strikes import STRIKES
from tests.chaos.trials import carry_out

_SPEAKS_WITHIN_S = 1.2
"""Every source of every symbol has something to say in that time."""
_DOUBTS_FOR_S = 4
"""Before a source of tickers that counts from another beginning is believed."""


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
        await scene.flows()
        async with scene.watched():
            struck = await carry_out(plan, lambda fault: STRIKES[fault.kind](scene, fault), seconds)
            await scene.settles()
            await asyncio.sleep(_SPEAKS_WITHIN_S + (_DOUBTS_FOR_S if struck["restart-exchange"] else 0))
        await scene.rests()
        verdicts = await _judged(scene)
        return Outcome(await _server(scene), struck, verdicts, tuple(scene.troubles))


async def _server(scene: Scene) -> str:
    async with scene.redis() as redis:
        about = await redis.info("server")
    valkey = about.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {about['redis_version']}"


async def _judged(scene: Scene) -> tuple[Verdict, ...]:
    lives = scene.exchange.truth()
    async with scene.redis() as redis:
        pasts = [(str(key), await scene.chronicle.past(redis, key)) for key in scene.keys]
    return tuple([await asyncio.to_thread(judge, key, past, [life[key] for life in lives]) for key, past in pasts])
