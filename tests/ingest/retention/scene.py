"""Streams with entries of a given age, groups that have read some of them, and a janitor that minds no age."""

import time
from collections.abc import Iterable

from redis.asyncio import Redis

from ingest.contract import keys
from ingest.contract.codec import decode, encode
from ingest.contract.events import Gap, Status, Trade
from ingest.contract.keys import StreamKey
from ingest.retention import Janitor

TRADES = StreamKey("binance", "trades", "BTC/USDT")
BOOK = StreamKey("binance", "orderbook", "BTC/USDT")
STATUS = StreamKey("binance", "status")


def janitor(redis: Redis, **options: object) -> Janitor:
    """Of all exchanges; trims whatever nobody needs, at once."""
    return Janitor(redis, **{"owner": "one", "keep_s": 0, "every_s": 0.1, **options})


async def write(redis: Redis, count: int, *, key: StreamKey = TRADES, age_s: float = 0) -> list[str]:
    """So many entries behind those there are, the first of that age, and the others right behind it; their ids."""
    there = await redis.xrevrange(str(key), count=1)
    first_ms = time.time_ns() // 1_000_000 - round(age_s * 1000)
    if there:
        first_ms = max(first_ms, int(there[0][0].partition(b"-")[0]) + 1)
    pipe = redis.pipeline()
    pipe.sadd(keys.EXCHANGES, key.exchange)
    pipe.sadd(keys.streams(key.exchange), str(key))
    data = encode(Trade(price="1", amount="1", side="buy", received_ns=1))
    for i in range(count):
        fields = {"v": 1, "type": "trade", "n": i + 1, "g": first_ms, "s": i + 1, "data": data}
        pipe.xadd(str(key), fields, id=f"{first_ms}-{i + 1}")
    return [entry_id.decode() for entry_id in (await pipe.execute())[2:]]


async def fill(redis: Redis, key: StreamKey, count: int, *, from_s: float, to_s: float) -> list[str]:
    """So many entries of a kilobyte, the first `from_s` old and the last `to_s`; their ids."""
    first_ms, step_ms = time.time_ns() // 1_000_000 - from_s * 1000, (from_s - to_s) * 1000 / count
    await redis.sadd(keys.EXCHANGES, key.exchange)
    await redis.sadd(keys.streams(key.exchange), str(key))
    ids: list[bytes] = []
    for begin in range(0, count, 100):  # few at once: what the server sets aside for a large request counts as used
        pipe = redis.pipeline(transaction=False)
        for i in range(begin, min(begin + 100, count)):
            pipe.xadd(str(key), {"data": "x" * 1000}, id=f"{first_ms + i * step_ms:.0f}-{i}")
        ids += await pipe.execute()
    return [entry_id.decode() for entry_id in ids]


async def group(
    redis: Redis, name: str, *, read: int = 0, acked: Iterable[int] = (), key: StreamKey = TRADES, consumer: str = "c"
) -> None:
    """A registered group that was given so many entries, and has acknowledged those at these places."""
    await redis.hset(keys.groups(key.exchange), name, key.channel)
    await redis.xgroup_create(str(key), name, "0")
    if read:
        ids = await reads(redis, name, read, key=key, consumer=consumer)
        await redis.xack(str(key), name, *(ids[place] for place in acked), "0-1")


async def reads(redis: Redis, name: str, count: int, *, key: StreamKey = TRADES, consumer: str = "c") -> list[str]:
    """The group is given up to so many entries more."""
    reply = await redis.xreadgroup(name, consumer, {str(key): ">"}, count=count)
    return [entry_id.decode() for entry_id, _ in reply[0][1]] if reply else []


async def left(redis: Redis, key: StreamKey = TRADES) -> list[str]:
    """The ids in the stream."""
    return [entry_id.decode() for entry_id, _ in await redis.xrange(str(key))]


async def told(redis: Redis) -> list[Gap | Status]:
    """What stands in the stream of states."""
    return [decode(entry_id, fields).event for entry_id, fields in await redis.xrange(str(STATUS))]
