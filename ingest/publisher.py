"""Events into Redis Streams: in order, in batches, each exactly once."""

import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import Collection, Sequence

import hiredis
import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from ingest.backoff import Backoff
from ingest.contract.append import SCRIPT, Appended, Batch, appended, batch
from ingest.contract.events import Event
from ingest.contract.keys import EXCHANGES, StreamKey

FLUSH_EVENTS = 500
FLUSHES_IN_FLIGHT = 4
_FINISH_WITHIN_S = 5.0
_BACKOFF = Backoff(first_s=0.1, most_s=5.0)

log = structlog.get_logger()


class CannotAppend(Exception):
    """Redis refuses in a way that no retry mends: rights, a password, a key of another type, another script."""


class Counters(Struct):
    """What a publisher counted since it started; `queued` and `unconfirmed` are of now."""

    put: int = 0
    appended: int = 0
    duplicates: int = 0
    refused: int = 0
    flushes: int = 0
    connects: int = 0
    queued: int = 0
    unconfirmed: int = 0


class _Flush(Struct, frozen=True):
    number: int
    batch: Batch
    command: bytes


class Publisher:
    """One exchange's way into Redis: a bounded buffer, and one connection on which several flushes are in flight."""

    def __init__(self, redis: Redis, exchange: str, *, bound: int = 10_000) -> None:
        """`redis` must not retry on its own: what was sent twice without our knowledge could not be told apart."""
        self._redis = redis
        self._exchange = exchange
        self._bound = bound
        self._generation = uuid.uuid4().hex[:16]
        self._queue: deque[Event] = deque()
        self._unconfirmed: deque[_Flush] = deque()
        self._refusals: dict[StreamKey, Appended] = {}
        self._told: dict[StreamKey, int] = {}
        self._work = asyncio.Event()
        self._sent = asyncio.Event()
        self._room = asyncio.Event()
        self._finish_by_s: float | None = None
        self._counters = Counters()

    def put(self, event: Event) -> None:
        """Take an event; it is written in the order of the puts. The caller minds `full`."""
        self._counters.put += 1
        self._queue.append(event)
        self._work.set()

    @property
    def full(self) -> bool:
        """Whether whoever puts should wait for `room` first."""
        return len(self._queue) >= self._bound

    async def room(self) -> None:
        """Return once the buffer is below its bound."""
        while self.full:
            self._room.clear()
            await self._room.wait()

    @property
    def counters(self) -> Counters:
        """As of now; `put` is what came in, and all of it is appended, a duplicate, refused, queued or unconfirmed."""
        self._counters.queued = len(self._queue)
        self._counters.unconfirmed = sum(flush.batch.entries for flush in self._unconfirmed)
        return self._counters

    def take_refusals(self, streams: Collection[StreamKey]) -> list[Appended]:
        """Those of the streams that do not take what was said. The caller has it said again, from `last` on, right now.

        What is queued of them is therefore taken out, and flushes of them that are in flight will be refused for the
        same reason: that is no news, so each incident is told once.
        """
        if not self._refusals:
            return []
        taken = [self._refusals.pop(key) for key in streams if key in self._refusals]
        stale = {refusal.key for refusal in taken}
        self._told.update(dict.fromkeys(stale, self._counters.flushes))
        kept = [event for event in self._queue if event.key not in stale]
        self._counters.refused += len(self._queue) - len(kept)
        self._queue = deque(kept)
        return taken

    async def positions(self, streams: Sequence[StreamKey]) -> dict[StreamKey, str]:
        """The ids at which streams stand, where they have any. Raises RedisError, OSError."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in streams:
            pipeline.hget(key.state, "last")
        lasts: list[bytes | None] = await pipeline.execute()
        return {key: last.decode() for key, last in zip(streams, lasts, strict=True) if last is not None}

    def finish(self) -> None:
        """Ask `run` to end once everything is written, or five seconds have passed without Redis."""
        self._finish_by_s = time.monotonic() + _FINISH_WITHIN_S
        self._sent.set()

    async def run(self) -> int:
        """Write until asked to finish; the number of events that could not be written. Raises CannotAppend."""
        failures = 0
        while True:
            confirmed = self._counters.appended + self._counters.duplicates
            try:
                await self._converse()
            except (RedisError, OSError) as error:
                await self._hopeless(error)
                failures = 1 if self._counters.appended + self._counters.duplicates > confirmed else failures + 1
            else:
                return 0
            wait_s = _BACKOFF.delay_s(failures, random.random())
            if self._finish_by_s is not None and time.monotonic() + wait_s > self._finish_by_s:
                return self.counters.queued + self.counters.unconfirmed
            await asyncio.sleep(wait_s)

    async def _converse(self) -> None:
        """One connection's life: what was unconfirmed before goes again, unchanged; the script drops what it has."""
        pool = self._redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            digest = await self._redis.script_load(SCRIPT)
            await self._redis.sadd(EXCHANGES, self._exchange)
            self._counters.connects += 1
            log.info("redis", exchange=self._exchange, state="connected", again=len(self._unconfirmed))
            for flush in self._unconfirmed:
                await connection.send_packed_command(flush.command, check_health=False)
            await self._exchange_with(connection, digest)
        finally:
            await connection.disconnect(nowait=True)
            await pool.release(connection)

    async def _exchange_with(self, connection: AbstractConnection, digest: str) -> None:
        """Send and confirm side by side. Neither is ever cancelled: inside redis-py a cancellation can be swallowed."""
        confirming = asyncio.create_task(self._confirm(connection))
        confirming.add_done_callback(lambda _: self._work.set())
        try:
            while not confirming.done():
                if self._queue and len(self._unconfirmed) < FLUSHES_IN_FLIGHT:
                    await self._send(connection, digest)
                else:
                    self._work.clear()
                    await self._work.wait()
        finally:
            if not confirming.done():
                await connection.disconnect(nowait=True)  # ends its read
                self._sent.set()
            await asyncio.wait((confirming,))
        confirming.result()

    async def _send(self, connection: AbstractConnection, digest: str) -> None:
        """All that is queued, up to 500; never waits for more."""
        queue = self._queue
        sent = batch(self._generation, [queue.popleft() for _ in range(min(len(queue), FLUSH_EVENTS))])
        self._counters.flushes += 1
        command = hiredis.pack_command(("EVALSHA", digest, *sent.arguments))  # type: ignore[arg-type]
        self._unconfirmed.append(_Flush(self._counters.flushes, sent, command))
        self._sent.set()
        if not self.full:
            self._room.set()
        await connection.send_packed_command(command, check_health=False)

    async def _confirm(self, connection: AbstractConnection) -> None:
        """Read the replies, which come in the order of the flushes, until all is written that ever will be."""
        while self._unconfirmed or self._queue or self._finish_by_s is None:
            if not self._unconfirmed:
                self._sent.clear()
                await self._sent.wait()
                continue
            reply = await connection.read_response()
            flush = self._unconfirmed.popleft()
            self._work.set()
            for stream in appended(flush.batch, reply):
                self._settle(flush, stream)

    def _settle(self, flush: _Flush, stream: Appended) -> None:
        self._counters.appended += stream.appended
        self._counters.duplicates += stream.handled - stream.appended
        if stream.refused:
            self._counters.refused += flush.batch.counts[stream.key] - stream.handled
            if flush.number > self._told.get(stream.key, 0):
                self._refusals.setdefault(stream.key, stream)

    async def _hopeless(self, error: RedisError | OSError) -> None:
        """Raise CannotAppend if no retry can help; else say what is wrong."""
        text = str(error)
        if isinstance(error, NoPermissionError | AuthenticationError):
            raise CannotAppend(
                f"{text}: give this user the right to run the append script on md:{{{self._exchange}}}:*"
            )
        if "WRONGTYPE" in text:
            raise CannotAppend(
                f"{await self._wrong_keys()}: {text}; remove the key, or use another data base"
            ) from error
        if "user_script" in text:
            raise CannotAppend(f"the append script failed: {text}") from error
        log.warning("redis", exchange=self._exchange, state="away", reason=text, waiting=len(self._queue))

    async def _wrong_keys(self) -> str:
        streams = {key for flush in self._unconfirmed for key in flush.batch.counts}
        types = {str(key): await self._redis.type(str(key)) for key in streams}
        return ", ".join(
            f"{key} is a {kind.decode()}" for key, kind in types.items() if kind not in (b"stream", b"none")
        )
