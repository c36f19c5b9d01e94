"""Streams with something in them, and ways of reading them, for tests of those who read."""

from collections.abc import Iterable

from redis.asyncio import Redis

from consumers.append import append
from consumers.delivery import Delivery
from consumers.reader import Reader
from ingest.contract.events import Event, Trade
from ingest.contract.keys import StreamKey, handled

BTC = StreamKey("binance", "trades", "BTC/USDT")
ETH = StreamKey("binance", "trades", "ETH/USDT")
GROUP = "alerts"


def reader(redis: Redis, **options) -> Reader:
    """Of the group `alerts`, at the channel of trades unless told otherwise."""
    return Reader(redis, **{"group": GROUP, "channels": ("trades",), "block_ms": 20, **options})


def trade(key: StreamKey, number: int) -> Event:
    """The trade with that id, received that many ns after the epoch."""
    body = Trade(price="64000.10", amount="0.5", side="buy", received_ns=number)
    return Event(key=key, s=str(number), body=body, rule="dense", first=str(number))


async def put(redis: Redis, key: StreamKey, numbers: Iterable[int]) -> None:
    """Append the trades with these ids."""
    await append(redis, [trade(key, number) for number in numbers])


async def entry_id(redis: Redis, key: StreamKey, place: int) -> bytes:
    """The id of the entry at that place, from 1."""
    return (await redis.xrange(str(key)))[place - 1][0]


async def take(reader: Reader, count: int) -> list[Delivery]:
    """So many deliveries, acknowledged one by one; then leave, whatever else is in hand."""
    got: list[Delivery] = []
    async for delivery in reader:
        got.append(delivery)
        await delivery.ack()
        if len(got) == count:
            break
    return got


async def look_at(reader: Reader, count: int) -> list[Delivery]:
    """So many deliveries, none acknowledged."""
    got: list[Delivery] = []
    async for delivery in reader:
        got.append(delivery)
        if len(got) == count:
            break
    return got


def ids(deliveries: Iterable[Delivery]) -> list[int]:
    """The trades' ids."""
    return [int(delivery.entry.s) for delivery in deliveries]


async def standing(redis: Redis, key: StreamKey, group: str = GROUP) -> tuple[int, int, int]:
    """What the group has acknowledged: the newest n, how many in all; and how many are pending."""
    _, n, count, _ = (await redis.hget(handled(key.exchange, group), str(key))).split(b" ")
    return int(n), int(count), (await redis.xpending(str(key), group))["pending"]


async def blocked(redis: Redis, command: str) -> list[str]:
    """The ids of the clients that wait in this command for something to read."""
    return [client["id"] for client in await redis.client_list() if client["cmd"] == command and "b" in client["flags"]]
