"""`consume lag`: how far each group is behind, by the numbers of the entries. XINFO's lag is wrong after trimming."""

import json
from collections.abc import Iterable

from msgspec import Struct
from redis.asyncio import Redis
from rich import box
from rich.table import Table

from consumers.group import command
from ingest.contract import keys
from ingest.contract.keys import StreamKey, parse_key


class Lag(Struct, frozen=True):
    """One group on one stream."""

    group: str
    key: StreamKey
    n: int
    """Number of the newest entry in the stream."""
    handled_n: int
    """Number of the newest that the group has acknowledged; 0 if there is none of this generation yet."""
    handled: int
    """How many it has acknowledged in all."""

    @property
    def lag(self) -> int:
        """How many entries the group is behind."""
        return self.n - self.handled_n


async def lags(redis: Redis) -> tuple[Lag, ...]:
    """Every registered group on every stream that it stands on, sorted. Raises RedisError, OSError."""
    found: list[Lag] = []
    for exchange in sorted(name.decode() for name in await command(redis, "SMEMBERS", keys.EXCHANGES)):
        for group in sorted(name.decode() for name in await command(redis, "HKEYS", keys.groups(exchange))):
            handled: dict[bytes, bytes] = await command(redis, "HGETALL", keys.handled(exchange, group))
            streams = sorted(parse_key(name.decode()) for name in handled)
            states = await _states(redis, streams)
            found += [
                _lag(group, key, state, handled[str(key).encode()]) for key, state in zip(streams, states, strict=True)
            ]
    return tuple(found)


async def _states(redis: Redis, streams: Iterable[StreamKey]) -> list[list[bytes | None]]:
    pipe = redis.pipeline(transaction=False)
    for key in streams:
        pipe.hmget(key.state, "g", "n")
    states: list[list[bytes | None]] = await pipe.execute()
    return states


def _lag(group: str, key: StreamKey, state: list[bytes | None], standing: bytes) -> Lag:
    g, handled_n, handled = standing.split(b" ")[:3]
    return Lag(
        group=group,
        key=key,
        n=int(state[1] or 0),
        handled_n=int(handled_n) if g == state[0] else 0,
        handled=int(handled),
    )


def table(found: Iterable[Lag]) -> Table:
    """For a person."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("group", "exchange", "channel", "symbol"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("n", "handled n", "lag", "handled"):
        shown.add_column(heading, justify="right", min_width=9, no_wrap=True)
    for each in found:
        figures = (each.n, each.handled_n, each.lag, each.handled)
        names = (each.group, each.key.exchange, each.key.channel, each.key.symbol)
        shown.add_row(*names, *(f"{figure:,}" for figure in figures), style="yellow" if each.lag else "")
    return shown


def as_json(each: Lag) -> str:
    """For a program."""
    facts = {"group": each.group, "stream": str(each.key), "n": each.n, "handled_n": each.handled_n}
    return json.dumps({**facts, "lag": each.lag, "handled": each.handled})
