"""The reader: a consumer group's entries, one `async for`, nothing lost.

async with Reader(redis, group="alerts", channels=("trades",)) as reader:
    async for delivery in reader:
        print(delivery.key.symbol, delivery.event)
        await delivery.ack()
"""

import asyncio
import contextlib
import math
import secrets
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from consumers.client import check_client
from consumers.delivery import Delivery, Fence
from consumers.figures import Figures
from consumers.group import Group
from consumers.hand import Hand
from consumers.intake import LOOK_EVERY_SECONDS, Intake
from consumers.owned import OWNER, Owned
from consumers.partition import Partition, part_of
from consumers.patience import passes, pause, wait_seconds
from consumers.selection import Selection
from consumers.shared import Shared
from consumers.streams import Arrival
from ingest.contract import keys
from ingest.contract.codec import Entry, UnknownVersion, UnreadableEntry, decode
from ingest.contract.keys import StreamKey, parse_key

FINISH_WITHIN_SECONDS = 10.0
RECORD_EVERY_SECONDS = 1.0
LATENCY_TURN_SECONDS = 5.0
TIDY_EVERY_SECONDS = 3_600.0
SETTLE_AT = 500
IN_HAND_BYTES = 8 << 20
_log = structlog.get_logger()


class Reader:
    """Reads as one of `group` what the filters select; streams that appear later too.

    At least once: each entry is delivered until it is acknowledged. With a `partition` each part of the streams has
    one owner among the group's processes, and is delivered in order; without one (`none`), readers compete: each has
    a name of its own, `consumer`, and gets what is new as it is free.

    - A group starts at the beginning of a stream, so that nothing is missed before the first start.
    - What was given to this consumer and not acknowledged comes first: at the start, and after any error of Redis.
      Errors of Redis never end the iteration: it waits, says so, and goes on.
    - What is in hand is kept from others. What a reader dropped, or had as it died, is delivered again: with owners
      to the next one, in order, as soon as the lease of `lease_ms` has run out; without, to any reader of the group
      once it has been idle for `claim_idle_ms`.
    - An entry that is neither acknowledged nor held (`Delivery.hold`) when the next one is asked for is dropped. Where
      there are owners, all behind it in its stream are dropped with it, and come again behind it.
    - Acknowledgements are told to Redis 500 at a time, before each read, and at the end. After a crash in between,
      what they were about is delivered again.
    - Once `in_hand` entries or 8 MiB are in hand, nothing is read until there is room. One read may pass that: Redis
      gives at least one entry of each stream, and counts entries, not bytes.
    - An entry that cannot be read is counted, logged, and put among the group's dead letters.
    - An entry of a later schema stops its stream here, and no other: a later version of this program has to read it.
    - An entry of an unknown type is counted and acknowledged.
    - Numbers that are missing in a stream, and in Redis, too, are counted, logged and told by `Delivery.hole`.

    With no `channels`, it reads what `subscribe` names. `part` is which of the groups of an `account` partition this
    is. Raises ValueError for names that are none, and for a client that would lose entries (`consumers.connect` makes
    one that does not).
    """

    def __init__(
        self,
        redis: Redis,
        *,
        group: str,
        consumer: str = socket.gethostname(),
        partition: Partition = "none",
        part: int = 0,
        channels: Sequence[str] = (),
        exchanges: Sequence[str] = (),
        symbols: Sequence[str] = (),
        block_ms: int = 500,
        count: int = 200,
        in_hand: int = 2_000,
        claim_idle_ms: int = 30_000,
        lease_ms: int = 5_000,
    ) -> None:
        check_client(redis, block_ms)
        self._part = part if partition == "account" else None
        self._group = Group(redis, group, consumer if partition == "none" else OWNER)
        # Another name for each life of a process: what an earlier one held is nobody's until its lease runs out.
        member = f"{consumer}.{secrets.token_hex(4)}"
        self._sharing = (
            Shared(self._group, claim_idle_ms)
            if partition == "none"
            else Owned(redis, group, partition=partition, part=part, member=member, lease_ms=lease_ms)
        )
        self._hand = Hand(self._group, self._sharing, most=in_hand, most_bytes=IN_HAND_BYTES)
        self._selection = Selection(channels, exchanges, symbols)
        self._intake = Intake(
            self._group,
            self._sharing,
            self._hand,
            self._selection,
            block_ms=block_ms,
            count=count,
            claim_idle_ms=claim_idle_ms,
        )
        self._name = consumer if partition == "none" else member
        self._batch: deque[Arrival] = deque()
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._stop_by = math.inf
        self._failures = 0
        self._record_at = self._turn_at = self._quiet_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._finish()
        self._over.set()
        if self._keeping:
            await self._keeping
        with contextlib.suppress(RedisError, OSError):
            for name in self._intake.exchanges:
                await self._sharing.leave(name)

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
        self._hand.freed.set()

    def may(self, delivery: Delivery) -> bool:
        """Whether it is certain that nobody else handles this: the lease has not run out. If not, wait."""
        return self._hand.may(delivery._arrival)  # noqa: SLF001 - the reader's own

    async def tell(self) -> None:
        """Tell Redis at once what is acknowledged. Raises RedisError, OSError: it is told again later."""
        for exchange in self._intake.exchanges.values():
            await self._hand.tell(exchange)

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        self._let_go()
        if not self._keeping or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep())
        while not self._stopping.is_set():
            try:
                self._batch.extend(await self._next())
                while self._batch and time.monotonic() <= self._stop_by:
                    arrival = self._batch.popleft()
                    delivery = self._deliver(arrival)
                    if delivery:
                        yield delivery
                        if not (arrival.done or arrival.kept):
                            self._hand.release(arrival)
                    if len(arrival.stream.exchange.done) >= SETTLE_AT:
                        await self._hand.tell(arrival.stream.exchange)
            except (RedisError, OSError, RuntimeError) as error:
                if not passes(error):
                    raise
                await self._recover(error)
        await self._finish()

    async def _next(self) -> list[Arrival]:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise asyncio.CancelledError  # again: redis-py may have taken it for a timeout of its own
        if self._keeping and self._keeping.done():
            self._keeping.result()
        await self.tell()
        if time.monotonic() >= self._record_at:
            await self._record()
        if not self._hand.room:
            self._hand.freed.clear()
            await pause(self._hand.freed, LOOK_EVERY_SECONDS)
            return []
        arrivals = await self._intake.next()
        self._failures = 0
        if arrivals is None:
            await pause(self._stopping, min(LOOK_EVERY_SECONDS, self._sharing.every_s))
        return arrivals or []

    async def _keep(self) -> None:
        """Beside the reading, so that a handler may take its time: leases, or touching what is in hand."""
        tidy_at = 0.0
        while not self._over.is_set():
            await pause(self._over, self._sharing.every_s)
            try:
                for name in tuple(self._intake.exchanges):
                    if await self._sharing.round(name, self._intake.in_hand(name)):
                        self._intake.look_again()
                    if time.monotonic() >= tidy_at:
                        await self._group.tidy(name, self._intake.in_hand(name))
                if time.monotonic() >= tidy_at:
                    tidy_at = time.monotonic() + TIDY_EVERY_SECONDS
            except (RedisError, OSError, RuntimeError) as error:
                if not passes(error):
                    raise

    def _deliver(self, arrival: Arrival) -> Delivery | None:
        """The entry for the handler; None if it is not for this one."""
        stream, figures = arrival.stream, arrival.stream.exchange.figures
        lost = stream.lost.pop(arrival.id, 0)
        if stream.stopped or not self._hand.has(arrival):
            self._hand.drop(arrival)
            return None
        try:
            key, entry = _read(arrival)
        except UnreadableEntry as bad:
            self._pass_over(arrival, bad)
            return None
        event = entry.event
        if event is None or self._is_anothers(event):
            figures.skipped += event is None
            self._hand.ack(arrival)
            return None
        received_ns = getattr(event, "received_ns", 0)
        if received_ns > stream.entered_ns and not arrival.again:
            figures.latencies.add(time.time_ns() - received_ns)
        fence, redriven = self._fence(arrival), stream.redriven
        return Delivery(key, entry, event, lost, arrival.again, arrival, self._hand, fence, redriven)

    def _fence(self, arrival: Arrival) -> Fence | None:
        if not self._sharing.in_order:
            return None
        member, shard, fence = arrival.stream.tenancy
        return Fence(keys.shards(arrival.stream.key.exchange, self._group.name), shard, f"{member} {fence}")

    def _is_anothers(self, event: object) -> bool:
        account = getattr(event, "account", None)
        return self._part is not None and account is not None and part_of(account) != self._part

    def _pass_over(self, arrival: Arrival, bad: UnreadableEntry) -> None:
        stream = arrival.stream
        if isinstance(bad, UnknownVersion):
            self._intake.close(stream)
            self._hand.drop(arrival)
            stream.exchange.figures.stopped += 1
            where = {"stream": str(stream.key), "entry_id": arrival.id.decode(), "reason": str(bad)[:200]}
            _log.error("stream stopped: a later version of this program has to read it", **where)
        else:
            stream.exchange.figures.unreadable += 1
            self._hand.bury(arrival, f"unreadable: {bad}", failures=0, deliveries=1)

    async def _record(self) -> None:
        now = time.monotonic()
        self._record_at = now + RECORD_EVERY_SECONDS
        for exchange in self._intake.exchanges.values():
            await self._group.record(exchange.name, self._name, exchange.figures.published(time.time_ns()))
            if now >= self._turn_at:
                exchange.figures.latencies.turn()
        if now >= self._turn_at:
            self._turn_at = now + LATENCY_TURN_SECONDS

    async def _recover(self, error: Exception) -> None:
        """Say it, wait, and have what was in flight delivered: its reply may be lost, but it is pending for us."""
        self._let_go()
        refused = isinstance(error, ResponseError)
        if refused and str(error).startswith(("NOGROUP", "UNBLOCKED")):
            self._intake.leave()
        self._failures += 1
        wait_s = wait_seconds(self._failures)
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + 1
            what = "Redis refused" if refused else "no Redis"
            _log.warning(what, group=self._group.name, reason=str(error)[:200], next_attempt_s=wait_s)
        await pause(self._stopping, wait_s)

    def _let_go(self) -> None:
        """Begin anew with all that is pending for us, but for what is being handled."""
        self._batch.clear()
        for stream in self._intake.streams.values():
            for arrival in tuple(stream.held.values()):
                if not (arrival.done or arrival.kept):
                    self._hand.drop(arrival)
        self._intake.start_over()

    async def _finish(self) -> None:
        try:
            await self.tell()
            await self._record()
        except (RedisError, OSError, RuntimeError) as error:
            if not passes(error):
                raise
            waiting = sum(len(exchange.done) for exchange in self._intake.exchanges.values())
            _log.warning("not all acknowledged: it is delivered again", entries=waiting, reason=str(error)[:200])


def _read(arrival: Arrival) -> tuple[StreamKey, Entry]:
    """The entry and its stream; of one that was redriven, those that it had at first. Raises UnreadableEntry."""
    fields, again = arrival.fields, arrival.stream.redriven
    entry = decode(fields.get(b"dead_id", arrival.id) if again else arrival.id, fields)
    if arrival.place is None:
        raise UnreadableEntry("its g and n make no sense", fields)
    if not again:
        return arrival.stream.key, entry
    try:
        return parse_key(fields[b"dead_stream"].decode()), entry
    except (KeyError, ValueError) as bad:
        raise UnreadableEntry(f"it does not say where it is from: {bad}", fields) from bad
