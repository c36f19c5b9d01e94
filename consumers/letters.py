"""Dead letters: entries that a group could not handle, with where they came from and why they are here."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import cast

from msgspec import Struct
from redis.asyncio import Redis

from consumers import stored
from consumers.client import Script
from consumers.group import Group
from consumers.streams import Arrival, Doom
from ingest.contract import keys
from ingest.contract.keys import parse_key

_LONGEST = 1000  # of a reason
_MOST_FIELDS = 100  # no entry of the contract has ten; Lua cannot unpack more than some thousands
_PREFIX = b"dead_"
_PAGE = 100
_REDRIVE = Script((Path(__file__).parent / "redrive.lua").read_text(encoding="utf-8"))


class Letter(Struct, frozen=True):
    """One of them."""

    exchange: str
    group: str
    id: str
    """Among the dead letters."""
    stream: str
    entry_id: str
    """In its stream."""
    consumer: str
    failures: int
    deliveries: int
    reason: str
    at_ms: int
    fields: Mapping[bytes, bytes]
    """The entry's own."""


def letter(arrival: Arrival, doom: Doom, group: Group) -> list[str | bytes | int]:
    """The fields of a dead letter: eight of its provenance, then its own as they are."""
    fields, stream = arrival.fields, arrival.stream
    first = fields if stream.redriven else cast("Mapping[bytes, bytes]", {})
    told: list[str | bytes | int] = ["dead_stream", first.get(b"dead_stream", str(stream.key).encode())]
    told += ["dead_id", first.get(b"dead_id", arrival.id), "dead_group", group.name, "dead_consumer", group.consumer]
    told += ["dead_failures", doom.failures, "dead_deliveries", doom.deliveries]
    told += ["dead_reason", doom.reason[:_LONGEST], "dead_ms", time.time_ns() // 1_000_000]
    own = ((name, value) for name, value in fields.items() if not name.startswith(_PREFIX))
    for field in islice(own, _MOST_FIELDS):
        told += field
    return told


async def found(redis: Redis, exchange: str = "", group: str = "") -> AsyncIterator[Letter]:
    """All of them, or those of an exchange or a group, oldest first. Raises RedisError, OSError."""
    for name in await stored.members(redis, keys.EXCHANGES):
        registered = await stored.fields(redis, keys.groups(name)) if exchange in ("", name) else {}
        for each in sorted(key.decode() for key in registered):
            if group in ("", each):
                async for one in _of(redis, name, each):
                    yield one


async def one(redis: Redis, exchange: str, group: str, letter_id: str) -> Letter | None:
    """The letter with that id. Raises RedisError, OSError."""
    rows = await redis.xrange(keys.dead_letters(exchange, group), letter_id, letter_id)
    return _letter(exchange, group, *cast("tuple[bytes, dict[bytes, bytes]]", rows[0])) if rows else None


async def redrive(redis: Redis, letter: Letter) -> bool:
    """Have the group handle it after all: as the entry that it was, by key, id, `g`, `n` and `s`, trimmed or not.

    False if it is not among the dead letters any more. Raises RedisError, OSError, and BadName if nobody could tell
    whose it is.
    """
    exchange, group = letter.exchange, letter.group
    redo = keys.redo(group, exchange, parse_key(letter.stream).symbol)
    names = [keys.dead_letters(exchange, group), keys.redriven(exchange, group), str(redo)]
    return bool(await _REDRIVE.run(redis, names, [letter.id]))


async def drop(redis: Redis, letter: Letter) -> bool:
    """Forget it; False if it was gone. Raises RedisError, OSError."""
    return bool(await redis.xdel(keys.dead_letters(letter.exchange, letter.group), letter.id))


async def _of(redis: Redis, exchange: str, group: str) -> AsyncIterator[Letter]:
    first = "-"
    while rows := await redis.xrange(keys.dead_letters(exchange, group), first, "+", count=_PAGE):
        for entry_id, fields in cast("Sequence[tuple[bytes, dict[bytes, bytes]]]", rows):
            yield _letter(exchange, group, entry_id, fields)
            first = f"({entry_id.decode()}"


def _letter(exchange: str, group: str, letter_id: bytes, fields: Mapping[bytes, bytes]) -> Letter:
    def said(name: str) -> str:
        return fields.get(f"dead_{name}".encode(), b"").decode(errors="replace")

    return Letter(
        exchange=exchange,
        group=group,
        id=letter_id.decode(),
        stream=said("stream"),
        entry_id=said("id"),
        consumer=said("consumer"),
        failures=int(said("failures") or 0),
        deliveries=int(said("deliveries") or 0),
        reason=said("reason"),
        at_ms=int(said("ms") or 0),
        fields={name: value for name, value in fields.items() if not name.startswith(_PREFIX)},
    )
