"""`python -m tests.chaos.load`: workers beside one another on exchanges that say much, and whether they keep up."""

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from msgspec import Struct
from redis.asyncio import Redis

from deploy.local_redis import NoRedis
from ingest.contract.codec import decode
from ingest.contract.events import Trade
from ingest.exchanges import EXCHANGES
from ingest.simulator.dialects import DIALECTS
from tests.chaos.child import Child
from tests.chaos.scene import NothingFlows
from tests.chaos.venues import BASES, Setting, Stage, Venue, staged

_NEWEST = 200
"""So many trades of each stream tell how far behind it is in the end."""
_FIGURE = re.compile(r"^tickbus_(\w+?)(?:\{.*\})? (\S+)$", re.MULTILINE)


class Figures(Struct, frozen=True):
    """Of one worker until now."""

    frames: float
    entries: float
    waiting: float
    """Events that wait for Redis now."""
    cpu_s: float


class Pace(Struct, frozen=True):
    """How one of them went: messages, entries and processor time a second, and how far behind it was in the end."""

    name: str
    frames: float
    entries: float
    cpu: float
    waiting: float
    half_ms: float
    longest_ms: float


async def load(setting: Setting, seconds: float, folder: Path) -> str:
    """What it came to. Raises NoRedis, NothingFlows."""
    async with staged(setting, folder) as stage:
        await stage.flows()
        async with stage.redis() as redis:
            began_s, servers_s = time.monotonic(), await _spent(redis)
            sims_s = sum(map(_cpu_s, [venue.exchange for venue in stage.venues]))
            before = await asyncio.to_thread(_all_figures, stage)
            await asyncio.sleep(seconds)
            after = await asyncio.to_thread(_all_figures, stage)
            lasted_s = time.monotonic() - began_s
            rest = (await _spent(redis) - servers_s) / lasted_s
            sims = (sum(map(_cpu_s, [venue.exchange for venue in stage.venues])) - sims_s) / lasted_s
            paces = [
                await _pace(redis, venue, old, new, lasted_s)
                for venue, old, new in zip(stage.venues, before, after, strict=True)
            ]
    return report(paces, rest, sims)


def report(paces: list[Pace], server: float, exchanges: float) -> str:
    """As a table; processor time is in cores."""
    lines = [f"{'':10}{'messages/s':>12}{'entries/s':>12}{'cores':>8}{'waiting':>9}{'trades behind (half, all)':>28}"]
    for pace in paces:
        behind = f"{pace.half_ms:.0f} ms, {pace.longest_ms:.0f} ms"
        cells = f"{pace.frames:12.0f}{pace.entries:12.0f}{pace.cpu:8.2f}{pace.waiting:9.0f}{behind:>28}"
        lines.append(f"{pace.name:10}{cells}")
    workers = sum(pace.cpu for pace in paces)
    return "\n".join([*lines, f"cores: workers {workers:.2f}, Redis {server:.2f}, simulated exchanges {exchanges:.2f}"])


def _all_figures(stage: Stage) -> list[Figures]:
    return [_figures(venue) for venue in stage.venues]


def _figures(venue: Venue) -> Figures:
    with urlopen(f"http://127.0.0.1:{venue.metrics_port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    sums: dict[str, float] = {}
    for name, value in _FIGURE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
    waiting = sum(sums[f"publisher_{name}"] for name in ("queued", "unconfirmed", "spilled"))
    return Figures(sums["connection_frames_total"], sums["publisher_appended_total"], waiting, _cpu_s(venue.worker))


async def _pace(redis: Redis, venue: Venue, before: Figures, after: Figures, lasted_s: float) -> Pace:
    late_ms = []
    for key in venue.keys:
        for raw in await redis.xrevrange(str(key), count=_NEWEST) if key.channel == "trades" else ():
            entry = decode(*raw)
            if isinstance(entry.event, Trade) and entry.event.exchange_ns:
                late_ms.append(int(entry.id.partition("-")[0]) - entry.event.exchange_ns / 1e6)
    late_ms.sort()
    return Pace(
        name=venue.name,
        frames=(after.frames - before.frames) / lasted_s,
        entries=(after.entries - before.entries) / lasted_s,
        cpu=(after.cpu_s - before.cpu_s) / lasted_s,
        waiting=after.waiting,
        half_ms=late_ms[len(late_ms) // 2],
        longest_ms=late_ms[-1],
    )


def _cpu_s(child: Child) -> float:
    """Its processor time until now, in whole seconds on some systems."""
    command = ["/bin/ps", "-o", "time=", "-p", str(child.pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    days, _, clock = said.strip().rpartition("-")
    spent_s = int(days or 0) * 24.0
    for part in clock.split(":"):
        spent_s = spent_s * 60 + float(part)
    return spent_s


async def _spent(redis: Redis) -> float:
    figures = await redis.info("cpu")
    return float(figures["used_cpu_user"]) + float(figures["used_cpu_sys"])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.load", description="Many messages, in figures.")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--exchanges", default=",".join(sorted(EXCHANGES.keys() & DIALECTS.keys())))
    parser.add_argument("--symbols", type=int, default=len(BASES), choices=range(1, len(BASES) + 1), help="of each")
    parser.add_argument("--rate", type=int, default=2400, help="market actions a second over all symbols of each")
    told = parser.parse_args()
    setting = Setting(exchanges=tuple(told.exchanges.split(",")), symbols=told.symbols, rate=told.rate, patient=True)
    folder = Path(tempfile.mkdtemp(prefix="tickbus-load-"))
    try:
        text = asyncio.run(load(setting, told.seconds, folder))
    finally:
        shutil.rmtree(folder)
    sys.stdout.write(f"{told.seconds:g} s, {told.symbols} symbols of each, all channels\n{text}\n")


if __name__ == "__main__":
    try:
        main()
    except (NoRedis, NothingFlows) as missing:
        sys.exit(str(missing))
