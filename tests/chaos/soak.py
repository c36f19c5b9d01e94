"""`python -m tests.chaos.soak`: workers on exchanges that misbehave always, and how well it goes, in figures."""

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from pathlib import Path
from random import Random

from msgspec import Struct

from deploy.local_redis import NoRedis
from ingest.contract.keys import StreamKey
from ingest.exchanges import EXCHANGES
from ingest.simulator.dialects import DIALECTS
from tests.chaos.kept import Kept, keep, report
from tests.chaos.scene import NothingFlows
from tests.chaos.venues import BASES, Setting, Stage, staged
from tests.ingest.exchanges.facts import FACTS

EVERY_S = 5.0
_LOOKS_EVERY_S = 0.25
_FRESH_S = 2.5
"""Each stream has something to say in that time."""
_SPEAKS_WITHIN_S = 1.5

OF_STREAMS = ("gap", "garble", "duplicate", "reorder", "silent")
OF_BOOKS = ("crossed", "checksum")
OF_ALL = (
    ("drop",),
    ("drop@0s/1s",),
    ("stall@0s/3s",),
    ("half-open",),
    ("notice",),
    ("maintenance@0s/2s",),
    ("drop", "rest-429@0s/3s"),
    ("drop", "rest-418@0s/3s"),
    ("drop", "rest-500@0s/2s"),
    ("drop", "rest-slow@0s/2s"),
    ("drop", "stale-snapshot@0s/2s"),
)


class _Looks(Struct):
    """By stream: when it moved last, and in how many looks it was fresh."""

    moved: dict[StreamKey, tuple[tuple[bytes | None, ...], float]] = {}
    fresh: Counter[StreamKey] = Counter()
    all: int = 0


def next_faults(random: Random, keys: Sequence[StreamKey], cannot: Collection[str] = ()) -> tuple[str, ...]:
    """What goes wrong at once on one exchange. A refusal matters to who subscribes anew, and until that is done again.

    One in six strikes the connection, and with it every stream, and one in twenty begins all ids anew: more than that,
    and all that is missing of all symbols is more than may be asked for by REST.
    """
    key = random.choice([key for key in keys if key.channel.partition("-")[0] not in cannot])
    about = f"{key.channel}:{key.symbol}"
    choice = random.random()
    if choice < 0.1 and (books := [kind for kind in OF_BOOKS if kind not in cannot]):
        return (f"{random.choice(books)}::{key.symbol}",)
    if choice < 0.8:
        return (f"{random.choice(OF_STREAMS)}:{about}",) if random.random() < 0.8 else (f"silent:{about}@0s/4s",)
    if choice < 0.83:
        return f"refuse:{about}@0s/3s", "drop", "drop@4s"
    if choice < 0.88:
        return ("series",)
    return random.choice([faults for faults in OF_ALL if faults[-1].partition("@")[0] not in cannot])


async def soak(setting: Setting, seconds: float, folder: Path) -> Kept:
    """From the first process to the last entry. Raises NoRedis, NothingFlows."""
    async with staged(setting, folder) as stage:
        await stage.flows()
        looks = _Looks()
        began_s = time.monotonic()
        async with _meanwhile(stage.watch()):
            over = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_look(stage, looks, over))
                try:
                    faults = await _misbehave(stage, seconds, Random(setting.seed))
                finally:
                    over.set()
            await stage.settles()
            await asyncio.sleep(_SPEAKS_WITHIN_S)
        lasted_s = time.monotonic() - began_s
        await stage.rests()
        return await keep(stage, faults, {key: looks.fresh[key] / looks.all for key in stage.keys}, lasted_s)


@contextlib.asynccontextmanager
async def _meanwhile(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Something is done for the length of a `with`."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _misbehave(stage: Stage, seconds: float, random: Random) -> Counter[str]:
    """A fault every five seconds on one of the exchanges."""
    faults: Counter[str] = Counter()
    begin_s = time.monotonic()
    while (passed_s := time.monotonic() - begin_s) < seconds:
        venue = random.choice(stage.venues)
        for fault in next_faults(random, venue.keys, FACTS[venue.name].cannot):
            await asyncio.to_thread(venue.strike, fault)
            faults[fault.partition(":")[0].partition("@")[0]] += 1
        await asyncio.sleep(min(EVERY_S, seconds - passed_s))
    return faults


async def _look(stage: Stage, looks: _Looks, over: asyncio.Event) -> None:
    async with stage.redis() as redis:
        while not over.is_set():
            async with redis.pipeline(transaction=False) as asking:
                for key in stage.keys:
                    asking.hmget(key.state, "g", "n")
                standings = await asking.execute()
            now_s = time.monotonic()
            for key, standing in zip(stage.keys, map(tuple, standings), strict=True):
                if looks.moved.get(key, ((), 0.0))[0] != standing:
                    looks.moved[key] = standing, now_s
                looks.fresh[key] += now_s - looks.moved[key][1] < _FRESH_S
            looks.all += 1
            await asyncio.sleep(_LOOKS_EVERY_S)


def main() -> int:
    """The command. Returns 1 if anything is unaccounted for."""
    known = sorted(EXCHANGES.keys() & DIALECTS.keys())
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.soak", description="A bus on bad exchanges, in figures."
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--exchanges", default=",".join(known), help="separated by commas")
    parser.add_argument("--symbols", type=int, default=len(BASES), choices=range(1, len(BASES) + 1), help="of each")
    parser.add_argument("--rate", type=int, default=400, help="market actions a second over all symbols of each")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    exchanges = tuple(told.exchanges.split(","))
    setting = Setting(exchanges=exchanges, symbols=told.symbols, rate=told.rate, seed=told.seed)
    folder = Path(tempfile.mkdtemp(prefix="tickbus-soak-"))
    kept = asyncio.run(soak(setting, told.seconds, folder))
    about = f"{told.seconds:g} s, {', '.join(exchanges)}, {told.symbols} symbols each, seed {told.seed}"
    sys.stdout.write(f"{about}\n{report(kept)}\n")
    if kept.good:
        shutil.rmtree(folder)
    else:
        sys.stdout.write(f"logs, ledgers and data are in {folder}\n")
    return 0 if kept.good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NoRedis, NothingFlows) as missing:
        sys.exit(str(missing))
