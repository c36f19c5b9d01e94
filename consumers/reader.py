"""The reader: a consumer group's entries, one `async for`, nothing lost.

async with Reader(redis, group="alerts", channels=("trades",)) as reader:
    async for delivery in reader:
        print(delivery.key.symbol, delivery.event)
        await delivery.ack()
"""

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from consumers.delivery import Delivery, Figures
from consumers.group import Group, check_client
from consumers.intake import LOOK_EVERY_SECONDS, Intake
from consumers.patience import passes, pause, wait_seconds
from consumers.selection import Selection
from consumers.streams import Arrival, Exchange
from ingest.contract.codec import UnknownVersion, UnreadableEntry, decode

FINISH_WITHIN_SECONDS = 10.0
RECORD_EVERY_SECONDS = 1.0
LATENCY_TURN_SECONDS = 5.0
SETTLE_AT = 500
_PART = 1_000  # ids in one settling; Lua cannot unpack many more than 7,000
_MEMORY = 10_000  # unreadable entries to remember, so that each is told once
_log = structlog.get_logger()


class Reader:
    """Reads as `consumer` of `group` what the filters select; streams that appear later too.

    At least once: each entry is delivered until it is acknowledged, in the order of its stream as long as nothing
    fails and the group has one consumer. Two readers must not share a group and a consumer's name.

    - A group starts at the beginning of a stream, so that nothing is missed before the first start.
    - What this consumer was given and did not acknowledge comes first: at the start, and after any error of Redis.
      Errors of Redis never end the iteration: it waits, says so, and goes on.
    - What any consumer has left unacknowledged for `claim_idle_ms` is delivered again, here or to another reader of
      the group. It should be several times as long as handling `count` entries of each stream takes.
    - Acknowledgements are told to Redis 500 at a time, before each read, and at the end. After a crash in between,
      what they were about is delivered again.
    - An entry that cannot be read is counted, logged and passed over. It stays pending, so that nothing is lost.
    - An entry of a later schema stops its stream here, and no other: a later version of this program has to read it.
    - An entry of an unknown type is counted and acknowledged.
    - Numbers that are missing in a stream, and in Redis, too, are counted, logged and told by `Delivery.hole`.

    With no `channels`, it reads what `subscribe` names. Raises ValueError for names that are none, and for a client
    that would lose entries (`consumers.connect` makes one that does not).
    """

    def __init__(
        self,
        redis: Redis,
        *,
        group: str,
        consumer: str = socket.gethostname(),
        channels: Sequence[str] = (),
        exchanges: Sequence[str] = (),
        symbols: Sequence[str] = (),
        block_ms: int = 500,
        count: int = 200,
        claim_idle_ms: int = 30_000,
    ) -> None:
        check_client(redis, block_ms)
        self._group = Group(redis, group, consumer)
        self._selection = Selection(channels, exchanges, symbols)
        self._intake = Intake(self._group, self._selection, block_ms=block_ms, count=count, claim_idle_ms=claim_idle_ms)
        self._stopping = asyncio.Event()
        self._stop_by = math.inf
        self._failures = 0
        self._unreadable: set[tuple[str, bytes]] = set()
        self._record_at = self._turn_at = self._quiet_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._finish()

    @property
    def figures(self) -> Mapping[str, Figures]:
        """What this reader has counted so far, by exchange."""
        return {name: exchange.figures for name, exchange in self._intake.exchanges.items()}

    async def subscribe(self, exchange: str, channel: str, symbol: str = "") -> None:
        """Read this stream, whatever the filters say, as soon as it exists. Raises BadName."""
        self._selection.tell(exchange, channel, symbol, wanted=True)
        self._intake.look_again()

    async def unsubscribe(self, exchange: str, channel: str, symbol: str = "") -> None:
        """Read no more of this stream, whatever the filters say; what is in hand still comes. Raises BadName."""
        self._selection.tell(exchange, channel, symbol, wanted=False)
        self._intake.look_again()

    def stop(self) -> None:
        """Ask the iteration to end: after what is in hand, in 10 s at most. The rest comes at the next start."""
        self._stop_by = time.monotonic() + FINISH_WITHIN_SECONDS
        self._stopping.set()

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        self._intake.start_over()
        while not self._stopping.is_set():
            try:
                for arrival in await self._next():
                    delivery = self._deliver(arrival)
                    if delivery:
                        yield delivery
                    exchange = arrival.stream.exchange
                    if len(exchange.acked) >= SETTLE_AT:
                        await self._settle(exchange)
                    if time.monotonic() > self._stop_by:
                        break
            except (RedisError, OSError, RuntimeError) as error:
                if not passes(error):
                    raise
                await self._recover(error)
        await self._finish()

    async def _next(self) -> list[Arrival]:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise asyncio.CancelledError  # again: redis-py may have taken it for a timeout of its own
        for exchange in self._intake.exchanges.values():
            await self._settle(exchange)
        if time.monotonic() >= self._record_at:
            await self._record()
        arrivals = await self._intake.next()
        self._failures = 0
        if arrivals is None:
            await pause(self._stopping, LOOK_EVERY_SECONDS)
        return arrivals or []

    def _deliver(self, arrival: Arrival) -> Delivery | None:
        """The entry for the handler; None if it is not for this one."""
        stream, entry_id, fields, again = arrival
        lost = stream.lost.pop(entry_id, 0)
        figures = stream.exchange.figures
        if stream.stopped:
            return None
        try:
            entry = decode(entry_id, fields)
        except UnreadableEntry as bad:
            self._pass_over(arrival, bad)
            return None
        event = entry.event
        if event is None:
            figures.skipped += 1
            stream.exchange.acked.append((stream.key, entry))
            return None
        received_ns = getattr(event, "received_ns", 0)
        if received_ns > stream.entered_ns and not again:
            figures.latencies.add(time.time_ns() - received_ns)
        return Delivery(stream.key, entry, event, lost, again, stream.exchange.acked)

    def _pass_over(self, arrival: Arrival, bad: UnreadableEntry) -> None:
        stream = arrival.stream
        where = {"stream": str(stream.key), "entry_id": arrival.id.decode(), "reason": str(bad)[:200]}
        if isinstance(bad, UnknownVersion):
            self._intake.close(stream)
            stream.exchange.figures.stopped += 1
            _log.error("stream stopped: a later version of this program has to read it", **where)
        elif (mark := (str(stream.key), arrival.id)) not in self._unreadable:
            # Pending entries come again; each is counted and told once.
            if len(self._unreadable) >= _MEMORY:
                self._unreadable.clear()
            self._unreadable.add(mark)
            data = bad.fields.get(b"data", b"")[:100].hex()
            _log.error("entry unreadable: left pending", **where, data=data)
            stream.exchange.figures.unreadable += 1

    async def _settle(self, exchange: Exchange) -> None:
        while exchange.acked:
            part = exchange.acked[:_PART]
            removed, marks = await self._group.settle(exchange.name, part)
            del exchange.acked[: len(part)]
            exchange.figures.handled += removed
            for key, mark in marks.items():
                self._intake.streams[key].settled = mark

    async def _record(self) -> None:
        now = time.monotonic()
        self._record_at = now + RECORD_EVERY_SECONDS
        for exchange in self._intake.exchanges.values():
            await self._group.record(exchange.name, exchange.figures.published(time.time_ns()))
            if now >= self._turn_at:
                exchange.figures.latencies.turn()
        if now >= self._turn_at:
            self._turn_at = now + LATENCY_TURN_SECONDS

    async def _recover(self, error: Exception) -> None:
        """Say it, wait, and have what was in flight delivered: its reply may be lost, but it is pending for us."""
        refused = isinstance(error, ResponseError)
        if refused and str(error).startswith(("NOGROUP", "UNBLOCKED")):
            self._intake.leave()
        self._intake.start_over()
        self._failures += 1
        wait_s = wait_seconds(self._failures)
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + 1
            what = "Redis refused" if refused else "no Redis"
            _log.warning(what, group=self._group.name, reason=str(error)[:200], next_attempt_s=wait_s)
        await pause(self._stopping, wait_s)

    async def _finish(self) -> None:
        try:
            for exchange in self._intake.exchanges.values():
                await self._settle(exchange)
            await self._record()
        except (RedisError, OSError, RuntimeError) as error:
            if not passes(error):
                raise
            waiting = sum(len(exchange.acked) for exchange in self._intake.exchanges.values())
            _log.warning("not all acknowledged: it is delivered again", entries=waiting, reason=str(error)[:200])
