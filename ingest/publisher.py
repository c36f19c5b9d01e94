"""Events into Redis Streams: in order, in batches, each exactly once."""

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import NoReturn

import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from ingest import wire
from ingest.backlog import Backlog
from ingest.backoff import Backoff
from ingest.barrier import synced, trusted
from ingest.contract import keys
from ingest.contract.append import SCRIPT, Appended, Batch, appended, batch
from ingest.contract.events import Event
from ingest.contract.keys import EXCHANGES, StreamKey, line_key
from ingest.losses import Place, mend
from ingest.refusals import Refusals
from ingest.spill import Spill
from ingest.tail import Durability, Kept, Tail
from ingest.tasks import pause
from ingest.trouble import Complaints, address, remedy

FLUSH_EVENTS = 500
FLUSHES_IN_FLIGHT = 4  # times FLUSH_EVENTS: no more than the identities that the script's `window` rule remembers
_REPLY_WITHIN_S = 5.0
_LISTEN_S = 1.0
_FINISH_WITHIN_S = 5.0
_BACKOFF = Backoff(first_s=0.1, most_s=5.0)
_TAIL_BYTES = 64 << 20
_SYNC_EVERY_S = 1.0

log = structlog.get_logger()


class ServerLost(ConnectionError):
    """A stream is not the one that we know: whatever is not on disk is sent again, on a new connection."""


class CannotAppend(Exception):
    """Redis refuses, and no retry mends it: a password, a right, a key of another type, the script itself."""


class Counters(Struct):
    """What a publisher counted, in events where nothing else is said.

    `put` is the sum of the six behind it, without those that were sent once more because the server had lost them.
    """

    put: int = 0
    appended: int = 0
    duplicates: int = 0
    refused: int = 0
    queued: int = 0
    unconfirmed: int = 0
    spilled: int = 0
    lost_on_disk: int = 0
    again: int = 0
    flushes: int = 0
    connects: int = 0


class _Flush(Struct, frozen=True):
    number: int
    batch: Batch
    spilled: int | None = None
    """It lay on disk, up to this number, and does so until it is confirmed."""


class _Call(Struct, frozen=True):
    flush: _Flush
    line: str
    number: int
    size_bytes: int


class Publisher:
    """One exchange's way into Redis: a bounded queue, and one connection with several flushes in flight.

    When it breaks, or Redis answers with an error, nobody knows which flushes were carried out. So all that are not
    confirmed are sent again, unchanged and in order: the script drops what a stream has already. And when the server
    comes back without something that it had confirmed, so is all that may not have been on its disk.
    """

    def __init__(
        self,
        redis: Redis,
        exchange: str,
        *,
        bound: int = 10_000,
        durability: Durability = "everysec",
        spill: Spill | None = None,
    ) -> None:
        """`redis` has time limits, reads bytes, and does not retry on its own: a second try unknown to us reorders."""
        self._redis = redis
        self._exchange = exchange
        self._backlog = Backlog(bound, spill)
        self._unconfirmed: deque[_Flush] = deque()
        self._calls: deque[_Call] = deque()
        self._line = ""
        self._over = asyncio.Event()
        self._durability = durability
        self._tail = Tail()
        self._places: dict[StreamKey, Place] = {}
        self._fences: dict[StreamKey, int] = {}
        self._refusals = Refusals()
        self._complaints = Complaints(exchange=exchange, redis=address(redis))
        self._wake = asyncio.Event()
        self._below = asyncio.Event()
        self._finish_by_s: float | None = None
        self._failures = 0
        self._counters = Counters()

    def put(self, event: Event) -> None:
        """Take an event; events are written in the order in which they were put. Whoever puts minds `full`."""
        self._backlog.put(event)
        self._wake.set()

    @property
    def full(self) -> bool:
        """Whether whoever puts must await `room` first: too much is queued, or not yet on the server's disk."""
        return self._backlog.full or self._tail.size_bytes >= _TAIL_BYTES

    async def room(self) -> None:
        """Return once the queue is below its bound, however long Redis is away."""
        while self.full:
            self._below.clear()
            await self._below.wait()

    @property
    def counters(self) -> Counters:
        """As of now."""
        now = self._counters
        now.queued = self._backlog.in_memory
        now.spilled = self._backlog.on_disk
        now.lost_on_disk = self._backlog.lost_on_disk
        now.unconfirmed = sum(flush.batch.entries for flush in self._unconfirmed)
        now.put = now.appended + now.duplicates + now.refused + now.queued + now.unconfirmed + now.spilled - now.again
        return now

    def take_refusals(self, streams: Collection[StreamKey]) -> list[Appended]:
        """Those of the streams that did not take what was said, with where they stand; each incident is told once.

        The caller has the rest said again before it puts anything else of them: that counts as the answer.
        """
        taken = self._refusals.take(streams, self._counters.flushes)
        if taken:
            # What is queued does not join either, and in one flush with the answer it would drag that down.
            self._counters.refused += self._backlog.remove({refusal.key for refusal in taken})
            self._below.set()
        return taken

    async def positions(self, streams: Sequence[StreamKey]) -> dict[StreamKey, str]:
        """The ids at which the streams stand, of those that have any. Raises RedisError, OSError."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in streams:
            pipeline.hget(key.state, "last")
        with wire.closed_is_away():
            lasts: list[bytes | None] = await pipeline.execute()
        return {key: last.decode() for key, last in zip(streams, lasts, strict=True) if last is not None}

    def fence(self, streams: Collection[StreamKey], number: int) -> None:
        """From now on these are written under this number."""
        self._fences |= dict.fromkeys(streams, number)

    def finish(self) -> None:
        """Ask `run` to end once everything in memory is written, or when Redis stays away for five more seconds."""
        self._finish_by_s = time.monotonic() + _FINISH_WITHIN_S
        self._wake.set()

    @property
    def _finished(self) -> bool:
        return self._leaving and not self._unconfirmed

    @property
    def _leaving(self) -> bool:
        """Asked to finish, and nothing is left but what lies on disk: that is the next worker's."""
        return self._finish_by_s is not None and not self._backlog.in_memory

    async def run(self) -> int:
        """Write until asked to finish. Returns how many events could not be written. Raises CannotAppend."""
        syncing = asyncio.create_task(self._follow_the_disk())
        try:
            return await self._write_all()
        finally:
            self._over.set()
            await syncing

    async def _write_all(self) -> int:
        while not self._finished:
            try:
                with wire.closed_is_away():
                    await self._converse()
            except (RedisError, OSError) as error:
                await self._failed(error)
                wait_s = _BACKOFF.delay_s(self._failures, random.random())
                if self._finish_by_s is not None and time.monotonic() + wait_s > self._finish_by_s:
                    break
                await asyncio.sleep(wait_s)
        return self.counters.queued + self.counters.unconfirmed

    async def _converse(self) -> None:
        """One connection, until we are finished or it fails. TLS, rights and data base are the pool's business."""
        pool = self._redis.connection_pool
        connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            digest = (await wire.ask(connection, "SCRIPT", "LOAD", SCRIPT)).decode()
            await wire.ask(connection, "SADD", EXCHANGES, self._exchange)
            self._counters.connects += 1
            # The server's word is what counts: where it stands behind what it confirmed, it has lost that.
            if mended := await mend(connection, digest, self._places):
                self._places |= mended
                self._send_tail_again()
            await self._send_and_confirm(connection, digest)
        finally:
            await connection.disconnect(nowait=True)
            await pool.release(connection)

    def _send_tail_again(self) -> None:
        """Before all else, unchanged: what the streams have still is dropped there."""
        kept = [_Flush(kept.flush, kept.batch) for kept in self._tail.take()]
        self._counters.again += sum(flush.batch.entries for flush in kept)
        self._unconfirmed.extendleft(reversed(kept))

    async def _send_and_confirm(self, connection: AbstractConnection, digest: str) -> None:
        """Side by side, so that no flush waits for the reply to another. The first to fail ends both."""
        confirming = asyncio.create_task(self._confirm(connection))
        try:
            await self._send(connection, digest, confirming)
        finally:
            # The end of the connection ends the read. A cancellation might not: redis-py can swallow it.
            await connection.disconnect(nowait=True)
            (outcome,) = await asyncio.gather(confirming, return_exceptions=True)
        if not self._finished:
            raise outcome

    async def _send(self, connection: AbstractConnection, digest: str, confirming: asyncio.Task[NoReturn]) -> None:
        """First what was not confirmed before, then all that is queued as soon as it is: never waits for more."""
        again = deque(self._unconfirmed)
        self._line, number = secrets.token_hex(4), 0
        self._calls.clear()
        while not confirming.done() and not self._finished:
            if again:
                flush = again.popleft()
            elif len(self._unconfirmed) < FLUSHES_IN_FLIGHT and not self._leaving and (fresh := self._next_flush()):
                flush = fresh
            else:
                self._wake.clear()
                await self._wake.wait()
                continue
            number += 1
            known = {key: self._places[key].g for key in flush.batch.streams if key in self._places}
            command = wire.call(digest, flush.batch.arguments(known, self._line, number))
            self._calls.append(_Call(flush, self._line, number, len(command)))
            await wire.write(connection, command)

    def _next_flush(self) -> _Flush | None:
        taken = self._backlog.take(FLUSH_EVENTS)
        if not self.full:
            self._below.set()
        if not taken.events:
            return None
        self._counters.flushes += 1
        # A generation for each flush: two births of a stream, before and after its server lost it, are never alike.
        flush = _Flush(self._counters.flushes, batch(secrets.token_hex(4), taken.events), taken.spilled)
        self._unconfirmed.append(flush)
        return flush

    async def _confirm(self, connection: AbstractConnection) -> NoReturn:
        """Read the replies, which come in the order of the flushes; the end of an idle connection shows here, too."""
        silent_s = 0.0
        try:
            while silent_s < _REPLY_WITHIN_S:
                expected = bool(self._unconfirmed)
                reply = await connection.read_response(timeout=_LISTEN_S, disconnect_on_error=False)
                if reply is not None:
                    silent_s = 0.0
                    self._settle(self._calls.popleft(), reply)
                    self._wake.set()
                elif expected:
                    silent_s += _LISTEN_S
            raise TimeoutError(f"no reply for {silent_s:g} s")
        finally:
            self._wake.set()

    def _settle(self, call: _Call, reply: Sequence[bytes]) -> None:
        counters, flush = self._counters, call.flush
        streams = appended(flush.batch, reply)
        if lost := [str(stream.key) for stream in streams if stream.lost]:
            raise ServerLost(f"the server lost {', '.join(lost)}")
        self._unconfirmed.popleft()
        self._keep(call)
        if flush.spilled is not None:
            self._backlog.confirm(flush.spilled)
        for stream in streams:
            if stream.g:
                self._places[stream.key] = Place(stream.g, stream.n)
            counters.appended += stream.appended
            counters.duplicates += stream.handled - stream.appended
            counters.refused += flush.batch.count(stream.key) - stream.handled
            self._refusals.hear(flush.number, stream)
        self._failures = 0
        self._complaints.over()

    def _keep(self, call: _Call) -> None:
        if self._durability in ("everysec", "confirmed"):
            flush, now_s = call.flush, time.monotonic()
            self._tail.keep(Kept(flush.number, flush.batch, call.line, call.number, now_s, call.size_bytes))

    async def _follow_the_disk(self) -> None:
        """Let go of what is there: as the server says where it can be trusted, else by the clock."""
        asking = self._durability == "confirmed"
        probe = f"{keys.streams(self._exchange)}:barrier"
        tested = False
        while not self._over.is_set():
            try:
                if asking and not tested:
                    with wire.closed_is_away():
                        asking, tested = await trusted(self._redis, probe), True
                    log.info(
                        "durability", exchange=self._exchange, waitaof="trusted" if asking else "not to be trusted"
                    )
                if asking:
                    line = self._line
                    with wire.closed_is_away():
                        number = await synced(self._redis, line_key(self._exchange, line), probe)
                    if number is not None and line == self._line:
                        self._tail.let_go_by_call(line, number)
                else:
                    self._tail.let_go_by_time(time.monotonic())
            except (RedisError, OSError):
                pass  # whoever writes says so; nothing is let go meanwhile
            if not self.full:
                self._below.set()
            await pause(self._over, _SYNC_EVERY_S)

    async def _failed(self, error: RedisError | OSError) -> None:
        """Raises CannotAppend if waiting is no use."""
        waiting = self.counters.queued + self.counters.unconfirmed
        streams = {key for flush in self._unconfirmed for key in flush.batch.streams}
        what_to_do = await remedy(error, self._redis, self._exchange, streams)
        if what_to_do:
            raise CannotAppend(f"{address(self._redis)}: {error}; {what_to_do} ({waiting} events are not written)")
        self._failures += 1
        self._complaints.say(str(error) or type(error).__name__, waiting=waiting)
