"""What a run plays on: an exchange, a Redis and workers, each a process of its own, and links between them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from deploy.local_redis import LocalRedis
from ingest.contract.codec import decode
from ingest.contract.events import Delta, Snapshot, Trade
from ingest.contract.keys import StreamKey, parse_key
from tests.chaos.child import Child
from tests.chaos.chronicle import Chronicle
from tests.chaos.disk import Disk
from tests.chaos.exchange import Exchange, place
from tests.chaos.link import Link

_FLOWS_WITHIN_S = 60
_SETTLES_WITHIN_S = 75  # an exchange that was asked too much may not answer for a minute
# Impatient, so that a run sees many lives of a connection; and with little room, so that it sees disks at work.
IMPATIENT = {
    "INGEST_BUFFER_EVENTS": "300",
    "INGEST_SPILL_BYTES": str(1 << 20),
    "INGEST_TIMEOUT_S": "3",
    "INGEST_PING_EVERY_S": "1",
    "INGEST_PONG_WITHIN_S": "2",
    "INGEST_RETRY_FIRST_S": "0.05",
    "INGEST_RETRY_MOST_S": "1",
}


class Setting(Struct, frozen=True, kw_only=True):
    """What is played."""

    exchange: str = "binance"
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
    durability: str = "confirmed"
    disk: bool = False
    """Whether Redis is to have a disk that remembers what was synced, and can be slow. Needs a C compiler."""

    @property
    def keys(self) -> list[StreamKey]:
        """All streams that are to be."""
        return [StreamKey(self.exchange, channel, symbol) for symbol in self.symbols for channel in self.channels]


class Replica(Struct, frozen=True):
    """One worker and its two links."""

    process: Child
    redis: Link
    exchange: Link


class NothingFlows(Exception):
    """Before anything goes wrong, something must go right; what the workers said."""


class Scene:
    """All of it, running."""

    def __init__(
        self,
        keys: Sequence[StreamKey],
        exchange: Exchange,
        server: LocalRedis,
        disk: Disk | None,
        replicas: Sequence[Replica],
    ) -> None:
        self.keys = keys
        self.exchange = exchange
        self.exchange_lock = asyncio.Lock()
        self.server = server
        self.server_lock = asyncio.Lock()
        self.disk = disk
        self.replicas = replicas
        self.chronicle = Chronicle(keys)
        self.troubles: list[str] = []

    async def flows(self) -> None:
        """Return once every stream has entries. Raises NothingFlows."""
        async with self.redis() as redis:

            async def all_written() -> bool:
                return all([await redis.xlen(str(key)) for key in self.keys])

            await self._patiently(all_written, _FLOWS_WITHIN_S, "something flows in every stream")
        await self.is_heard()
        if self.troubles:
            words = [replica.process.last_words() for replica in self.replicas]
            raise NothingFlows("\n".join([*self.troubles, *words]))

    async def standings(self, keys: Sequence[StreamKey]) -> dict[StreamKey, tuple[str, int]]:
        """Generation and number of each stream's newest entry."""
        async with self.redis() as redis:
            found = [(key, await redis.hmget(key.state, "g", "n")) for key in keys]
        return {key: (g.decode(), int(n)) if g else ("", 0) for key, (g, n) in found}

    async def moves(self, since: Mapping[StreamKey, tuple[str, int]]) -> None:
        """Return once there is something newer in each of these streams, or it began anew."""

        async def all_moved() -> bool:
            now = await self.standings(list(since))
            return all(now[key][0] not in ("", g) or now[key][1] > n for key, (g, n) in since.items())

        await self._patiently(all_moved, _FLOWS_WITHIN_S, f"{len(since)} streams go on")

    async def is_heard(self) -> None:
        """Return once somebody hears the exchange."""
        if not await self.exchange.heard():
            self.troubles.append("nobody hears the exchange")

    async def settles(self) -> None:
        """Return once all trades and books stand where the exchange stands now."""
        newest = self.exchange.newest()
        async with self.redis() as redis:

            async def caught_up() -> bool:
                return all([await stands_at(redis, parse_key(key)) in said for key, said in newest.items()])

            await self._patiently(caught_up, _SETTLES_WITHIN_S, "the streams stand where the exchange stands")

    async def rests(self) -> None:
        """End the exchange, and once all it said is written, the workers."""
        if await self.exchange.end() != 0:
            self.troubles.append(f"the exchange failed: {self.exchange.process.last_words()}")
        await self.settles()
        for replica in self.replicas:
            await self.ends(replica.process)

    async def ends(self, worker: Child) -> None:
        """End a worker in good order."""
        code = await worker.end()
        # One that is asked before it can hear ends by the signal itself.
        if code not in (0, -signal.SIGTERM):
            self.troubles.append(f"{worker.name} ended with {code}: {worker.last_words()}")

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Who ends without having been asked is noted, and started again as an orchestrator would."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    @contextlib.asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """A way to Redis that has no faults of ours."""
        redis = Redis.from_url(self.server.url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=10)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            for replica in self.replicas:
                async with replica.process.lock:
                    if not replica.process.alive():
                        self.troubles.append(f"{replica.process.name} ended: {replica.process.last_words()}")
                        replica.process.start()

    async def _patiently(self, condition: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
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
    disk = Disk(folder) if setting.disk else None
    exchange = Exchange(setting.exchange, setting.symbols, setting.keys, setting.rate, setting.seed, folder)
    server = LocalRedis(
        data,
        *(*setting.redis_options, "--auto-aof-rewrite-percentage", "0"),
        server=setting.server,
        env=disk.preload if disk else {},
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.stop)
        await asyncio.to_thread(server.start)
        await exchange.start()
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
        yield Scene(setting.keys, exchange, server, disk, replicas)


def _told(setting: Setting, redis_port: int, exchange_port: int, spill: Path) -> dict[str, str]:
    mode = {"INGEST_SHARD_MODE": "mirror"} if setting.workers > 1 else {}
    return {
        **IMPATIENT,
        **mode,
        "INGEST_EXCHANGE": setting.exchange,
        "INGEST_SYMBOLS": ",".join(setting.symbols),
        "INGEST_CHANNELS": ",".join(setting.channels),
        "INGEST_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "INGEST_STREAM_URL": f"ws://127.0.0.1:{exchange_port}",
        "INGEST_REST_URL": f"http://127.0.0.1:{exchange_port}",
        "INGEST_SPILL_FOLDER": str(spill),
        "INGEST_DURABILITY": setting.durability,
    }


async def stands_at(redis: Redis, key: StreamKey) -> int:
    """The newest place of a trade or a change; other entries are few among these."""
    entries = [decode(*raw) for raw in await redis.xrevrange(str(key), count=20)]
    return next(
        (
            place(key, entry.s, getattr(entry.event, "exchange_ns", None))
            for entry in entries
            if isinstance(entry.event, Trade | Delta | Snapshot)
        ),
        0,
    )
