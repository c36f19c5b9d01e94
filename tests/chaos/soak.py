"""`python -m tests.chaos.soak`: a worker on an exchange that misbehaves always, and how well it goes, in figures."""

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.request import Request, urlopen

from msgspec import Struct

from deploy.local_redis import NoRedis
from ingest.contract.codec import decode
from ingest.contract.events import Status
from ingest.contract.keys import StreamKey
from tests.chaos.oracle import Verdict, judge
from tests.chaos.scene import NothingFlows, Scene, Setting, staged

SYMBOLS = ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC", "DOT", "LINK")
EVERY_S = 5.0
_LOOKS_EVERY_S = 0.25
_FRESH_S = 2.5
"""Each stream has something to say in that time."""
_SPEAKS_WITHIN_S = 1.5

OF_STREAMS = ("gap", "garble", "duplicate", "reorder", "silent")
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


class Kept(Struct, frozen=True):
    """How it went."""

    faults: Counter[str]
    available: dict[str, float]
    """By channel, the share of moments in which a stream had said something of late."""
    outages_s: tuple[float, ...]
    """Of each time that the connection was lost and came back, how long that took."""
    lost_for_good: int
    delivered: dict[str, tuple[int, int]]
    """By channel, how many were emitted, and how many of them are in the stream."""
    verdicts: tuple[Verdict, ...]
    troubles: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not (self.troubles or self.lost_for_good) and all(verdict.good for verdict in self.verdicts)


class _Looks(NamedTuple):
    """By stream: when it moved last, and in how many looks it was fresh."""

    moved: dict[StreamKey, tuple[tuple[str, int], float]]
    fresh: Counter[StreamKey]


def next_faults(random: Random, keys: Sequence[StreamKey]) -> tuple[str, ...]:
    """What goes wrong at once. A refusal matters to who subscribes anew.

    One in five strikes the connection, and with it every stream: more than that, and all that is missing of all symbols
    is more than may be asked for by REST.
    """
    key = random.choice(keys)
    about = f"{key.channel}:{key.symbol}"
    choice = random.random()
    if choice < 0.8:
        return (f"{random.choice(OF_STREAMS)}:{about}",) if random.random() < 0.8 else (f"silent:{about}@0s/4s",)
    return (f"refuse:{about}@0s/3s", "drop") if choice < 0.83 else random.choice(OF_ALL)


async def soak(setting: Setting, seconds: float, folder: Path) -> Kept:
    """From the first process to the last entry. Raises NoRedis, NothingFlows."""
    async with staged(setting, folder) as scene:
        await scene.flows()
        looks = _Looks({}, Counter())
        async with scene.watched():
            looking = asyncio.create_task(_look(scene, looks))
            faults = await _misbehave(scene, seconds, Random(setting.seed))
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            await scene.settles()
            await asyncio.sleep(_SPEAKS_WITHIN_S)
        await scene.rests()
        return await _kept(scene, faults, looks)


async def _misbehave(scene: Scene, seconds: float, random: Random) -> Counter[str]:
    faults: Counter[str] = Counter()
    end_s = time.monotonic() + seconds
    while (now_s := time.monotonic()) < end_s:
        for fault in next_faults(random, scene.keys):
            await asyncio.to_thread(_ask, scene.exchange.port, fault)
            faults[fault.partition(":")[0].partition("@")[0]] += 1
        await asyncio.sleep(min(EVERY_S, end_s - now_s))
    return faults


def _ask(port: int, fault: str) -> None:
    asked = Request(f"http://127.0.0.1:{port}/control/fault", data=fault.encode())
    with urlopen(asked, timeout=10) as answer:
        answer.read()


async def _look(scene: Scene, looks: _Looks) -> None:
    while True:
        standings, now_s = await scene.standings(scene.keys), time.monotonic()
        for key, standing in standings.items():
            if looks.moved.get(key, (None, 0.0))[0] != standing:
                looks.moved[key] = standing, now_s
            looks.fresh[key] += now_s - looks.moved[key][1] < _FRESH_S
        looks.fresh[StreamKey("-", "looks")] += 1
        await asyncio.sleep(_LOOKS_EVERY_S)


async def _kept(scene: Scene, faults: Counter[str], looks: _Looks) -> Kept:
    (truth,) = scene.exchange.truth()
    verdicts = []
    delivered: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    async with scene.redis() as redis:
        for key in scene.keys:
            past = await scene.chronicle.past(redis, key)
            verdicts.append(await asyncio.to_thread(judge, str(key), past, [truth[str(key)]]))
            there = {fields[b"s"].decode() for chapter in past.chapters for _, fields in chapter.entries}
            emitted, came = delivered[key.channel]
            records = truth[str(key)].emitted
            delivered[key.channel] = emitted + len(records), came + sum(record.s in there for record in records)
        states = [decode(*raw) for raw in await redis.xrange("md:{binance}:status")]
    outages_s, lost = outages([(int(e.id.partition("-")[0]), e.event) for e in states if isinstance(e.event, Status)])
    total = looks.fresh[StreamKey("-", "looks")]
    by_channel: dict[str, list[float]] = defaultdict(list)
    for key in scene.keys:
        by_channel[key.channel].append(looks.fresh[key] / total)
    available = {channel: sum(shares) / len(shares) for channel, shares in by_channel.items()}
    return Kept(faults, available, outages_s, lost, dict(delivered), tuple(verdicts), tuple(scene.troubles))


def outages(states: Sequence[tuple[int, Status]]) -> tuple[tuple[float, ...], int]:
    """How long each took, in seconds, and how many never ended; what was asked to end is no outage."""
    since_ms: dict[str | None, int] = {}
    lasted = []
    for at_ms, status in states:
        if status.state == "RECONNECTING":
            since_ms.setdefault(status.connection, at_ms)
        elif status.state == "CONNECTED" and status.connection in since_ms:
            lasted.append((at_ms - since_ms.pop(status.connection)) / 1000)
        elif status.state == "DISCONNECTED":
            since_ms.pop(status.connection, None)
    return tuple(lasted), len(since_ms)


def report(kept: Kept) -> str:
    """Availability and delivery by channel, reconnects, and what is wrong in words."""
    struck = ", ".join(f"{count} {kind}" for kind, count in sorted(kept.faults.items()))
    lines = [f"{kept.faults.total()} faults: {struck}", ""]
    columns = ("available", "emitted", "delivered", "", "gaps", "unaccounted")
    lines.append(f"{'':14}" + "".join(f"{column:>12}" for column in columns))
    for channel, (emitted, came) in kept.delivered.items():
        verdicts = [verdict for verdict in kept.verdicts if f":{channel}:" in verdict.key]
        gaps = sum(verdict.gaps for verdict in verdicts)
        wrong = sum(v.lost + v.doubled + v.inverted + v.unfounded + v.wrong for v in verdicts)
        share = came / emitted if emitted else 1.0
        cells = (f"{kept.available[channel]:.2%}", emitted, came, f"{share:.3%}", gaps, wrong)
        lines.append(f"{channel:14}" + "".join(f"{cell:>12}" for cell in cells))
    back, worst = len(kept.outages_s), max(kept.outages_s, default=0.0)
    median = sorted(kept.outages_s)[back // 2] if back else 0.0
    share = back / (back + kept.lost_for_good) if back else 1.0
    times = f"median {median:.2f} s, longest {worst:.2f} s"
    lines += ["", f"reconnects: {back} of {back + kept.lost_for_good} ({share:.1%}), {times}"]
    lines += [f"  {verdict.key}: {words}" for verdict in kept.verdicts for words in verdict.words]
    lines += [f"  {trouble}" for trouble in kept.troubles]
    return "\n".join([*lines, "everything is accounted for" if kept.good else "NOT ACCOUNTED FOR"])


def main() -> int:
    """The command. Returns 1 if anything is unaccounted for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.soak", description="A bus on a bad exchange, in figures."
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--symbols", type=int, default=len(SYMBOLS), choices=range(1, len(SYMBOLS) + 1))
    parser.add_argument("--rate", type=int, default=400, help="market actions a second over all symbols")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    symbols = tuple(f"{base}/USDT" for base in SYMBOLS[: told.symbols])
    folder = Path(tempfile.mkdtemp(prefix="tickbus-soak-"))
    kept = asyncio.run(soak(Setting(seed=told.seed, symbols=symbols, rate=told.rate), told.seconds, folder))
    sys.stdout.write(f"{told.seconds:g} s, {len(symbols)} symbols, seed {told.seed}\n{report(kept)}\n")
    if kept.good:
        shutil.rmtree(folder)
    else:
        sys.stdout.write(f"logs, ledger and data are in {folder}\n")
    return 0 if kept.good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NoRedis, NothingFlows) as missing:
        sys.exit(str(missing))
