"""What is looked at before a worker runs."""

import time
from email.utils import formatdate

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from deploy.local_redis import free_port, local_redis
from ingest.doctor import Row, Verdict, _clock, _memory, _persistence, _version, look_at_exchange, look_at_redis
from ingest.exchanges import EXCHANGES
from ingest.exchanges.binance import Binance
from ingest.rest import Rest
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.server import simulated
from tests.end_to_end.running import plenty

OK, WARNING, WRONG = Verdict.OK, Verdict.WARNING, Verdict.WRONG


@pytest.mark.parametrize(
    ("info", "row"),
    [
        ({"redis_version": "7.0.15"}, Row("redis", OK, "redis 7.0.15")),
        ({"redis_version": "6.2.14"}, Row("redis", WRONG, "redis 6.2.14, too old")),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.1"}, Row("redis", OK, "valkey 8.1.1")),
    ],
)
def test_versions(info, row):
    assert _version(info) == row


def test_persistence_and_memory():
    full = {"maxmemory": 512 << 20, "maxmemory_policy": "noeviction"}
    rows = [
        _persistence({"aof_enabled": 0}),
        _persistence({"aof_enabled": 1, "aof_last_write_status": "err"}),
        _persistence({"aof_enabled": 1, "aof_last_write_status": "ok"}),
        _memory(full),
        _memory(full | {"maxmemory": 0}),
        _memory(full | {"maxmemory_policy": "allkeys-lru"}),
    ]
    assert [row.verdict for row in rows] == [WARNING, WRONG, OK, OK, WARNING, WRONG]


@pytest.mark.parametrize(("off_s", "verdict"), [(0, OK), (-1, OK), (10, WARNING), (-10, WARNING), (200, WRONG)])
def test_a_clock_that_is_off_is_told(off_s, verdict):
    now_s = time.time()
    assert _clock("binance", formatdate(now_s + off_s, usegmt=True), now_s, now_s + 0.1).verdict == verdict


def test_an_exchange_without_a_date_is_a_warning():
    assert _clock("binance", "", 0, 1).verdict == WARNING


@pytest.mark.slow
async def test_a_redis_as_it_should_be_has_three_good_rows():
    with local_redis("--appendonly", "yes", "--maxmemory", "100mb") as server:
        redis = Redis.from_url(server.url)
        rows = await look_at_redis(redis)
        await redis.aclose()
    assert [(row.what, row.verdict) for row in rows] == [("redis", OK), ("persistence", OK), ("memory", OK)]


async def test_no_redis_is_one_bad_row():
    nobody = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    assert [row.verdict for row in await look_at_redis(nobody)] == [WRONG]


CHANNELS = ("trades", "ticker", "orderbook", "candles-1m")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXCHANGES.keys() & DIALECTS.keys()))
@pytest.mark.parametrize(
    ("symbols", "verdict", "found"),
    [
        (["BTC/USDT"], OK, "1 of 2"),
        (["BTC/USDT", "BTC/EUR"], WRONG, "BTC/EUR is not traded, did you mean BTC/USDT?"),
    ],
)
async def test_an_exchange_that_is_there(redis, name, symbols, verdict, found):
    async with simulated(name, symbols=("BTC/USDT", "ETH/USDT"), rate=0) as exchange:
        rest = Rest(exchange.rest_url, plenty(redis).weight)
        rows = await look_at_exchange(EXCHANGES[name](), rest, exchange.stream_url, symbols, CHANNELS)
    kinds = dict.fromkeys((row.what, row.verdict) for row in rows)  # of sockets there may be several
    assert list(kinds) == [
        (f"{name} REST", OK),
        (f"{name} WebSocket", OK),
        (f"{name} clock", OK),
        (f"{name} symbols", verdict),
    ]
    assert rows[-1].found == found


async def test_an_exchange_that_is_not_there(redis):
    rest = Rest(f"http://127.0.0.1:{free_port()}", plenty(redis).weight)
    rows = await look_at_exchange(Binance(), rest, f"ws://127.0.0.1:{free_port()}", ["BTC/USDT"], CHANNELS)
    assert [(row.what, row.verdict) for row in rows] == [("binance REST", WRONG), ("binance WebSocket", WRONG)]
