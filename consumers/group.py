"""A consumer group as Redis has it: all that a reader says to Redis, and the only place that knows the replies."""

import contextlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from consumers.client import Row, Script, by_stream, command
from consumers.continuity import place
from consumers.delivery import Command
from ingest.contract import keys
from ingest.contract.keys import BadName, StreamKey, parse_key

_PAGE = 500
MOST_DEAD = 10_000
"""Dead letters of one group at one exchange. What is more is left pending, and its stream waits."""
_NAME = re.compile(r"[\w.-]{1,128}\Z")
_log = structlog.get_logger()


class Mark(NamedTuple):
    """An entry by id, generation and number."""

    id: str
    g: str
    n: int


class Tenancy(NamedTuple):
    """Who owns the part that a stream is in, and under which fence; nobody does where readers compete."""

    member: str = ""
    shard: int = 0
    fence: int = 0


class Part(NamedTuple):
    """Entries of one stream and generation that are dealt with."""

    key: StreamKey
    marks: Sequence[Mark]
    tenancy: Tenancy = Tenancy()


class Standing(NamedTuple):
    """How far a group has handled a stream."""

    g: bytes
    n: int


class Claimed(NamedTuple):
    """What XAUTOCLAIM took over of one stream."""

    rows: list[Row]
    trimmed: int
    """Entries that were pending and exist no more."""
    cursor: bytes
    """Where to go on; `0-0` at the end."""


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


_ENTER = Script(_text("enter.lua"))
_SETTLE = Script(_text("fence.lua") + _text("settle.lua"))
_COMMIT = Script(_text("fence.lua") + _text("commit.lua"))
_BURY = Script(_text("fence.lua") + _text("bury.lua"))
_GATHER = Script(_text("gather.lua"))
_TAKE_BACK = Script(_text("fence.lua") + _text("take_back.lua"))
_TOUCH = Script(_text("touch.lua"))
_TIDY = Script(_text("tidy.lua"))
_STALE_MS = 86_400_000


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

    async def redriven(self, exchange: str) -> list[StreamKey]:
        """Streams of this group alone, with dead letters that it is to handle after all."""
        names: set[bytes] = await command(self._redis, "SMEMBERS", keys.redriven(exchange, self.name))
        symbols = (name.decode().partition(f"redo-{self.name}")[2].lstrip(":") for name in names)
        return [keys.redo(self.name, exchange, symbol.replace("-", "/", 1)) for symbol in symbols]

    async def enter(
        self, exchange: str, needs: Iterable[str], streams: Sequence[StreamKey], *, in_order: bool
    ) -> dict[StreamKey, Standing]:
        """Register and stand on these streams of the exchange; up to where each is handled."""
        names = [keys.groups(exchange), keys.handled(exchange, self.name), keys.buried(exchange, self.name)]
        names += map(str, streams)
        arguments: list[str | int] = [self.name, int(in_order), *sorted(needs)]
        replies: list[bytes] = await _ENTER.run(self._redis, names, arguments)
        places = (handled.split(b" ") for handled in replies)
        return {key: Standing(g, int(n)) for key, (g, n, *_) in zip(streams, places, strict=True)}

    async def enter_redriven(self, key: StreamKey) -> None:
        """Stand on a stream of this group alone."""
        try:
            await command(self._redis, "XGROUP CREATE", str(key), self.name, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith(("BUSYGROUP", "OOM")):
                raise

    async def gather(self, key: StreamKey) -> int:
        """Take over all that is pending, whoever has it. How many of these entries exist no more."""
        trimmed: int = await _GATHER.run(self._redis, [str(key)], [self.name, self.consumer])
        return trimmed

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

    async def take_back(self, key: StreamKey, g: bytes, ids: Sequence[bytes]) -> int:
        """Have these entries of one generation pending for this consumer, whoever had them or let them go.

        Those that the group, which handles in order, has handled are left alone; up to which `n` it has, or 0.
        """
        handled = 0
        for i in range(0, len(ids), _PAGE):
            names = [str(key), keys.handled(key.exchange, self.name)]
            handled = await _TAKE_BACK.run(self._redis, names, [self.name, self.consumer, g, *ids[i : i + _PAGE]])
        return handled

    async def touch(self, in_hand: Mapping[StreamKey, Sequence[bytes]]) -> None:
        """Keep others from claiming these entries of one exchange."""
        arguments: list[str | bytes | int] = [self.name, self.consumer]
        for ids in in_hand.values():
            arguments += (len(ids), *ids)
        await _TOUCH.run(self._redis, list(map(str, in_hand)), arguments)

    async def settle(self, exchange: str, parts: Sequence[Part], tried: Sequence[str] = ()) -> list[int]:
        """Acknowledge, and forget the tries. Of each part how many were still pending, -1 if it is another's."""
        member = next((part.tenancy.member for part in parts), "")
        forgotten = [f"{name} {what}" for name in tried for what in ("failures", "deliveries")]
        arguments: list[str | int] = [self.name, member, len(forgotten), *forgotten]
        for part in parts:
            newest = max(part.marks, key=attrgetter("n"))
            ids = [mark.id for mark in part.marks]
            arguments += (part.tenancy.shard, part.tenancy.fence, *newest, len(ids), *ids)
        names = [*self._companions(exchange), *(str(part.key) for part in parts)]
        settled: list[int] = await _SETTLE.run(self._redis, names, arguments)
        return settled

    async def commit(self, key: StreamKey, mark: Mark, tenancy: Tenancy, commands: Sequence[Command]) -> int:
        """1 if it was done now, 0 if before, -1 if the stream is another's, -2 if it is not pending."""
        names = [*self._companions(key.exchange), str(key), *(str(words[1]) for words in commands)]
        arguments: list[str | bytes | int | float] = [self.name, *tenancy, *mark]
        for words in commands:
            arguments += (len(words), *words)
        done: int = await _COMMIT.run(self._redis, names, arguments)
        return done

    async def bury(self, key: StreamKey, mark: Mark, tenancy: Tenancy, letter: Sequence[str | bytes | int]) -> int:
        """1 if it was done, 0 if there was nothing to do, -1 if the stream is another's, -2 if there is no room."""
        exchange = key.exchange
        names = [keys.dead_letters(exchange, self.name), keys.buried(exchange, self.name)]
        names += [*self._companions(exchange), str(key)]
        buried: int = await _BURY.run(self._redis, names, [self.name, *tenancy, *mark, MOST_DEAD, *letter])
        return buried

    async def tried(self, exchange: str, tried: str, what: str) -> int:
        """Count one more failure or delivery of the entry; how many there were. 1 if memory is full."""
        with contextlib.suppress(OutOfMemoryError):
            count: int = await command(self._redis, "HINCRBY", keys.tries(exchange, self.name), f"{tried} {what}", 1)
            return count
        return 1

    async def deliveries(self, exchange: str, tried: str) -> int:
        """How many deliveries of the entry are noted."""
        return int(await command(self._redis, "HGET", keys.tries(exchange, self.name), f"{tried} deliveries") or 0)

    def _companions(self, exchange: str) -> tuple[str, str, str]:
        return (
            keys.handled(exchange, self.name),
            keys.shards(exchange, self.name),
            keys.tries(exchange, self.name),
        )

    async def before(
        self, key: StreamKey, entry_id: bytes, g: bytes, first_n: int, missing: int, after: bytes = b""
    ) -> list[bytes]:
        """Of the `missing` entries from `first_n` of `g` on, those that the stream has between these two ids."""
        found: list[bytes] = []
        until = b"(" + after if after else b"-"
        while len(found) < missing:
            page = min(_PAGE, missing - len(found))
            rows = await command(self._redis, "XREVRANGE", str(key), b"(" + entry_id, until, "COUNT", page)
            for entry_id, fields in rows:
                where = place(fields)
                if where and (where[0] != g or where[1] < first_n):
                    return found
                found.append(entry_id)
            if len(rows) < page:
                break
        return found

    async def record(self, exchange: str, reader: str, figures: Mapping[str, int]) -> None:
        """Publish the figures of this reader, by whatever name."""
        packed = msgspec.msgpack.encode(figures)
        # With memory full, figures may be missed: reading and acknowledging go on.
        with contextlib.suppress(OutOfMemoryError):
            await command(self._redis, "HSET", keys.readers(exchange), f"{self.name}/{reader}", packed)

    async def tidy(self, exchange: str, streams: Iterable[StreamKey]) -> None:
        """Forget the names of consumers and readers of this group of which nothing was heard for a day."""
        for key in streams:
            await _TIDY.run(self._redis, [str(key)], [self.name, self.consumer, _STALE_MS])
        before_ns = time.time_ns() - _STALE_MS * 1_000_000
        for reader, packed in (await command(self._redis, "HGETALL", keys.readers(exchange))).items():
            figures = msgspec.msgpack.decode(packed, type=dict[str, int])
            if reader.startswith(f"{self.name}/".encode()) and figures["seen_ns"] < before_ns:
                await command(self._redis, "HDEL", keys.readers(exchange), reader)
