"""What a run plays on: an exchange, a Redis and workers, each a process of its own, and links between them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from deploy.local_redis import LocalRedis, free_port, wait_for_port
from ingest.contract.keys import StreamKey
from ingest.simulator import ledger as ledgers
from ingest.simulator.ledger import Record
from tests.chaos.link import Link
from tests.chaos.market import Depth, depth
from tests.chaos.servers import Disk, chosen

_ROOT = Path(__file__).parents[2]
_END_WITHIN_S = 15
_FLOW_WITHIN_S = 20
_SETTLED_WITHIN_S = 45
# Impatient, so that a run sees many lives of a connection.
_IMPATIENT = {
    "INGEST_TIMEOUT_S": "3",
    "INGEST_PING_EVERY_S": "1",
    "INGEST_PONG_WITHIN_S": "2",
    "INGEST_RETRY_FIRST_S": "0.05",
    "INGEST_RETRY_MOST_S": "1",
}


class Setting(Struct, frozen=True, kw_only=True):
    """What is played."""

    seed: int = 1
    symbols: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")
    channels: tuple[str, ...] = ("trades", "ticker", "orderbook", "candles-1s")
    rate: int = 600
    """Market actions a second over all symbols."""
    workers: int = 1
    producer: tuple[str, ...] = ("ingest", "run")
    """The module, and its arguments, that is the worker."""
    server: str | None = None
    """The path of another Redis than the one that is found."""
    redis_options: tuple[str, ...] = ("--appendonly", "yes", "--appendfsync", "everysec")
    power: bool = False
    """Whether Redis is to have a disk that remembers what was synced. Needs a C compiler."""


class Child:
    """One of our commands as a process that can be killed, paused and started again."""

    def __init__(self, name: str, folder: Path, *command: str, env: Mapping[str, str]) -> None:
        self.name = name
        self.lock = asyncio.Lock()
        self._log = folder / f"{name}.log"
        self._command = command
        self._env = {**os.environ, **env}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._command], stdout=log, stderr=log, env=self._env, cwd=_ROOT
            )

    def alive(self) -> bool:
        """Whether it was started and has not ended, of itself or by us."""
        return self._process is not None and self._process.poll() is None

    def signal(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def end(self) -> int | None:
        """Ask it to end; its exit code. One that does not listen is killed: None."""
        if self._process is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self._process.wait, _END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-1500:]


class Exchange:
    """A simulated exchange on a port that stays, and all its ledgers, one for each of its lives."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.port = free_port()
        self.lock = asyncio.Lock()
        self.lives: list[Path] = []
        self._setting = setting
        self._folder = folder
        self.process: Child

    def start(self) -> None:
        """A life of its own: other prices, other ids."""
        setting, life = self._setting, len(self.lives)
        self.lives.append(self._folder / f"ledger-{life}.jsonl")
        said = ("--ledger", str(self.lives[-1]), "--rate", str(setting.rate), "--seed", str(setting.seed + 1000 * life))
        where = ("--port", str(self.port), "--symbols", ",".join(setting.symbols))
        self.process = Child("exchange", self._folder, "ingest", "simulate", "binance", *said, *where, env={})
        self.process.start()
        wait_for_port(self.port, self.process.alive)

    def emitted(self) -> list[list[Record]]:
        """All that it has said until now, by lives."""
        return [list(ledgers.read(life)) if life.exists() else [] for life in self.lives]


RawEntry = tuple[bytes, dict[bytes, bytes]]


class Replica:
    """One worker and its two links."""

    def __init__(self, process: Child, redis: Link, exchange: Link) -> None:
        self.process = process
        self.redis = redis
        self.exchange = exchange


class Scene:
    """All of it, running."""

    def __init__(
        self, setting: Setting, exchange: Exchange, server: LocalRedis, disk: Disk | None, replicas: Sequence[Replica]
    ) -> None:
        self.setting = setting
        self.exchange = exchange
        self.server = server
        self.server_lock = asyncio.Lock()
        self.disk = disk
        self.replicas = replicas
        self.keys = [StreamKey("binance", channel, s) for s in setting.symbols for channel in setting.channels]
        self.numbered = [key for key in self.keys if key.channel in ("trades", "orderbook")]
        self.depths: list[dict[str, Depth]] = []
        self.taken: list[dict[bytes, list[RawEntry]]] = []
        self.troubles: list[str] = []

    async def flowing(self) -> None:
        """Return once every stream has entries."""
        async with self.redis() as redis:

            async def all_written() -> bool:
                return all([await redis.xlen(str(key)) for key in self.keys])

            await self.patiently(all_written, _FLOW_WITHIN_S, "something flows in every stream")

    async def look_at_books(self) -> None:
        """Keep the exchange's books as they are once somebody hears it, for its deltas to be applied to."""

        async def heard() -> bool:
            return len(_newest(self.exchange.emitted()[-1])) == len(self.numbered)

        await self.patiently(heard, _FLOW_WITHIN_S, "somebody hears the exchange")
        port = self.exchange.port
        books = {s: await asyncio.to_thread(depth, port, s) for s in self.setting.symbols}
        self.depths.append({str(StreamKey("binance", "orderbook", s)): book for s, book in books.items()})

    async def settled(self) -> None:
        """Return once every numbered stream stands where the exchange stands now."""
        newest = _newest(self.exchange.emitted()[-1])
        async with self.redis() as redis:

            async def caught_up() -> bool:
                return all([await _stands_at(redis, key) >= said for key, said in newest.items()])

            await self.patiently(caught_up, _SETTLED_WITHIN_S, "the streams stand where the exchange stands")

    async def rest(self) -> None:
        """End the exchange, and once all it said is written, the workers."""
        if await self.exchange.process.end() != 0:
            self.troubles.append(f"the exchange failed: {self.exchange.process.last_words()}")
        await self.settled()
        for replica in self.replicas:
            code = await replica.process.end()
            if code != 0:
                self.troubles.append(f"{replica.process.name} ended with {code}: {replica.process.last_words()}")

    async def take(self, redis: Redis, streams: Sequence[bytes], *command: str) -> None:
        """Take entries out of Redis with this command, and keep them: what was written is not lost by that."""
        async with redis.pipeline(transaction=True) as at_once:
            for stream in streams:
                at_once.xrange(stream)
            at_once.execute_command(*command)
            *entries, _ = await at_once.execute()
        self.taken.append(dict(zip(streams, entries, strict=True)))

    async def watch(self) -> None:
        """Note who ends without having been asked, and start it again as an orchestrator would."""
        while True:
            await asyncio.sleep(0.2)
            for replica in self.replicas:
                async with replica.process.lock:
                    if not replica.process.alive():
                        self.troubles.append(f"{replica.process.name} ended: {replica.process.last_words()}")
                        replica.process.start()

    @contextlib.asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """A way to Redis that has no faults of ours."""
        redis = Redis.from_url(self.server.url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=10)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def patiently(self, condition: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
        """Wait for it; that it does not come true in time is a trouble."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with contextlib.suppress(RedisError, OSError):
                if await condition():
                    return
            await asyncio.sleep(0.05)
        self.troubles.append(f"not within {within_s:g} s: {what}")


@contextlib.asynccontextmanager
async def staged(setting: Setting, folder: Path) -> AsyncIterator[Scene]:
    """A scene for the length of a `with`; at the end nothing of it runs. Raises NoRedis, NoShim."""
    data = folder / "redis"
    data.mkdir()
    disk = Disk(folder) if setting.power else None
    exchange = Exchange(setting, folder)
    server = LocalRedis(data, *setting.redis_options, "--auto-aof-rewrite-percentage", "0")
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(chosen(setting.server, disk.preload if disk else {}, folder))
        stack.callback(server.stop)
        server.start()
        exchange.start()
        stack.callback(lambda: exchange.process.kill())
        replicas = []
        for i in range(setting.workers):
            to_redis = await stack.enter_async_context(Link(server.port))
            to_exchange = await stack.enter_async_context(Link(exchange.port))
            told = _told(setting, to_redis.port, to_exchange.port, folder / f"spill-{i}")
            process = Child(f"worker-{i}", folder, *setting.producer, env=told)
            stack.callback(process.kill)
            process.start()
            replicas.append(Replica(process, to_redis, to_exchange))
        yield Scene(setting, exchange, server, disk, replicas)


def _told(setting: Setting, redis_port: int, exchange_port: int, spill: Path) -> dict[str, str]:
    mode = {"INGEST_SHARD_MODE": "mirror"} if setting.workers > 1 else {}
    return {
        **_IMPATIENT,
        **mode,
        "INGEST_EXCHANGE": "binance",
        "INGEST_SYMBOLS": ",".join(setting.symbols),
        "INGEST_CHANNELS": ",".join(setting.channels),
        "INGEST_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "INGEST_STREAM_URL": f"ws://127.0.0.1:{exchange_port}",
        "INGEST_REST_URL": f"http://127.0.0.1:{exchange_port}",
        "INGEST_SPILL_FOLDER": str(spill),
    }


def _newest(records: Sequence[Record]) -> dict[str, int]:
    """The newest id of each numbered stream."""
    return {record.key: int(record.s) for record in records if isinstance(record, ledgers.Trade | ledgers.Delta)}


async def _stands_at(redis: Redis, key: str) -> int:
    """The newest id among the last entries; others of a numbered stream are few."""
    last = await redis.xrevrange(key, count=20)
    return max((int(fields[b"s"]) for _, fields in last if fields[b"s"].isdigit()), default=0)
