"""Events into Redis Streams: in order, in batches, each exactly once."""

import asyncio
import contextlib
import random
import time
from collections.abc import Collection, Sequence
from math import inf
from typing import NoReturn

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from ingest import wire
from ingest.backlog import Backlog, Flush
from ingest.backoff import Backoff
from ingest.barrier import Barrier
from ingest.contract.append import SCRIPT, Appended
from ingest.contract.events import Event
from ingest.contract.keys import EXCHANGES, StreamKey
from ingest.exchanges.exchange import Standing
from ingest.losses import doubt, mend
from ingest.outbox import Counters, Outbox
from ingest.spill import Spill
from ingest.tail import SYNCED_AFTER_S, Durability, Place, Tail
from ingest.tasks import pause
from ingest.trouble import Complaints, Waiting, address, remedy
from ingest.writers import Billboard, Figures, Share

FLUSHES_IN_FLIGHT = 4  # times FLUSH_EVENTS: no more than the identities that the script's `window` rule remembers
_REPLY_WITHIN_S = 5.0
_LISTEN_S = 1.0
_FINISH_WITHIN_S = 5.0
_BACKOFF = Backoff(first_s=0.1, most_s=5.0)
_TAIL_BYTES = 64 << 20
_SYNC_EVERY_S = 1.0

log = structlog.get_logger()


class CannotAppend(Exception):
    """Redis refuses, and no retry mends it: a password, a right, a key of another type, the script itself."""


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
        writer: str = "writer",
    ) -> None:
        """`redis` has time limits, reads bytes, and does not retry on its own: a second try unknown to us reorders.

        `writer` names this one among the exchange's writers; no other has that name at the same time.
        """
        self._redis = redis
        self._exchange = exchange
        self._over = asyncio.Event()
        self._durability = durability
        self._tail = Tail()
        self._outbox = Outbox(Backlog(bound, spill), self._tail, keeps=durability in ("everysec", "confirmed"))
        self._billboard = Billboard(redis, exchange, writer)
        self._complaints = Complaints(exchange=exchange, redis=address(redis))
        self._wake = asyncio.Event()
        self._below = asyncio.Event()
        self._full_since_s: float | None = None
        self._waited_s = 0.0
        self._ending = asyncio.Event()
        self._finish_by_s: float | None = None
        self._worked = False
        self._failures = 0

    def put(self, event: Event) -> None:
        """Take an event; events are written in the order in which they were put. Whoever puts minds `full`."""
        self._outbox.backlog.put(event)
        self._wake.set()

    @property
    def full(self) -> bool:
        """Whether whoever puts must await `room` first: neither memory nor disk takes more."""
        return self._outbox.backlog.full

    async def room(self) -> None:
        """Return once the queue is below its bound, however long Redis is away."""
        while self.full:
            self._below.clear()
            self._full_since_s = self._full_since_s or time.monotonic()
            await self._below.wait()

    @property
    def counters(self) -> Counters:
        """As of now."""
        counters = self._outbox.counters
        counters.waited_s = self._waited_s + (time.monotonic() - self._full_since_s if self._full_since_s else 0.0)
        return counters

    def take_refusals(self, streams: Collection[StreamKey]) -> list[Appended]:
        """Those of the streams that did not take what was said, with where they stand; each incident is told once.

        The caller has the rest said again before it puts anything else of them: that counts as the answer.
        """
        taken = self._outbox.take_refusals(streams)
        self._make_room()
        return taken

    async def standings(self, streams: Sequence[StreamKey]) -> dict[StreamKey, Standing]:
        """Where the streams stand, of those that have a state. Raises RedisError, OSError."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in streams:
            pipeline.hgetall(key.state)
        with wire.closed_is_away():
            states: list[dict[bytes, bytes]] = await pipeline.execute()
        return {key: _standing(state) for key, state in zip(streams, states, strict=True) if state}

    def fence(self, streams: Collection[StreamKey], number: int) -> None:
        """Write to these only while nobody with a higher number has."""
        self._outbox.fences.update((key, number) for key in streams)

    def finish(self) -> None:
        """Ask `run` to end once everything in memory is written, or when Redis stays away for five more seconds.

        What then is not written goes to the spill, if there is one.
        """
        self._finish_by_s = time.monotonic() + _FINISH_WITHIN_S
        self._failures = 0  # five seconds of short waits
        self._ending.set()
        self._wake.set()

    @property
    def _finished(self) -> bool:
        return self._leaving and not self._outbox.backlog.unconfirmed

    @property
    def _leaving(self) -> bool:
        """Asked to finish, and nothing is left but what lies on disk: that is the next worker's."""
        return self._finish_by_s is not None and not self._outbox.backlog.in_memory

    async def run(self) -> int:
        """Write until asked to finish. Returns how many events are lost: neither written nor on disk.

        Raises CannotAppend where waiting is no use: before anything was written, that is. Later on somebody has changed
        the server under us, and will want what we have when that is mended; then only the end tells.
        """
        following = asyncio.create_task(self._follow_the_disk())
        try:
            await self._write_all()
        finally:
            self._outbox.backlog.stow()
            self._over.set()
            await following
        await self._say_figures(ended=True)
        if left := self._outbox.backlog.left_on_disk:
            log.warning("events left on disk for the next worker", exchange=self._exchange, events=left)
        return self._outbox.backlog.unsaved

    async def _write_all(self) -> None:
        while not self._finished:
            try:
                with wire.closed_is_away():
                    await self._converse()
            except (RedisError, OSError) as error:
                wait_s = await self._failed(error)
                if self._finish_by_s is None:
                    await pause(self._ending, wait_s)
                elif time.monotonic() + wait_s > self._finish_by_s:
                    break
                else:
                    await asyncio.sleep(wait_s)

    async def _converse(self) -> None:
        """One connection, until we are finished or it fails. TLS, rights and data base are the pool's business."""
        pool = self._redis.connection_pool
        connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            digest = (await wire.ask(connection, "SCRIPT", "LOAD", SCRIPT)).decode()
            await wire.ask(connection, "SADD", EXCHANGES, self._exchange)
            # The server's word is what counts: where it stands behind what it confirmed, it has lost that.
            mended, renewed = await mend(connection, digest, self._outbox.places, self._tail)
            if mended:
                self._outbox.places |= mended
                self._outbox.send_tail_again()
            self._outbox.places |= await doubt(connection, digest, self._exchange, renewed)
            await self._send_and_confirm(connection, digest)
        finally:
            await connection.disconnect(nowait=True)
            await pool.release(connection)

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
        outbox = self._outbox
        again = outbox.begin_line()
        while not confirming.done() and not self._finished:
            if again:
                flush = again.popleft()
            elif self._may_send and (fresh := self._next_flush()):
                flush = fresh
            else:
                self._wake.clear()
                await self._wake.wait()
                continue
            await wire.write(connection, outbox.call(digest, flush))

    @property
    def _may_send(self) -> bool:
        """Whether more may be on its way, or wait for the server's disk; at the end, nothing waits for that."""
        if self._leaving or len(self._outbox.backlog.unconfirmed) >= FLUSHES_IN_FLIGHT:
            return False
        return self._tail.size_bytes < _TAIL_BYTES or self._finish_by_s is not None

    def _next_flush(self) -> Flush | None:
        flush = self._outbox.backlog.take()
        self._make_room()
        return flush

    async def _confirm(self, connection: AbstractConnection) -> NoReturn:
        """Read the replies, which come in the order of the flushes; the end of an idle connection shows here, too."""
        silent_s = 0.0
        try:
            while silent_s < _REPLY_WITHIN_S:
                expected = bool(self._outbox.backlog.unconfirmed)
                reply = await connection.read_response(timeout=_LISTEN_S, disconnect_on_error=False)
                if reply is not None:
                    silent_s = 0.0
                    self._settle(reply)
                    self._wake.set()
                elif expected:
                    silent_s += _LISTEN_S
            raise TimeoutError(f"no reply for {silent_s:g} s")
        finally:
            self._wake.set()

    def _settle(self, reply: Sequence[bytes]) -> None:
        self._outbox.settle(reply)
        self._worked = True
        self._failures = 0
        self._complaints.over()
        self._make_room()

    def _make_room(self) -> None:
        if self.full:
            return
        if self._full_since_s:
            self._waited_s += time.monotonic() - self._full_since_s
            self._full_since_s = None
        self._below.set()

    async def _say_figures(self, *, ended: bool = False) -> None:
        """Nothing hangs on this: where Redis is known to be away or to refuse, it is not tried."""
        if not self._failures:
            with contextlib.suppress(RedisError, OSError), wire.closed_is_away():
                await self._billboard.publish(self._figures(ended=ended))

    def _figures(self, *, ended: bool) -> Figures:
        counters, depths, durable = self.counters, self._tail.depths, self._tail.durable
        return Figures(
            at_ns=time.time_ns(),
            queued=counters.queued,
            unconfirmed=counters.unconfirmed,
            spilled=counters.spilled,
            lost_on_disk=counters.lost_on_disk,
            tail=sum(depths.values()),
            streams={str(key): _share(depths[key], durable.get(key)) for key in self._outbox.places},
            ended=ended,
        )

    async def _follow_the_disk(self) -> None:
        """Let go of what is there: as the server says where it can be trusted, else by the clock. And say how it is."""
        barrier = Barrier(self._redis, self._exchange, asks=self._durability == "confirmed")
        while not self._over.is_set():
            await self._say_figures()
            line, now_s = self._outbox.line, time.monotonic()
            if len(self._tail):
                with contextlib.suppress(RedisError, OSError):  # whoever writes says so; nothing is let go meanwhile
                    number = await barrier.reached(line)
                    if number is not None and line == self._outbox.line:
                        self._tail.let_go(
                            line, number, confirmed_by_s=inf if barrier.trusted else now_s - SYNCED_AFTER_S
                        )
            self._wake.set()
            await pause(self._over, _SYNC_EVERY_S)

    async def _failed(self, error: RedisError | OSError) -> float:
        """How long to wait. Raises CannotAppend if waiting is no use."""
        backlog, counters = self._outbox.backlog, self.counters
        streams = {key for flush in backlog.unconfirmed for key in flush.batch.streams}
        reason = str(error) or type(error).__name__
        what_to_do = await remedy(error, self._redis, self._exchange, streams)
        if what_to_do and (self._finish_by_s is not None or not self._worked):
            backlog.stow()
            left = f"{backlog.unsaved} events are not written, {backlog.left_on_disk} lie on disk for the next worker"
            raise CannotAppend(f"{address(self._redis)}: {reason}; {what_to_do} ({left})")
        waiting = Waiting(counters.queued + counters.unconfirmed, counters.spilled, backlog.full)
        self._complaints.say(reason, what_to_do, waiting)
        self._failures += 1
        if what_to_do:
            self._outbox.denied += 1
            return _BACKOFF.most_s
        self._outbox.away += 1
        return _BACKOFF.delay_s(self._failures, random.random())


def _standing(state: dict[bytes, bytes]) -> Standing:
    marks = sorted(_mark(name[7:], mark) for name, mark in state.items() if name.startswith(b"ticker."))
    counted = state[b"session"] + b"." + state[b"counter"] if state.get(b"session") else b""
    position = state.get(b"last") or state.get(b"newest") or counted or b" ".join(marks)
    return Standing(state[b"g"].decode(), int(state[b"n"]), position.decode() or None)


def _mark(source: bytes, stored: bytes) -> bytes:
    """`SOURCE.MARK`, or `SOURCE~SERIES.MARK`."""
    mark, tilde, series = stored.partition(b"~")
    return source + tilde + series + b"." + mark


def _share(tail: int, durable: Place | None) -> Share:
    return Share(tail, durable.g, durable.n) if durable else Share(tail)
