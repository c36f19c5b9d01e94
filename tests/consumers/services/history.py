"""The whole history of what was traded, read from the streams, and what is kept of it."""

from typing import NamedTuple

from consumers import stored
from consumers.services.held import from_fields
from ingest.contract import instruments, keys
from ingest.contract.events import Fill, Gap, Intent, Order, Position, Status, Ticker
from ingest.contract.instruments import Listed
from ingest.contract.keys import StreamKey

# Within a millisecond, streams have no order but that of cause and effect.
_CHANNELS = ("intents", "approved", "fills", "orders", "positions")


class Seen(NamedTuple):
    """One entry."""

    at: tuple[int, int, int]
    """The ms of its id, and what puts entries of the same ms in order."""
    channel: str
    s: str
    body: Intent | Order | Fill | Position | Ticker | Status | Gap


class Market(NamedTuple):
    """What there was to see of a symbol for whoever decided."""

    symbol: str
    tickers: tuple[Seen, ...] = ()
    """And what else their stream says."""
    listed: Listed | None = None
    killed: tuple[tuple[int, int], ...] = ()
    """When the kill switch was on for sure: ns."""


async def history(redis, exchange, symbol):
    """All entries of the services' streams, in the order in which they were written."""
    seen = [
        each
        for rank, channel in enumerate(_CHANNELS)
        for each in await _read(redis, StreamKey(exchange, channel, symbol), rank)
    ]
    return sorted(seen, key=lambda each: each.at)


async def market_of(redis, exchange, symbol, killed=()):
    """Of now and before."""
    row = await redis.hget(keys.instruments(exchange), symbol)
    return Market(
        symbol,
        tuple(await _read(redis, StreamKey(exchange, "ticker", symbol))),
        None if row is None else instruments.decode(row),
        tuple(killed),
    )


async def held(redis, exchange, symbol):
    """What each account is said to hold."""
    found = {}
    for name in await stored.members(redis, keys.positions(exchange)):
        fields = await stored.fields(redis, name)
        if fields[b"symbol"] == symbol.encode():
            found[fields[b"account"].decode()] = from_fields(fields)
    return found


async def _read(redis, key, rank=0):
    seen = []
    async for entry in stored.entries(redis, key, after="0-0"):
        ms, _, sequence = entry.id.partition("-")
        seen.append(Seen((int(ms), rank, int(sequence)), key.channel, entry.s, entry.event))
    return seen
