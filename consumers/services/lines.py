"""The lines that a service runs along: read an entry, handle it, acknowledge it; and what becomes of what fails."""

import asyncio
from collections import deque
from collections.abc import Hashable

import structlog
from redis.exceptions import RedisError, ResponseError

from consumers.delivery import Delivery, Taken
from consumers.patience import passes, pause, wait_seconds
from consumers.reader import FINISH_WITHIN_SECONDS, Reader
from consumers.services.service import Served, Service

ATTEMPTS = 5
"""That raise, before an entry goes among the dead letters."""
DELIVERIES = 16
"""After which it does so even if none has raised: its handler may end the process each time."""
TIME_LIMIT_SECONDS = 30.0
"""For one attempt; what takes longer is cut off, and has failed."""
AT_ONCE = 32
"""Attempts of one process: each may take a connection."""
FIRST_PAUSE_SECONDS = 0.1
"""Doubled after each attempt."""
_LAST_WORDS_SECONDS = 1.0

_log = structlog.get_logger()


async def run(
    service: Service, reader: Reader, stopping: asyncio.Event, *, time_limit_s: float = TIME_LIMIT_SECONDS
) -> Served:
    """Serve until `stopping` is set; what is in hand then is finished, in 10 s at most."""
    lines = _Lines(service, reader, stopping, time_limit_s)
    ask = asyncio.create_task(_ask_to_stop(reader, stopping))
    try:
        async for delivery in reader:
            lines.add(delivery)
        await lines.finish()
    finally:
        ask.cancel()
        await lines.cut()
    return Served(handled=lines.handled, failed=lines.failed, dead=lines.dead)


class _Lines:
    """What is in hand, in as many lines as there are parts: a part that has trouble holds no other up."""

    def __init__(self, service: Service, reader: Reader, stopping: asyncio.Event, time_limit_s: float) -> None:
        self.handled = self.failed = self.dead = 0
        self._service = service
        self._reader = reader
        self._stopping = stopping
        self._time_limit_s = time_limit_s
        self._lines: dict[Hashable, deque[Delivery]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._alone = asyncio.Lock()
        """Held while something is tried that seems to end its process."""

    def add(self, delivery: Delivery) -> None:
        """Put it at the end of its line."""
        delivery.hold()
        name = self._line_of(delivery)
        line = self._lines.get(name)
        if line is not None:
            line.append(delivery)
            return
        line = self._lines[name] = deque((delivery,))
        task = asyncio.create_task(self._work(name, line))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def finish(self) -> None:
        """Return once all lines have come to their ends, or time is up. Raises what has broken one."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINISH_WITHIN_SECONDS)
        if self._broken:
            raise self._broken

    async def cut(self) -> None:
        """End what has not ended."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_WORDS_SECONDS)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._broken = error
            self._reader.stop()

    def _line_of(self, delivery: Delivery) -> Hashable:
        key = delivery.key
        match self._service.partition:
            case "symbol":
                return key.exchange, key.symbol
            case "whole" | "account":
                return ()
            case _:
                return key, delivery.entry.id

    async def _work(self, name: Hashable, line: deque[Delivery]) -> None:
        while line:
            await self._serve(line[0])
            line.popleft()
        del self._lines[name]
        if not self._lines:
            await self._tell()

    async def _tell(self) -> None:
        try:
            await self._reader.tell()
        except (RedisError, OSError, RuntimeError) as error:
            if not passes(error):
                raise  # else the reader meets it as well, and says so

    async def _serve(self, delivery: Delivery) -> None:
        """Until it is handled, or among the dead letters, or no longer ours; or we are asked to stop."""
        failures = away = 0
        noted = not delivery.redelivered
        while await self._may(delivery):
            async with self._at_once:
                error = await self._attempt(delivery, noted=noted)
            noted = True
            if error is None or isinstance(error, Taken):
                return
            if _is_of_the_bus(error):
                away += 1
                self._complain(delivery, error, away)
                await pause(self._stopping, wait_seconds(away))
            else:
                failures = await self._count(delivery, error, failures + 1)
                if failures >= ATTEMPTS:
                    self._bury(delivery, _said(error), failures)
                    return
                await pause(self._stopping, FIRST_PAUSE_SECONDS * 2 ** (failures - 1))
            if self._stopping.is_set():
                delivery.release()

    async def _attempt(self, delivery: Delivery, *, noted: bool) -> Exception | None:
        """Handle it once; what it raised."""
        try:
            if noted:
                await self._handle(delivery)
            elif await delivery.deliveries() < DELIVERIES // 2:
                await delivery.delivered()
                await self._handle(delivery)
            else:
                # One of those that were in hand when processes ended has ended them: each is tried, and told, alone.
                async with self._alone:
                    await self._handle_suspect(delivery)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            return RuntimeError(f"the handler was cancelled {error}".strip())
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; the other lines go on
            return error
        return None

    async def _handle(self, delivery: Delivery) -> None:
        async with asyncio.timeout(self._time_limit_s):
            await self._service.handle(delivery)
        await delivery.ack()
        self.handled += 1

    async def _handle_suspect(self, delivery: Delivery) -> None:
        # The first delivery is not noted: of nearly all entries it is the only one.
        if 1 + await delivery.delivered() > DELIVERIES:
            self._bury(delivery, f"{DELIVERIES} deliveries came to no end", 0, DELIVERIES)
        else:
            await self._handle(delivery)
        await self._tell()

    async def _may(self, delivery: Delivery) -> bool:
        """Whether it is ours. A lease that has run out is renewed or taken by another, which shows in a moment."""
        while delivery.ours and not self._reader.may(delivery):
            if self._stopping.is_set():
                delivery.release()
            await pause(self._stopping, FIRST_PAUSE_SECONDS)
        return delivery.ours

    def _complain(self, delivery: Delivery, error: Exception, times: int) -> None:
        if times.bit_count() == 1:  # the 1st, 2nd, 4th, 8th …
            where = {"service": self._service.name, "stream": str(delivery.key), "entry_id": delivery.entry.id}
            _log.warning("not handled for now", **where, attempt=times, reason=_said(error)[:300])

    async def _count(self, delivery: Delivery, error: Exception, failures: int) -> int:
        """Say that an attempt failed; how many have, here and in other processes."""
        self.failed += 1
        try:
            failures = max(failures, await delivery.failed())
        except (RedisError, OSError, RuntimeError) as away:
            if not passes(away):
                raise
        where = {"service": self._service.name, "stream": str(delivery.key), "entry_id": delivery.entry.id}
        _log.error("not handled", **where, attempt=failures, reason=_said(error)[:300], exc_info=failures == 1)
        return failures

    def _bury(self, delivery: Delivery, reason: str, failures: int, deliveries: int = 1) -> None:
        if delivery.ours:
            self.dead += 1
            delivery.bury(reason, failures, deliveries)


def _is_of_the_bus(error: Exception) -> bool:
    """Whether it is Redis that failed, and not the handler; a command that makes no sense is the handler's."""
    if isinstance(error, ResponseError):
        return not str(error).startswith(("ERR", "WRONGTYPE", "NOPERM", "CROSSSLOT"))
    return isinstance(error, RedisError) or (isinstance(error, RuntimeError) and passes(error))


def _said(error: Exception) -> str:
    # Not its repr: redis-py's leave out what the server said.
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _ask_to_stop(reader: Reader, stopping: asyncio.Event) -> None:
    await stopping.wait()
    reader.stop()
