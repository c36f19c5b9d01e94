"""Positions as they are kept, and as they come out if all fills of a stream are folded again."""

from collections.abc import Sequence
from itertools import chain

from msgspec import Struct
from redis.asyncio import Redis

from consumers import stored
from consumers.latest import latest_ticker
from consumers.services.held import Held, from_fields, to_fields
from consumers.services.ledger import Ledger
from ingest.contract import keys
from ingest.contract.keys import StreamKey


class Rebuilt(Struct, frozen=True):
    """What became of one symbol."""

    key: StreamKey
    """Of its fills."""
    accounts: int
    fills: int
    changed: tuple[str, ...]
    """The accounts whose positions were not what their fills add up to."""
    missing: int
    """Fills that are not in the stream any more: unless 0, everything was left as it was."""


async def opened(redis: Redis, key: StreamKey) -> Ledger:
    """The positions that are kept of the symbol whose stream of fills this is."""
    ledger = Ledger(key=key, accounts={})
    ours = ":" + key.symbol.replace("/", "-")
    for name in await stored.members(redis, keys.positions(key.exchange)):
        fields = await stored.fields(redis, name) if name.endswith(ours) else {}
        if fields:
            ledger.add(fields[b"account"].decode(), from_fields(fields))
    return ledger


async def rebuild(redis: Redis, key: StreamKey, now_ns: int) -> Rebuilt:
    """Put what all fills of the stream add up to in the place of what is kept. The same fills give the same digits."""
    kept, ledger = await opened(redis, key), Ledger(key=key, accounts={})
    latest = await latest_ticker(redis, StreamKey(key.exchange, "ticker", key.symbol))
    ledger.ticker = latest.ticker if latest else None
    g, n = await stored.standing(redis, key.state)
    async for entry in stored.entries(redis, key, after="0-0"):
        ledger.take(entry)
    # Of a stream that has lost its newest entries no later one tells.
    missing = ledger.missing + ledger.behind(g, n)
    changed = [account for account in kept.accounts | ledger.accounts if not _same(kept, ledger, account)]
    if not missing:
        await _replace(redis, key, ledger, sorted(kept.accounts.keys() - ledger.accounts.keys()), now_ns)
    fills = sum(held.position.fills for held in ledger.accounts.values())
    return Rebuilt(key, len(ledger.accounts), fills, tuple(sorted(changed)), missing)


def _same(kept: Ledger, ledger: Ledger, account: str) -> bool:
    """Whatever it is worth by now."""
    one, other = kept.accounts.get(account), ledger.accounts.get(account)
    return one is not None and other is not None and _digits(one) == _digits(other)


def _digits(held: Held) -> object:
    return held.position, held.fills_g, held.fills_n, held.missing


async def _replace(redis: Redis, key: StreamKey, ledger: Ledger, gone: Sequence[str], now_ns: int) -> None:
    pipe = redis.pipeline(transaction=True)
    for account, held in ledger.accounts.items():
        name = keys.position(key.exchange, account, key.symbol)
        pipe.hset(name, items=list(chain.from_iterable(to_fields(held, key, account, now_ns).items())))
        pipe.sadd(keys.positions(key.exchange), name)
    for account in gone:
        pipe.delete(keys.position(key.exchange, account, key.symbol))
        pipe.srem(keys.positions(key.exchange), keys.position(key.exchange, account, key.symbol))
    await pipe.execute()
