"""Readers under faults: streams that grow, processes that read them, what befalls both by seed, and a verdict.

`python -m tests.chaos.consumers_run --seed 1 2 3 --seconds 60`, on every server that is found.
"""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from consumers import connect
from consumers.append import append
from consumers.audit import accounts
from deploy.local_redis import LocalRedis, NoRedis, find_servers
from ingest.contract import keys
from ingest.contract.events import Event, Trade
from ingest.contract.keys import StreamKey
from tests.chaos.child import Child
from tests.chaos.consumers_child import GROUPS, POISON, effects
from tests.chaos.consumers_oracle import Verdict, judge
from tests.chaos.trials import Trial, play_all

_FLOWS_WITHIN_S = 30
_AWAY_S = 0.3
_COLUMNS = Verdict.__struct_fields__[1:]

FAULTS = {"kill": 6, "stop": 2, "end": 3, "redis-kill": 1, "destroy": 2, "stream": 1}
"""How often one comes compared to the others."""


class Setting(Struct, frozen=True, kw_only=True):
    """What is played."""

    seed: int = 1
    seconds: float = 20
    every_s: float = 0.8
    """Between two faults, on average."""
    processes: int = 4
    command: tuple[str, ...] = ("tests.chaos.consumers_child",)
    groups: tuple[str, ...] = tuple(GROUPS)
    faults: tuple[str, ...] = tuple(FAULTS)
    streams: int = 6
    rate: int = 120
    """Entries a second over all streams."""
    poison_every: int = 150
    """Of the entries of a stream, about one of so many; 0 for none."""
    stands_still_s: float = 20
    """After which nobody is waited for any more."""
    server: str | None = None


class NothingFlows(Exception):
    """Before anything goes wrong, something must go right; what the readers said."""


class Outcome(Struct, frozen=True):
    """What came of it."""

    server: str
    faults: Counter[str]
    verdicts: tuple[Verdict, ...]
    troubles: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.troubles and all(
            verdict.at_least_once if GROUPS.get(verdict.group) == "none" else verdict.once_in_order
            for verdict in self.verdicts
        )


class Producer:
    """Appends trades, some of them poison, each until it is there."""

    def __init__(self, redis: Redis, setting: Setting) -> None:
        self.streams = [StreamKey("binance", "trades", f"S{i}/USDT") for i in range(setting.streams - 1)]
        self.streams += [StreamKey("kraken", "trades", "S0/USDT")]
        self.poison: dict[StreamKey, set[str]] = {}
        self._redis = redis
        self._setting = setting
        self._random = random.Random(setting.seed)
        self._n: Counter[StreamKey] = Counter()

    def add_stream(self) -> None:
        self.streams.append(StreamKey("binance", "trades", f"S{len(self.streams)}/USDT"))

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            began = time.monotonic()
            keys_now = self._random.choices(self.streams, k=10)
            for exchange in {key.exchange for key in keys_now}:
                await self._append([self._next(key) for key in keys_now if key.exchange == exchange])
            await asyncio.sleep(max(0.0, 10 / self._setting.rate - (time.monotonic() - began)))

    def _next(self, key: StreamKey) -> Event:
        self._n[key] += 1
        s, every = str(self._n[key]), self._setting.poison_every
        is_poison = every > 0 and self._random.random() < 1 / every
        if is_poison:
            self.poison.setdefault(key, set()).add(s)
        # Of the poison one half cannot be handled, and the other not even be read.
        price, amount = self._random.choice([("1", POISON), ("NaN", "1")]) if is_poison else ("1", "1")
        body = Trade(price=price, amount=amount, side="buy", received_ns=time.time_ns())
        return Event(key=key, s=s, body=body, rule="dense", first=s)

    async def _append(self, events: Sequence[Event]) -> None:
        while True:
            with contextlib.suppress(RedisError, OSError):
                await append(self._redis, events)
                return
            await asyncio.sleep(0.05)


class Scene:
    """All of it, running."""

    def __init__(self, setting: Setting, server: LocalRedis, redis: Redis, readers: Sequence[Child]) -> None:
        self.setting = setting
        self.server = server
        self.redis = redis
        self.readers = readers
        self.producer = Producer(redis, setting)
        self.random = random.Random(setting.seed)
        self.struck: Counter[str] = Counter()
        self.troubles: list[str] = []
        self._server_lock = asyncio.Lock()

    async def flows(self) -> None:
        """Return once every group handles something."""
        deadline = time.monotonic() + _FLOWS_WITHIN_S
        while not all([await self._handles(group) for group in self.setting.groups]):
            if time.monotonic() > deadline:
                words = [reader.last_words() for reader in self.readers]
                raise NothingFlows("\n".join(words))
            await asyncio.sleep(0.05)

    async def _handles(self, group: str) -> bool:
        return any([await self.redis.exists(effects(group, key)) for key in self.producer.streams])

    async def strike(self) -> None:
        """One fault after another, each as a task of its own, until time is up; return when all are over."""
        kinds = self.setting.faults
        weights = [FAULTS[kind] for kind in kinds]
        deadline = time.monotonic() + self.setting.seconds
        async with asyncio.TaskGroup() as strikes:
            while time.monotonic() < deadline:
                await asyncio.sleep(self.random.uniform(0.5, 1.5) * self.setting.every_s)
                if kinds:
                    (kind,) = self.random.choices(kinds, weights)
                    strikes.create_task(self._carry_out(kind))

    async def _carry_out(self, kind: str) -> None:
        self.struck[kind] += 1
        match kind:
            case "redis-kill":
                async with self._server_lock:
                    self.server.kill()
                    await asyncio.sleep(_AWAY_S)
                    await asyncio.to_thread(self.server.start)
            case "destroy":
                group, key = self.random.choice(self.setting.groups), self.random.choice(self.producer.streams)
                with contextlib.suppress(RedisError, OSError):
                    await self.redis.xgroup_destroy(str(key), group)
            case "stream":
                self.producer.add_stream()
            case _:
                child = self.random.choice(self.readers)
                async with child.lock:
                    await self._befall(child, kind)

    async def _befall(self, child: Child, kind: str) -> None:
        match kind:
            case "kill":
                child.kill()
                await asyncio.sleep(self.random.uniform(0, 0.3))
                child.start()
            case "stop":
                child.signal(signal.SIGSTOP)
                await asyncio.sleep(self.random.uniform(2, 4))
                child.signal(signal.SIGCONT)
            case "end":
                if (code := await child.end()) not in (0, -signal.SIGTERM):
                    self.troubles.append(f"{child.name} ended with {code}: {child.last_words()}")
                child.start()

    async def settles(self) -> None:
        """Return once every group has nothing left to read and nothing pending, or nothing has happened for long."""
        done, since = -1, time.monotonic()
        while left := await self._left():
            if (now := await self._done()) != done:
                done, since = now, time.monotonic()
            if time.monotonic() > since + self.setting.stands_still_s:
                self.troubles.append(f"not handled: {left[:5]}")
                return
            await asyncio.sleep(0.2)

    async def _done(self) -> int:
        lists = [effects(group, key) for group in self.setting.groups for key in self.producer.streams]
        return sum([await self.redis.llen(name) for name in lists])

    async def _left(self) -> list[str]:
        left = []
        for key in self.producer.streams:
            try:
                newest = await self.redis.xrevrange(str(key), count=1)
                groups = {each["name"].decode(): each for each in await self.redis.xinfo_groups(str(key))}
            except ResponseError:
                continue  # it was to appear, and time was up
            for group in self.setting.groups:
                there = groups.get(group)
                if newest and (not there or there["pending"] or there["last-delivered-id"] != newest[0][0]):
                    left.append(f"{group} {key} {there}")
        return left

    async def judge(self) -> tuple[Verdict, ...]:
        return tuple([await self._judge(group) for group in self.setting.groups])

    async def _judge(self, group: str) -> Verdict:
        dead: dict[str, list[str]] = {}
        for exchange in {key.exchange for key in self.producer.streams}:
            for _, fields in await self.redis.xrange(keys.dead_letters(exchange, group)):
                dead.setdefault(fields[b"dead_stream"].decode(), []).append(fields[b"s"].decode())
        total = Verdict(group)
        for key in self.producer.streams:
            entries = [fields[b"s"].decode() for _, fields in await self.redis.xrange(str(key))]
            done = [s.decode() for s in await self.redis.lrange(effects(group, key), 0, -1)]
            total += judge(group, entries, self.producer.poison.get(key, ()), done, dead.get(str(key), ()))
        return total


Way = Callable[[int], AbstractAsyncContextManager[str]]


async def play(setting: Setting, folder: Path, way: Way | None = None) -> Outcome:
    """From the first entry to the verdict. `way` is another one to the server, for readers. Raises NoRedis."""
    async with _staged(setting, folder, way) as scene:
        stopping = asyncio.Event()
        producing = asyncio.create_task(scene.producer.run(stopping))
        await scene.flows()
        await scene.strike()
        stopping.set()
        await producing
        await scene.settles()
        verdicts = await scene.judge()
        scene.troubles += [
            f"{each.group} {each.key}: {each.verdict}" for each in await accounts(scene.redis) if each.unaccounted
        ]
        about = await scene.redis.info("server")
        name = f"Valkey {about['valkey_version']}" if "valkey_version" in about else f"Redis {about['redis_version']}"
        return Outcome(name, scene.struck, verdicts, tuple(scene.troubles))


@contextlib.asynccontextmanager
async def _staged(setting: Setting, folder: Path, way: Way | None) -> AsyncIterator[Scene]:
    (data := folder / "redis").mkdir()
    # All is written to the file before a reply is sent; what a process's death takes is only what is not.
    server = LocalRedis(data, "--appendonly", "yes", "--appendfsync", "no", server=setting.server)
    server.start()
    redis = connect(server.url)
    ways = contextlib.AsyncExitStack()
    url = await ways.enter_async_context(way(server.port)) if way else server.url
    readers = [
        Child(
            f"reader-{i}",
            folder,
            *setting.command,
            env={"CONSUMER_REDIS_URL": url, "CONSUMER_CONSUMER": f"reader-{i}"},
        )
        for i in range(setting.processes)
    ]
    try:
        scene = Scene(setting, server, redis, readers)
        for reader in readers:
            reader.start()
        yield scene
    finally:
        for reader in readers:
            reader.signal(signal.SIGCONT)
            reader.kill()
        await ways.aclose()
        await redis.aclose()
        server.kill()


def report(outcome: Outcome) -> str:
    """A line for each group."""
    struck = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.faults.items()))
    rows = [("", *_COLUMNS)]
    rows += [(each.group, *(str(getattr(each, column)) for column in _COLUMNS)) for each in outcome.verdicts]
    lines = [f"{row[0]:12}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
    return "\n".join([f"{outcome.faults.total()} faults: {struck}", *lines, *outcome.troubles])


def main() -> int:
    """The command. Returns 1 if a group did not keep its promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.consumers_run", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--server", nargs="+", default=list(find_servers()))
    told = parser.parse_args()

    def trial(server: str, seed: int, folder: Path) -> Trial:
        outcome = asyncio.run(play(Setting(seed=seed, seconds=told.seconds, server=server), folder))
        return Trial(f"{outcome.server}, seed {seed}, {told.seconds:g} s", report(outcome), outcome.good)

    return play_all("readers", told.server, told.seed, trial)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoRedis as missing:
        sys.exit(str(missing))
