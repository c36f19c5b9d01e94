"""The janitor: trims what all who need it have acknowledged, and tells whom it cost what when memory is short."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import cast

import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from ingest.contract import keys
from ingest.contract.events import Event
from ingest.contract.keys import BadName, parse_key
from ingest.retention.caps import MARGIN, Memory, Span, Watch, until_ms
from ingest.retention.telling import tell
from ingest.tasks import pause
from ingest.wire import closed_is_away

_HERE = Path(__file__).parent
_LEASE = (_HERE / "lease.lua").read_text(encoding="utf-8")
_TRIM = (_HERE / "look.lua").read_text(encoding="utf-8") + (_HERE / "cut.lua").read_text(encoding="utf-8")
_TRIM_DIGEST = sha1(_TRIM.encode(), usedforsecurity=False).hexdigest()

_LEASE_ROUNDS = 5  # that may be missed before another janitor takes over
_KEEP_FILLS_MS = 30 * 86_400_000
_AT_ONCE = 100  # streams in one pipeline
_SAY_EVERY_S = 10.0

_log = structlog.get_logger()


class Counters(Struct):
    """What a janitor counted."""

    rounds: int = 0
    """In which it held a lease."""
    trimmed: int = 0
    """Entries."""
    parked: int = 0
    lost: int = 0
    """Entries that groups had not read, summed over groups; those of parked ones when they return."""
    failures: int = 0


class Janitor:
    """Keeps the streams of one exchange, or of all, within limits of age and memory.

    - An entry goes once it is `keep_s` old and every registered group that needs its channel has acknowledged it. A
      group that is registered and has not come yet needs all there is. Kept besides: the newest entry of a stream,
      and of an order book all from its last snapshot on. Fills are kept for 30 days: positions are their sum.
    - With more than `soft` of the budget used, a group that holds entries up and was not active for `dead_after_s` is
      parked: it counts no more until it reads again, and is then told the range that it lost.
    - With more than `hard` of it used, the oldest entries go, whoever needs them and however young they are, until
      memory is just below that.
    - The budget is `budget_bytes`, or if that is 0, the server's maxmemory; without either there are no such caps.

    Who is parked and what groups lose is told on `md:{EX}:status` (see telling.py), once, even if the janitor dies or
    memory is full. Ages are by the clock of Redis.

    Any number of janitors may run: of each exchange the holder of a lease is at work. `owner` tells them apart, so it
    has to be another one for each.
    """

    def __init__(
        self,
        redis: Redis,
        exchange: str | None = None,
        *,
        owner: str,
        keep_s: float = 900.0,
        budget_bytes: int = 0,
        soft: float = 0.60,
        hard: float = 0.75,
        dead_after_s: float = 900.0,
        every_s: float = 2.0,
    ) -> None:
        """`redis` reads bytes, has time limits, and does not retry on its own."""
        self.counters = Counters()
        self._redis = redis
        self._exchange = exchange
        self._owner = owner
        self._keep_ms = round(keep_s * 1000)
        self._budget_bytes = budget_bytes
        self._soft = soft
        self._hard = hard
        self._dead_ms = max(1, round(dead_after_s * 1000))
        self._every_s = every_s
        self._watch = Watch(dead_after_s)
        self._say_at_s = 0.0

    async def run(self, stopping: asyncio.Event) -> None:
        """A round every `every_s`, until asked to stop. If Redis is away or refuses, it says so and tries again."""
        while not stopping.is_set():
            try:
                with closed_is_away():
                    await self.round()
            except (RedisError, OSError) as error:
                self._watch.lose()
                self._complain("no retention for now", reason=str(error) or type(error).__name__)
            await pause(stopping, self._every_s)
        with contextlib.suppress(RedisError, OSError), closed_is_away():
            for exchange in await self._exchanges():
                await self._hold(exchange, lease_ms=0)

    async def round(self) -> list[Event]:
        """Trim what is to be trimmed, where we hold the lease or can have it. Returns the events told about it.

        Raises RedisError, OSError: the next round goes on where this one stopped.
        """
        memory = await self._look()
        told: list[Event] = []
        for exchange in await self._exchanges():
            if await self._hold(exchange, lease_ms=round(self._every_s * _LEASE_ROUNDS * 1000)):
                self.counters.rounds += 1
                await self._tidy(exchange, memory)
                told += await self._tell(exchange)
        return told

    async def _look(self) -> Memory:
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.info("memory")
        (seconds, micros), facts = await pipe.execute()
        self._watch.look(seconds + micros / 1e6, time.monotonic())
        return Memory(facts["used_memory"], facts["used_memory_dataset"], self._budget_bytes or facts["maxmemory"])

    async def _exchanges(self) -> list[str]:
        return [self._exchange] if self._exchange else await self._members(keys.EXCHANGES)

    async def _members(self, name: str) -> list[str]:
        return sorted(member.decode() for member in cast("set[bytes]", await self._redis.smembers(name)))

    async def _hold(self, exchange: str, lease_ms: int) -> bool:
        return bool(await self._redis.eval(_LEASE, 1, keys.lease(exchange, "janitor"), self._owner, lease_ms))

    async def _tidy(self, exchange: str, memory: Memory) -> None:
        streams = [name for name in await self._members(keys.streams(exchange)) if self._is_stream(name)]
        dead_ms = self._dead_ms if memory.above(self._soft) and self._watch.sure else 0
        await self._trim(exchange, streams, dead_ms)
        if memory.above(self._hard):
            memory = await self._look()
            if memory.above(self._hard):
                # What is told stays to be read: it is little, and more of it is to come.
                others = [stream for stream in streams if parse_key(stream).channel != "status"]
                await self._cut(exchange, await self._spans(others), memory)

    async def _cut(self, exchange: str, spans: dict[str, Span], memory: Memory) -> None:
        """Give up as large a share of what the exchange holds as there is too much: others give up theirs."""
        if spans:
            enough_bytes = round((self._hard - MARGIN) * memory.budget)
            until = until_ms(list(spans.values()), (memory.used - enough_bytes) / max(1, memory.data))
            oldest_first = sorted(spans, key=lambda stream: spans[stream].first_ms)
            await self._trim(exchange, oldest_first, 0, until, enough_bytes)

    async def _spans(self, streams: Sequence[str]) -> dict[str, Span]:
        pipe = self._redis.pipeline(transaction=False)
        for stream in streams:
            pipe.memory_usage(stream)
            pipe.xrange(stream, count=1)
            pipe.xrevrange(stream, count=1)
        replies = iter(await pipe.execute(raise_on_error=False))
        return {
            stream: Span(used, _ms(first[0][0]), _ms(last[0][0]) + 1)
            for stream, used, first, last in zip(streams, replies, replies, replies, strict=True)
            if isinstance(last, list) and last != first  # one entry stays
        }

    async def _trim(
        self, exchange: str, streams: Sequence[str], dead_ms: int, until: int | str = "", enough_bytes: int | str = ""
    ) -> None:
        names = (keys.lease(exchange, "janitor"), keys.groups(exchange), keys.untold(exchange))
        for start in range(0, len(streams), _AT_ONCE):
            part = streams[start : start + _AT_ONCE]
            pipe = self._redis.pipeline(transaction=False)
            pipe.script_load(_TRIM)
            for stream in part:
                arguments = (*names, stream, self._owner, self._keep(stream), dead_ms, until, enough_bytes)
                pipe.evalsha(_TRIM_DIGEST, len(names) + 1, *arguments)
            _, *replies = await pipe.execute(raise_on_error=False)
            for stream, reply in zip(part, replies, strict=True):
                if isinstance(reply, Exception):
                    self._complain("stream not trimmed", stream=stream, reason=str(reply))
                else:
                    self.counters.trimmed += max(0, reply)

    def _keep(self, stream: str) -> int:
        return max(self._keep_ms, _KEEP_FILLS_MS) if parse_key(stream).channel == "fills" else self._keep_ms

    async def _tell(self, exchange: str) -> list[Event]:
        told: list[Event] = []
        # What comes of trimming may be told the round after next: memory is full, or there is much to tell.
        with contextlib.suppress(OutOfMemoryError):
            told = await tell(self._redis, exchange)
        for each in told:
            kind, _, *facts = each.s.split(" ")
            self.counters.parked += kind == "parked"
            self.counters.lost += int(facts[2]) if kind == "lost" else 0
            _log.warning("retention", exchange=exchange, record=each.s)
        return told

    def _is_stream(self, name: str) -> bool:
        try:
            parse_key(name)
        except BadName as bad:
            self._complain("not a stream", reason=str(bad))
            return False
        return True

    def _complain(self, what: str, **facts: str) -> None:
        self.counters.failures += 1
        if time.monotonic() >= self._say_at_s:
            self._say_at_s = time.monotonic() + _SAY_EVERY_S
            _log.warning(what, **facts)


def _ms(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
