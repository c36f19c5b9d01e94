"""What trading is played on: exchanges with their workers, a Redis, services with links between, each a process."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from consumers import connect, stored
from consumers.audit import accounts
from deploy.local_redis import LocalRedis
from ingest.contract.keys import StreamKey
from tests.chaos import venues
from tests.chaos.child import Child
from tests.chaos.link import Link
from tests.chaos.scene import NothingFlows
from tests.chaos.trading_hand import surely
from tests.chaos.trading_setting import Setting, commands
from tests.chaos.venues import Venue

_FLOWS_WITHIN_S = 150
_APPROVES_WITHIN_S = 60
_STANDS_STILL_S = 60
"""After which nobody is waited for any more."""
_SETTLES_WITHIN_S = 240


class Part(Struct, frozen=True):
    """A process and its way to Redis."""

    process: Child
    redis: Link


class Stage:
    """All of it, running."""

    def __init__(
        self,
        server: LocalRedis,
        redis: Redis,
        markets: Sequence[Venue],
        workers: Sequence[Part],
        services: Sequence[Part],
    ) -> None:
        self.server = server
        self.server_lock = asyncio.Lock()
        self.switch_lock = asyncio.Lock()
        self.redis = redis
        """A way to Redis that has no faults of ours."""
        self.venues = markets
        self.workers = workers
        self.services = services
        self.symbols = [(venue.name, symbol) for venue in markets for symbol in venue.symbols]
        self.names: dict[tuple[str, str], str] = {}
        """What trades were called that stood in a stream as it was deleted: by stream and entry id."""
        self.killed: dict[str, list[tuple[int, int]]] = {venue.name: [] for venue in markets}
        """When the kill switch was on for sure, in ns."""
        self.troubles: list[str] = []

    async def flows(self) -> None:
        """Return once there are orders and positions of each symbol. Raises NothingFlows."""
        wanted = [
            str(StreamKey(exchange, channel, symbol))
            for exchange, symbol in self.symbols
            for channel in ("orderbook", "ticker", "positions")
        ]
        deadline = time.monotonic() + _FLOWS_WITHIN_S
        while missing := [name for name in wanted if not await self.redis.exists(name)]:
            if time.monotonic() > deadline:
                words = [part.process.last_words() for part in (*self.workers, *self.services)]
                raise NothingFlows("\n".join([f"nothing in {', '.join(missing)}", *words]))
            await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def watched(self, parts: Sequence[Part]) -> AsyncIterator[None]:
        """Who ends without having been asked is noted, and started again as an orchestrator would."""
        watching = asyncio.create_task(self._watch(parts))
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def rests(self) -> None:
        """End the exchanges and workers, wait until the services have nothing left to do, and end them."""
        for venue in self.venues:
            await self._ends(venue.exchange)
        for part in self.workers:
            await self._ends(part.process)
        async with self.watched(self.services):
            await self._settles()
        for part in self.services:
            await self._ends(part.process)

    async def _settles(self) -> None:
        ends, left, since, still = time.monotonic() + _SETTLES_WITHIN_S, "", time.monotonic(), 0
        # Twice: what is told while groups are looked at, one after another, may be news to the first of them.
        while still < 2:
            before, left = left, await self._left()
            still = 0 if left else still + 1
            since = since if left == before else time.monotonic()
            if time.monotonic() > min(ends, since + _STANDS_STILL_S):
                self.troubles.append(f"not handled: {left}")
                return
            await asyncio.sleep(0.1)

    async def _left(self) -> str:
        try:
            found = await accounts(self.redis)
        except (RedisError, OSError) as away:
            return str(away)
        return ", ".join(f"{a.group} {a.key}: {a.pending}+{a.unread}" for a in found if a.pending or a.unread)

    async def _ends(self, process: Child) -> None:
        if (code := await process.end()) not in (0, -signal.SIGTERM):
            self.troubles.append(f"{process.name} ended with {code}: {process.last_words()}")

    async def _watch(self, parts: Sequence[Part]) -> None:
        while True:
            await asyncio.sleep(0.2)
            for part in parts:
                process = part.process
                async with process.lock:
                    if not process.alive():
                        self.troubles.append(f"{process.name} ended: {process.last_words()}")
                        process.start()

    async def approves(self, count: int) -> None:
        """Return once there are so many approvals of each symbol, or it has taken long."""
        names = [str(StreamKey(exchange, "approved", symbol)) for exchange, symbol in self.symbols]
        for _ in range(_APPROVES_WITHIN_S):
            if min([await surely(lambda name=name: self.redis.xlen(name)) for name in names]) >= count:
                return
            await asyncio.sleep(1)

    async def traded(self) -> list[tuple[str, str]]:
        """Every exchange and symbol of which there are intents."""
        return [(key.exchange, key.symbol) for key in await stored.streams(self.redis) if key.channel == "intents"]


@contextlib.asynccontextmanager
async def staged(setting: Setting, folder: Path) -> AsyncIterator[Stage]:
    """For the length of a `with`; at the end nothing of it runs. Raises NoRedis."""
    (data := folder / "redis").mkdir()
    server = LocalRedis(data, "--appendonly", "yes", "--appendfsync", "always", server=setting.server)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.stop)
        await asyncio.to_thread(server.start)
        redis = connect(server.url)
        stack.push_async_callback(redis.aclose)
        markets, workers = [], []
        playing = venues.Setting(
            exchanges=setting.exchanges,
            symbols=setting.symbols,
            rate=setting.rate,
            seed=setting.seed,
            # What they have written they can write again for ten seconds, should a stream be gone.
            durability="everysec",
        )
        for name in setting.exchanges:
            link = await stack.enter_async_context(Link(server.port))
            venue = Venue(name, playing, f"redis://127.0.0.1:{link.port}/0", folder)
            stack.callback(_end, venue.exchange)
            stack.callback(_end, venue.worker)
            await venue.start()
            markets.append(venue)
            workers.append(Part(venue.worker, link))
        services = []
        for name, command, told in commands(setting):
            link = await stack.enter_async_context(Link(server.port))
            env = {**told, "CONSUMER_REDIS_URL": f"redis://127.0.0.1:{link.port}/0"}
            process = Child(name, folder, *command, env={**env, "CONSUMER_CONSUMER": name})
            stack.callback(_end, process)
            process.start()
            services.append(Part(process, link))
        yield Stage(server, redis, markets, workers, services)


def _end(process: Child) -> None:
    process.signal(signal.SIGCONT)
    process.kill()
