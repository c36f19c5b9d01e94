"""What all kinds of chaos do alike: carry out a plan, and play one run for each server and seed."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from deploy.local_redis import REMEDIES, NoRedis
from tests.chaos.faults import Fault


async def carry_out(plan: Sequence[Fault], strike: Callable[[Fault], Awaitable[bool]], seconds: float) -> Counter[str]:
    """All of it, each fault in a task of its own, within so many seconds or a little more.

    Counted by kind, as far as `strike` says that it struck. What then still hangs are connections.
    """
    start_s = time.monotonic()
    struck: Counter[str] = Counter()

    async def count(fault: Fault) -> None:
        if await strike(fault):
            struck[fault.kind] += 1

    async with asyncio.TaskGroup() as tasks:
        for fault in plan:
            await asyncio.sleep(max(0.0, start_s + fault.at_s - time.monotonic()))
            tasks.create_task(count(fault))
        await asyncio.sleep(max(0.0, start_s + seconds - time.monotonic()))
    return struck


class Trial(NamedTuple):
    """One run, what came of it, in words, and whether every promise was kept."""

    title: str
    words: str
    good: bool


def play_all(name: str, servers: Sequence[str], seeds: Sequence[int], play: Callable[[str, int, Path], Trial]) -> int:
    """A run for each server and seed, said; the folder of one that fails stays. The exit code. Raises NoRedis."""
    if not servers:
        raise NoRedis(REMEDIES)
    good = True
    for server, seed in ((server, seed) for server in servers for seed in seeds):
        folder = Path(tempfile.mkdtemp(prefix=f"tickbus-{name}-{seed}-"))
        trial = play(server, seed, folder)
        kept = "every promise is kept" if trial.good else f"NOT KEPT; logs are in {folder}"
        sys.stdout.write(f"{trial.title}\n{trial.words}\n{kept}\n")
        sys.stdout.flush()
        good = good and trial.good
        if trial.good:
            shutil.rmtree(folder)
    return 0 if good else 1
