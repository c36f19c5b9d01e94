"""A consumer group as Redis has it: all that a reader says to Redis, and the only place that knows the replies."""

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError

from consumers.delivery import Fields, place
from ingest.contract import keys
from ingest.contract.codec import Entry
from ingest.contract.keys import BadName, StreamKey, parse_key

_PAGE = 500
_NAME = re.compile(r"[\w.-]{1,128}\Z")
_log = structlog.get_logger()

Row = tuple[bytes, Fields | None]
"""An entry's id and fields; None for one that was trimmed while it was pending."""


class Mark(NamedTuple):
    """An entry by id, generation and number."""

    id: str
    g: str
    n: int


class Claimed(NamedTuple):
    """What XAUTOCLAIM took over of one stream."""

    rows: list[Row]
    trimmed: int
    """Entries that were pending and exist no more."""
    cursor: bytes
    """Where to go on; `0-0` at the end."""


async def command(redis: Redis, *words: str | bytes | int) -> Any:
    """Its reply. Raises RedisError, OSError."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


class Script:
    """A Lua file beside this one, run by its digest and loaded where the server lacks it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, names: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """Its reply. Raises RedisError."""
        words = ("EVALSHA", self._digest, len(names), *names, *arguments)
        try:
            return await command(redis, *words)
        except NoScriptError:
            await command(redis, "SCRIPT LOAD", self._text)
            return await command(redis, *words)


def _script(name: str) -> Script:
    return Script((Path(__file__).parent / name).read_text(encoding="utf-8"))


_ENTER = _script("enter.lua")
_SETTLE = _script("settle.lua")


def connect(url: str) -> Redis:
    """A client as a Reader wants it. It never tries again on its own: a reply lost so would never be missed."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5, socket_connect_timeout=5)


def check_client(redis: Redis, block_ms: int) -> None:
    """Raise ValueError if a client so configured loses entries or hangs."""
    # What it says of itself differs by version of redis-py; what its connections do is what counts.
    connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    remedy = "make it with consumers.connect(url)"
    if connection.retry.get_retries() != 0:
        raise ValueError(
            f"this Redis client repeats reads whose reply was lost, and what was in it is lost too; {remedy}"
        )
    if connection.encoder.decode_responses:
        raise ValueError(f"this Redis client decodes replies (decode_responses), but entries are bytes; {remedy}")
    if not connection.socket_timeout or connection.socket_timeout * 1000 <= block_ms:
        raise ValueError(f"the client's socket_timeout must exceed block_ms={block_ms}; {remedy}")


class Group:
    """The group `name`, read by `consumer`; ValueError if these can be no names.

    Every method raises RedisError or OSError if Redis does not do it.
    """

    def __init__(self, redis: Redis, name: str, consumer: str) -> None:
        for each in (name, consumer):
            if not _NAME.match(each):
                raise ValueError(f"{each!r} names no group or consumer; expected letters, digits, '.', '_' and '-'")
        self.name = name
        self.consumer = consumer
        self._redis = redis
        self._keys: dict[bytes, StreamKey | None] = {}

    async def exchanges(self) -> set[str]:
        """All that were ever written to."""
        return {name.decode() for name in await command(self._redis, "SMEMBERS", keys.EXCHANGES)}

    async def streams(self, exchange: str) -> list[StreamKey]:
        """Those in the exchange's registry."""
        names: set[bytes] = await command(self._redis, "SMEMBERS", keys.streams(exchange))
        for name in names - self._keys.keys():
            try:
                self._keys[name] = parse_key(name.decode())
            except (BadName, UnicodeDecodeError) as bad:
                self._keys[name] = None
                _log.warning("not a stream", exchange=exchange, registry=keys.streams(exchange), reason=str(bad))
        return [key for key in map(self._keys.get, names) if key]

    async def enter(
        self, exchange: str, needs: Iterable[str], streams: Mapping[StreamKey, Mark | None]
    ) -> dict[StreamKey, tuple[bytes, int]]:
        """Register and stand on these streams of the exchange; `g` and `n` up to which each is handled."""
        needs = sorted(needs)
        arguments: list[str | int] = [self.name, len(needs), *needs]
        for mark in streams.values():
            arguments += mark or ("", "", "")
        names = [keys.groups(exchange), keys.handled(exchange, self.name), *map(str, streams)]
        places = {}
        for key, handled in zip(streams, await _ENTER.run(self._redis, names, arguments), strict=True):
            g, n, _count = handled.split(b" ")
            places[key] = g, int(n)
        return places

    async def new(self, streams: Iterable[StreamKey], count: int, block_ms: int) -> list[tuple[StreamKey, list[Row]]]:
        """What nobody of the group was given yet; waits `block_ms` for it if there is nothing."""
        return await self._read(dict.fromkeys(streams, b">"), "COUNT", count, "BLOCK", block_ms)

    async def own(self, after: Mapping[StreamKey, bytes], count: int) -> list[tuple[StreamKey, list[Row]]]:
        """What this consumer was given behind these ids and has not acknowledged."""
        return await self._read(after, "COUNT", count)

    async def _read(self, after: Mapping[StreamKey, bytes], *options: str | int) -> list[tuple[StreamKey, list[Row]]]:
        names = {str(key).encode(): key for key in after}
        words = ("GROUP", self.name, self.consumer, *options, "STREAMS", *names, *after.values())
        reply = await command(self._redis, "XREADGROUP", *words)
        return [(names[name], rows) for name, rows in by_stream(reply)]

    async def claim(self, cursors: Mapping[StreamKey, bytes], idle_ms: int, count: int) -> dict[StreamKey, Claimed]:
        """Take over what has been pending for so long, and not been handed out or acknowledged since."""
        pipe = self._redis.pipeline(transaction=False)
        for key, cursor in cursors.items():
            pipe.xautoclaim(str(key), self.name, self.consumer, idle_ms, cursor, count)
        replies = await pipe.execute()
        return {
            key: Claimed(rows=rows, trimmed=len(trimmed), cursor=cursor)
            for key, (cursor, rows, trimmed) in zip(cursors, replies, strict=True)
        }

    async def drop(self, key: StreamKey, ids: Sequence[bytes]) -> None:
        """Take entries that were trimmed off the pending ones; they do not count as handled."""
        await command(self._redis, "XACK", str(key), self.name, *ids)

    async def settle(
        self, exchange: str, acked: Sequence[tuple[StreamKey, Entry]]
    ) -> tuple[int, dict[StreamKey, Mark]]:
        """Acknowledge. How many were still pending, and the newest per stream."""
        # By generation, too: an entry of an earlier one that came again says nothing of how far the stream is handled.
        parts: dict[tuple[StreamKey, str], list[Entry]] = {}
        for key, entry in acked:
            parts.setdefault((key, entry.g), []).append(entry)
        marks, arguments = {}, [self.name]
        for (key, g), entries in parts.items():
            newest = max(entries, key=attrgetter("n"))
            marks[key] = Mark(newest.id, g, newest.n)
            arguments += [g, str(newest.n), str(len(entries)), *(entry.id for entry in entries)]
        names = [keys.handled(exchange, self.name), *(str(key) for key, _ in parts)]
        return await _SETTLE.run(self._redis, names, arguments), marks

    async def still_there(self, key: StreamKey, before: bytes, g: bytes, first_n: int, missing: int) -> int:
        """How many of the `missing` entries from `first_n` of `g` on the stream has, right before the id `before`."""
        found = 0
        while found < missing:
            page = min(_PAGE, missing - found)
            rows = await command(self._redis, "XREVRANGE", str(key), b"(" + before, "-", "COUNT", page)
            for _, fields in rows:
                where = place(fields)
                if where and (where[0] != g or where[1] < first_n):
                    return found
                found += 1
            if not rows:
                break
            before = rows[-1][0]
        return found

    async def record(self, exchange: str, figures: Mapping[str, int]) -> None:
        """Publish this reader's figures."""
        packed = msgspec.msgpack.encode(figures)
        # With memory full, figures may be missed: reading and acknowledging go on.
        with contextlib.suppress(OutOfMemoryError):
            await command(self._redis, "HSET", keys.readers(exchange), f"{self.name}/{self.consumer}", packed)


def by_stream(reply: Any) -> Iterable[tuple[bytes, list[Row]]]:
    """What XREAD and XREADGROUP reply, in the three forms that redis-py gives it by protocol and `legacy_responses`."""
    if not isinstance(reply, dict):
        return reply or ()
    return [(name, rows[0] if rows and isinstance(rows[0], list) else rows) for name, rows in reply.items()]
