"""What goes on on the bus at this moment, read from Redis alone: streams, groups, positions."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from consumers.client import command
from consumers.console.lag import lags
from consumers.continuity import Fields, place
from ingest.contract import keys
from ingest.contract.codec import UnreadableEntry, decode
from ingest.contract.events import Candle, Ticker, Trade
from ingest.contract.keys import StreamKey, parse_key

WINDOW_MS = 3_000
"""Rates are over so long a time."""
_SEEN_WITHIN_NS = 10_000_000_000  # a reader that has said nothing for so long is gone


class StreamFigures(Struct, frozen=True):
    """One stream."""

    key: StreamKey
    n: int
    """Number of its newest entry."""
    per_second: float
    price: str
    """The latest one that it says, empty if it says none."""
    price_ns: int
    dense: bool | None
    """Whether all entries that Redis has are numbered without a hole; None where a generation ends among them."""


class GroupLag(Struct, frozen=True):
    """One group at one exchange: how far behind, and what its readers count."""

    exchange: str
    group: str
    entries: int
    """Not handled yet."""
    handled: int
    readers: int
    """Of which something was heard in the last 10 s."""
    holes: int
    lost: int
    unreadable: int
    latency_p50_us: int
    latency_p99_us: int


class PositionFigures(Struct, frozen=True):
    """What an account holds of a symbol, by the position service."""

    exchange: str
    account: str
    symbol: str
    quantity: Decimal
    average_price: Decimal
    mark: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    fills: int


class Figures(Struct, frozen=True):
    """All of it."""

    at_ns: int
    streams: tuple[StreamFigures, ...]
    lags: tuple[GroupLag, ...]
    positions: tuple[PositionFigures, ...]


async def watch(redis: Redis, every_seconds: float = 1) -> AsyncIterator[Figures]:
    """The figures, again and again. Raises RedisError, OSError."""
    while True:
        yield await collect(redis)
        await asyncio.sleep(every_seconds)


async def collect(redis: Redis) -> Figures:
    """The figures as they are now. Raises RedisError, OSError."""
    seconds, microseconds = map(int, await command(redis, "TIME"))
    now_ns = (seconds * 1_000_000 + microseconds) * 1000
    streams: list[StreamFigures] = []
    readers: dict[tuple[str, str], list[dict[str, int]]] = {}
    positions: list[PositionFigures] = []
    for exchange in await _members(redis, keys.EXCHANGES):
        streams += [
            await _stream(redis, parse_key(name), now_ns) for name in await _members(redis, keys.streams(exchange))
        ]
        for field, packed in (await command(redis, "HGETALL", keys.readers(exchange))).items():
            figures = msgspec.msgpack.decode(packed, type=dict[str, int])
            if now_ns - figures["seen_ns"] < _SEEN_WITHIN_NS:
                readers.setdefault((exchange, field.decode().partition("/")[0]), []).append(figures)
        positions += [
            _position(exchange, await command(redis, "HGETALL", name))
            for name in await _members(redis, keys.positions(exchange))
        ]
    return Figures(at_ns=now_ns, streams=tuple(streams), lags=await _lags(redis, readers), positions=tuple(positions))


async def _members(redis: Redis, name: str) -> list[str]:
    return sorted(member.decode() for member in await command(redis, "SMEMBERS", name))


async def _stream(redis: Redis, key: StreamKey, now_ns: int) -> StreamFigures:
    pipe = redis.pipeline(transaction=True)
    pipe.xlen(str(key))
    pipe.xrange(str(key), count=1)
    pipe.xrange(str(key), min=now_ns // 1_000_000 - WINDOW_MS, count=1)
    pipe.xrevrange(str(key), count=1)
    length, oldest, recent, newest = await pipe.execute()
    (first, last), (since, _) = _span(oldest, newest), _span(recent, newest)
    entry_id, fields = newest[0] if newest else (b"", {})
    price, price_ns = _price(entry_id, fields)
    return StreamFigures(
        key=key,
        n=last,
        per_second=(last - since + 1) * 1000 / WINDOW_MS if recent else 0.0,
        price=price,
        price_ns=price_ns,
        dense=last - first + 1 == length if first else None,
    )


def _span(older: list[Any], newer: list[Any]) -> tuple[int, int]:
    """The numbers of two entries; 0 for the older one if it is of another generation."""
    places = [place(rows[0][1]) if rows else None for rows in (older, newer)]
    if not places[1]:
        return 0, 0
    g, n = places[1]
    return (places[0][1] if places[0] and places[0][0] == g else 0), n


def _price(entry_id: bytes, fields: Fields) -> tuple[str, int]:
    try:
        event = decode(entry_id, fields).event
    except UnreadableEntry:
        return "", 0
    match event:
        case Trade():
            return event.price, event.received_ns
        case Ticker():
            return event.last or event.bid or event.ask or "", event.received_ns
        case Candle():
            return event.close, event.received_ns
    return "", 0


async def _lags(redis: Redis, readers: dict[tuple[str, str], list[dict[str, int]]]) -> tuple[GroupLag, ...]:
    found = []
    for (exchange, group), each in groupby(await lags(redis), key=lambda lag: (lag.key.exchange, lag.group)):
        streams = list(each)
        said = readers.get((exchange, group), [])
        found.append(
            GroupLag(
                exchange=exchange,
                group=group,
                entries=sum(lag.lag for lag in streams),
                handled=sum(lag.handled for lag in streams),
                readers=len(said),
                **{name: sum(figures[name] for figures in said) for name in ("holes", "lost", "unreadable")},
                **{
                    name: max((figures[name] for figures in said), default=0)
                    for name in ("latency_p50_us", "latency_p99_us")
                },
            )
        )
    return tuple(found)


def _position(exchange: str, fields: dict[bytes, bytes]) -> PositionFigures:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    return PositionFigures(
        exchange=exchange,
        account=text["account"],
        symbol=text["symbol"],
        fills=int(text["fills"]),
        **{
            name: Decimal(text[name])
            for name in ("quantity", "average_price", "mark", "realized_pnl", "unrealized_pnl")
        },
    )
