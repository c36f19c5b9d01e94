"""Several workers of one exchange, each a process: they come, die and go, and nobody downstream can tell."""

import contextlib
import signal
import time
from pathlib import Path

import pytest

from deploy.local_redis import free_port, wait_for_port
from ingest.audit import audit
from ingest.contract.codec import decode
from ingest.contract.keys import StreamKey, lease
from ingest.shards import SHARDS, chosen
from ingest.simulator import ledger as ledgers
from tests.chaos.child import Child
from tests.eventually import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BASES = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "DOT", "ETH", "LINK", "LTC", "SOL", "TRX", "XRP")
SYMBOLS = tuple(f"{base}/USDT" for base in BASES)
CHANNELS = ("trades", "ticker", "orderbook")
KEYS = [StreamKey("binance", channel, symbol) for symbol in SYMBOLS for channel in CHANNELS]
PATIENCE_S = 60


class Scene:
    """An exchange and workers, in one folder."""

    def __init__(self, redis, url: str, folder: Path) -> None:
        self.redis = redis
        self.ledger = folder / "ledger.jsonl"
        self._url = url
        self._folder = folder
        self._port = free_port()
        self.children: list[Child] = []
        where = ("--port", str(self._port), "--rate", "120", "--ledger", str(self.ledger))
        self.exchange = self._start(
            "exchange", "ingest", "simulate", "binance", "--symbols", ",".join(SYMBOLS), *where, env={}
        )
        wait_for_port(self._port, self.exchange.alive)

    def worker(self, name: str, **told: str) -> Child:
        env = {
            "INGEST_SHARD_MODE": "lease",
            "INGEST_SYMBOLS": ",".join(SYMBOLS),
            "INGEST_CHANNELS": ",".join(CHANNELS),
            "INGEST_REDIS_URL": self._url,
            "INGEST_STREAM_URL": f"ws://127.0.0.1:{self._port}",
            "INGEST_REST_URL": f"http://127.0.0.1:{self._port}",
            "INGEST_RETRY_FIRST_S": "0.1",
            **told,
        }
        return self._start(name, "ingest", "run", env=env)

    async def shared_by(self, count: int) -> None:
        """So many members live, and each shard is its chosen one's."""

        async def shared():
            members = [name.decode() for name in await self.redis.hgetall(lease("binance", "members"))]
            rows = await self.redis.hgetall(lease("binance", "shards"))
            owners = {int(shard): row.decode().split(" ")[0] for shard, row in rows.items()}
            return len(members) == count and owners == {shard: chosen(shard, members) for shard in range(SHARDS)}

        await eventually(shared, PATIENCE_S)

    async def flows(self) -> None:
        """Something more comes in every stream of trades and of books."""
        before = await self._lengths()

        async def more():
            return all(now > then for now, then in zip(await self._lengths(), before, strict=True))

        await eventually(more, PATIENCE_S)

    async def settles(self) -> None:
        """The exchange has ended, and each numbered stream stands at the last that it said."""
        assert await self.exchange.end() == 0
        numbered = (r for r in ledgers.read(self.ledger) if isinstance(r, ledgers.Trade | ledgers.Delta))
        newest = {record.key: record.s for record in numbered}

        async def settled():
            return {key: (await self.redis.hget(f"{key}:state", "last")).decode() for key in newest} == newest

        await eventually(settled, PATIENCE_S)

    async def _lengths(self) -> list[int]:
        return [await self.redis.xlen(str(key)) for key in KEYS if key.channel != "ticker"]

    def _start(self, name: str, *command: str, env: dict[str, str]) -> Child:
        child = Child(name, self._folder, *command, env=env)
        self.children.append(child)
        child.start()
        return child


@contextlib.contextmanager
def staged(redis, url: str, folder: Path):
    scene = Scene(redis, url, folder)
    try:
        yield scene
    finally:
        for child in scene.children:
            child.kill()


async def entries(redis, key: StreamKey):
    return [decode(entry_id, fields) for entry_id, fields in await redis.xrange(str(key))]


async def holes_in_trades(redis) -> list[str]:
    """Where the ids of a symbol's trades do not follow one another."""
    holes = []
    for key in KEYS:
        if key.channel == "trades":
            ids = [int(entry.s) if entry.type == "trade" else 0 for entry in await entries(redis, key)]
            if ids != list(range(ids[0], ids[0] + len(ids))):
                holes.append(str(key))
    return holes


async def gaps(redis) -> dict[str, list[str]]:
    """What is registered as lost, by stream."""
    found = {str(key): [e.s for e in await entries(redis, key) if e.type == "gap"] for key in KEYS}
    return {key: lost for key, lost in found.items() if lost}


async def test_workers_come_die_and_go_and_every_event_is_written_once(redis, redis_server, tmp_path):
    with staged(redis, redis_server.url, tmp_path) as scene:
        first, second = scene.worker("first"), scene.worker("second")
        await scene.shared_by(2)
        await scene.flows()
        third = scene.worker("third")
        await scene.shared_by(3)
        await scene.flows()
        handed_over = await gaps(redis)
        third.signal(signal.SIGSTOP)
        await scene.shared_by(2)
        await scene.flows()
        third.signal(signal.SIGCONT)  # what it had not written yet, it writes now
        await scene.shared_by(3)
        second.kill()
        await scene.shared_by(2)
        await scene.flows()
        codes = [await first.end()]
        await scene.shared_by(1)
        await scene.flows()
        await scene.settles()
        codes.append(await third.end())
        report = await audit(redis, [scene.ledger], time.time_ns())
    assert (codes, report.balanced, await holes_in_trades(redis), handed_over) == ([0, 0], True, [], {})


async def test_who_gives_the_exchange_up_leaves_its_shards_to_those_who_reach_it(redis, redis_server, tmp_path):
    with staged(redis, redis_server.url, tmp_path) as scene:
        lost = scene.worker("lost", INGEST_STREAM_URL=f"ws://127.0.0.1:{free_port()}", INGEST_ATTEMPTS="4")
        scene.worker("well")
        await eventually(lambda: not lost.alive(), PATIENCE_S)
        await scene.shared_by(1)
        await scene.flows()
        assert await lost.end() == 3
