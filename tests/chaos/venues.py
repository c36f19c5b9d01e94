"""Simulated exchanges, each with a worker of its own, before one Redis: what a soak is played on."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from urllib.request import Request, urlopen

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from deploy.local_redis import LocalRedis, free_port, wait_for_port
from ingest.contract.codec import decode
from ingest.contract.events import Status
from ingest.contract.keys import StreamKey
from ingest.exchanges import EXCHANGES
from ingest.simulator import ledger
from tests.chaos.child import Child
from tests.chaos.exchange import has_order, place_of
from tests.chaos.scene import IMPATIENT, NothingFlows, stands_at
from tests.ingest.exchanges.facts import FACTS
from tests.ingest.exchanges.lives import Lives

BASES = ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC", "DOT", "LINK")
_FLOWS_WITHIN_S = 90
_SETTLES_WITHIN_S = 120  # an exchange that was asked too much may not answer for a minute
_READ_WITHIN_S = 30
_OF_STATE = ("orderbook", "ticker")


class Setting(Struct, frozen=True, kw_only=True):
    """What is played."""

    exchanges: tuple[str, ...]
    symbols: int = len(BASES)
    """Of each exchange."""
    rate: int = 400
    """Market actions a second over all symbols of one exchange."""
    seed: int = 1
    durability: str = "confirmed"
    patient: bool = False
    """Whether workers are as they are by default: not as small, nor as quick to give up, as faults want them."""


class Venue:
    """One exchange and its worker."""

    def __init__(self, name: str, setting: Setting, redis_url: str, folder: Path) -> None:
        quote = FACTS[name].symbols[0].partition("/")[2]
        self.name = name
        self.symbols = [f"{base}/{quote}" for base in BASES[: setting.symbols]]
        candles = "candles-1s" if "candles-1s" in EXCHANGES[name].channels else "candles-1m"
        channels = ("trades", "ticker", "orderbook", candles)
        self.keys = [StreamKey(name, channel, symbol) for symbol in self.symbols for channel in channels]
        self.port, self.metrics_port = free_port(), free_port()
        self.ledger = folder / f"{name}.jsonl"
        told = ("--symbols", ",".join(self.symbols), "--rate", str(setting.rate), "--seed", str(setting.seed))
        where = ("--port", str(self.port), "--ledger", str(self.ledger))
        self.exchange = Child(name, folder, "ingest", "simulate", name, *told, *where, env={})
        env = {
            **({} if setting.patient else IMPATIENT),
            "INGEST_EXCHANGE": name,
            "INGEST_SYMBOLS": ",".join(self.symbols),
            "INGEST_CHANNELS": ",".join(channels),
            "INGEST_REDIS_URL": redis_url,
            "INGEST_STREAM_URL": f"ws://127.0.0.1:{self.port}",
            "INGEST_REST_URL": f"http://127.0.0.1:{self.port}",
            "INGEST_SPILL_FOLDER": str(folder / f"spill-{name}"),
            "INGEST_METRICS_PORT": str(self.metrics_port),
            "INGEST_DURABILITY": setting.durability,
        }
        self.worker = Child(f"{name}-worker", folder, "ingest", "run", env=env)

    async def start(self) -> None:
        """Both of them."""
        self.exchange.start()
        await asyncio.to_thread(wait_for_port, self.port, self.exchange.alive)
        self.worker.start()

    def strike(self, fault: str) -> None:
        """Let this go wrong now."""
        asked = Request(f"http://127.0.0.1:{self.port}/control/fault", data=fault.encode())
        with urlopen(asked, timeout=10) as answer:
            answer.read()

    def truth(self) -> Lives:
        """All that the exchange has said until now."""
        return Lives(ledger.everything(self.ledger))

    def newest(self) -> dict[StreamKey, range]:
        """Of all trades and books that have names, from the newest place up to where the ids before these began."""
        *before, now = self.truth().lives
        found = {}
        for key in self.keys:
            said = now.emitted[str(key)]
            if said and isinstance(said[-1], ledger.Trade | ledger.Delta):
                ends = before[-1].emitted[str(key)] if before and has_order(key) else []
                newest, end = place_of(said[-1]), int(ends[0].s) if ends else 0
                found[key] = range(newest, end if end > newest else 1 << 53)
        return found


class Stage:
    """All of them."""

    def __init__(self, venues: Sequence[Venue], server: LocalRedis) -> None:
        self.venues = venues
        self.server = server
        self.keys = [key for venue in venues for key in venue.keys]
        self.troubles: list[str] = []

    @contextlib.asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """A way to Redis."""
        redis = Redis.from_url(self.server.url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=30)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def flows(self) -> None:
        """Return once every stream has entries. Raises NothingFlows."""
        async with self.redis() as redis:

            async def all_written() -> bool:
                return all([await redis.xlen(str(key)) for key in self.keys])

            await self._patiently(all_written, _FLOWS_WITHIN_S, "something flows in every stream")
        if self.troubles:
            raise NothingFlows("\n".join([*self.troubles, *(venue.worker.last_words() for venue in self.venues)]))

    async def settles(self) -> None:
        """Return once what is numbered stands where the exchange stands now, and every book is up to date."""
        newest = {key: ids for venue in self.venues for key, ids in (await asyncio.to_thread(venue.newest)).items()}
        async with self.redis() as redis:

            async def caught_up() -> bool:
                stand = all([await stands_at(redis, key) in ids for key, ids in newest.items()])
                return stand and "suspect" not in await self._words(redis) and await self._live(redis)

            await self._patiently(caught_up, _SETTLES_WITHIN_S, "the streams stand where the exchanges stand")

    async def rests(self) -> None:
        """End the exchanges, and once all they said is read, the workers."""
        for venue in self.venues:
            if await venue.exchange.end() != 0:
                self.troubles.append(f"{venue.name} failed: {venue.exchange.last_words()}")
        async with self.redis() as redis:

            async def all_read() -> bool:
                return await self._words(redis) == {"stale"}

            await self._patiently(all_read, _READ_WITHIN_S, "all that was said is read")
        for venue in self.venues:
            if (code := await venue.worker.end()) != 0:
                self.troubles.append(f"{venue.name}'s worker ended with {code}: {venue.worker.last_words()}")

    async def watch(self) -> None:
        """Note who ends without having been asked, once."""
        dead: set[Child] = set()
        while True:
            await asyncio.sleep(0.5)
            children = {child for venue in self.venues for child in (venue.exchange, venue.worker)}
            for child in {each for each in children if not each.alive()} - dead:
                self.troubles.append(f"{child.name} ended: {child.last_words()}")
                dead.add(child)

    async def _words(self, redis: Redis) -> set[str]:
        """What the newest entries of books and tickers say of their streams."""
        words = set()
        for key in self.keys:
            if key.channel in _OF_STATE:
                ((entry_id, fields),) = await redis.xrevrange(str(key), count=1)
                event = decode(entry_id, fields).event
                words.add(event.state if isinstance(event, Status) else "")
        return words

    async def _live(self, redis: Redis) -> bool:
        """Whether every book has been live since it last was not."""
        for key in self.keys:
            if key.channel != "orderbook":
                continue
            newest = await redis.xrevrange(str(key), count=1000)
            words = (decode(*raw).event for raw in newest)
            said = next((event.state for event in words if isinstance(event, Status)), "live")
            if said != "live":
                return False
        return True

    async def _patiently(self, condition: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if await condition():
                return
            await asyncio.sleep(0.2)
        self.troubles.append(f"not within {within_s:g} s: {what}")


@contextlib.asynccontextmanager
async def staged(setting: Setting, folder: Path) -> AsyncIterator[Stage]:
    """For the length of a `with`; at the end nothing of it runs. Raises NoRedis."""
    data = folder / "redis"
    data.mkdir()
    server = LocalRedis(data, "--appendonly", "yes", "--appendfsync", "everysec")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.stop)
        await asyncio.to_thread(server.start)
        venues = [Venue(name, setting, server.url, folder) for name in setting.exchanges]
        for venue in venues:
            stack.callback(venue.exchange.kill)
            stack.callback(venue.worker.kill)
            await venue.start()
        yield Stage(venues, server)
