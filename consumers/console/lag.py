"""`consume lag`: how far each group is behind, by the numbers of the entries. XINFO's lag is wrong after trimming."""

import json
from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis
from rich import box
from rich.table import Table

from consumers import stored
from consumers.client import command
from consumers.places import parts
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
    pending: int = 0
    """Given to its readers and not acknowledged."""
    behind_ms: int = 0
    """How long ago the oldest entry was written that it has not acknowledged; 0 if it has them all."""
    oldest_pending_ms: int = 0
    """The same of those that are pending."""

    @property
    def lag(self) -> int:
        """How many entries the group is behind."""
        return self.n - self.handled_n


async def lags(redis: Redis) -> tuple[Lag, ...]:
    """Every registered group on every stream that it stands on, sorted. Raises RedisError, OSError."""
    found: list[Lag] = []
    for exchange in await stored.members(redis, keys.EXCHANGES):
        for group in sorted(name.decode() for name in await command(redis, "HKEYS", keys.groups(exchange))):
            handled = await stored.fields(redis, keys.handled(exchange, group))
            found += [await _lag(redis, group, parse_key(name.decode()), handled[name]) for name in sorted(handled)]
    return tuple(found)


async def _lag(redis: Redis, group: str, key: StreamKey, standing: bytes) -> Lag:
    pipe = redis.pipeline(transaction=False)
    pipe.hmget(key.state, "g", "n")
    pipe.xpending(str(key), group)
    pipe.xinfo_groups(str(key))
    pipe.time()
    # A group that is gone, or a stream, is an error of its line alone.
    state, pending, groups, (seconds, microseconds) = await pipe.execute(raise_on_error=False)
    oldest_pending, unread = _oldest(pending), await _first_unread(redis, key, group, groups)
    now_ms = seconds * 1000 + microseconds // 1000
    g, handled_n, handled = standing.split(b" ")[:3]
    return Lag(
        group=group,
        key=key,
        n=int(state[1] or 0),
        handled_n=int(handled_n) if g == state[0] else 0,
        handled=int(handled),
        pending=pending["pending"] if oldest_pending else 0,
        behind_ms=_age(now_ms, [each for each in (oldest_pending, unread) if each]),
        oldest_pending_ms=_age(now_ms, [oldest_pending] if oldest_pending else []),
    )


def _oldest(pending: Any) -> bytes | None:
    oldest: bytes | None = None if isinstance(pending, Exception) else pending["min"]
    return oldest


async def _first_unread(redis: Redis, key: StreamKey, group: str, groups: Any) -> bytes | None:
    if isinstance(groups, Exception):
        return None
    for each in groups:
        if each["name"] == group.encode():
            behind = b"(" + each["last-delivered-id"]
            for entry_id, _ in await command(redis, "XRANGE", str(key), behind, "+", "COUNT", 1):
                return bytes(entry_id)
    return None


def _age(now_ms: int, ids: Iterable[bytes]) -> int:
    """How long ago the oldest of them was written."""
    return max((max(0, now_ms - parts(each.decode())[0]) for each in ids), default=0)


def table(found: Iterable[Lag]) -> Table:
    """For a person."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("group", "stream"):
        shown.add_column(heading, overflow="fold")
    for heading in ("n", "handled n", "lag", "behind", "pending", "oldest"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for each in found:
        names = (each.group, ":".join(filter(None, (each.key.exchange, each.key.channel, each.key.symbol))))
        figures = (f"{each.n:,}", f"{each.handled_n:,}", f"{each.lag:,}", ago(each.behind_ms), f"{each.pending:,}")
        shown.add_row(*names, *figures, ago(each.oldest_pending_ms), style="yellow" if each.lag else "")
    return shown


def ago(ms: int) -> str:
    """A stretch of time, to be read."""
    for unit_ms, unit in ((3_600_000, "h"), (60_000, "m"), (1_000, "s")):
        if ms >= unit_ms:
            return f"{ms / unit_ms:.1f}{unit}"
    return f"{ms}ms" if ms else "-"


def as_json(each: Lag) -> str:
    """For a program."""
    facts = {"group": each.group, "stream": str(each.key), "n": each.n, "handled_n": each.handled_n, "lag": each.lag}
    facts |= {"handled": each.handled, "behind_ms": each.behind_ms}
    return json.dumps(facts | {"pending": each.pending, "oldest_pending_ms": each.oldest_pending_ms})
