"""What a reader gets from Redis and when: what is owed to it, what others left, what is new; and what is missing."""

import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

import structlog

from consumers.delivery import Fields, place
from consumers.group import Group, Row
from consumers.selection import Selection
from consumers.streams import Arrival, Exchange, Stream
from ingest.contract.keys import StreamKey

LOOK_EVERY_SECONDS = 0.5
IN_HAND = 2_000
"""Entries of one read, over all streams."""

_log = structlog.get_logger()


class _Hole(NamedTuple):
    stream: Stream
    after: bytes
    before: bytes
    g: bytes
    first_n: int
    missing: int


class Intake:
    """The entries of a group that are to be handed over, in the order in which they are."""

    def __init__(self, group: Group, selection: Selection, *, block_ms: int, count: int, claim_idle_ms: int) -> None:
        self.exchanges: dict[str, Exchange] = {}
        self.streams: dict[StreamKey, Stream] = {}
        self._group = group
        self._selection = selection
        self._block_ms = block_ms
        self._count = count
        self._claim_idle_ms = claim_idle_ms
        self._open: frozenset[StreamKey] = frozenset()
        self._owed: dict[StreamKey, bytes] = {}
        """Own pending entries behind these ids come before anything new."""
        self._claiming: dict[StreamKey, bytes] = {}
        self._holes: list[_Hole] = []
        self._look_at = self._claim_at = 0.0

    def look_again(self) -> None:
        """Ask the registries before the next read."""
        self._look_at = 0.0

    def start_over(self) -> None:
        """A reply may have been lost with what it carried: it is pending for us, and is read first."""
        self._owed = dict.fromkeys(self._open, b"0")
        self._claiming = {}

    def leave(self) -> None:
        """The group is gone from some stream: stand anew on all of them."""
        for stream in self.streams.values():
            stream.entered = False
        self._look_at = 0.0

    def close(self, stream: Stream) -> None:
        """Read no more of this one."""
        stream.stopped = True
        self._set_open(self._open - {stream.key})

    async def next(self) -> list[Arrival] | None:
        """What to hand over now; waits `block_ms` for it. None if there is no stream to read."""
        now = time.monotonic()
        if now >= self._look_at:
            await self._look()
            self._look_at = now + LOOK_EVERY_SECONDS
        if now >= self._claim_at:
            self._claiming = dict.fromkeys(self._open, b"0-0")
            self._claim_at = now + self._claim_idle_ms / 3000
        if not self._open:
            return None
        if self._owed:
            arrivals = await self._drain()
        elif self._claiming:
            arrivals = await self._claim()
        else:
            arrivals = await self._read()
        while self._holes:
            await self._look_into(self._holes[-1])
            self._holes.pop()
        return arrivals

    async def _look(self) -> None:
        for name in self._selection.exchanges(await self._group.exchanges() | self.exchanges.keys()):
            exchange = self.exchanges.setdefault(name, Exchange(name))
            for key in await self._group.streams(name):
                if key not in self.streams:
                    self.streams[key] = Stream(key, exchange)
            await self._enter(exchange)
        self._set_open(
            key
            for key, stream in self.streams.items()
            if stream.entered and not stream.stopped and self._selection.wants(key)
        )

    async def _enter(self, exchange: Exchange) -> None:
        needs = self._selection.needs(exchange.name)
        outside = {
            key: stream.settled
            for key, stream in self.streams.items()
            if stream.exchange is exchange and not stream.entered and self._selection.wants(key)
        }
        if not outside and needs == exchange.registered:
            return
        for key, (g, n) in (await self._group.enter(exchange.name, needs, outside)).items():
            self.streams[key].entered = True
            self.streams[key].entered_ns = time.time_ns()
            self.streams[key].continuity.resume(g, n)
        exchange.registered = needs

    def _set_open(self, keys: Iterable[StreamKey]) -> None:
        before, self._open = self._open, frozenset(keys)
        self._owed.update(dict.fromkeys(self._open - before, b"0"))
        for key in before - self._open:
            self._owed.pop(key, None)
            self._claiming.pop(key, None)

    async def _drain(self) -> list[Arrival]:
        arrivals: list[Arrival] = []
        for key, rows in await self._group.own(self._owed, self._share(self._owed)):
            if rows:
                self._owed[key] = rows[-1][0]
                arrivals += await self._pending(self.streams[key], rows)
            else:
                del self._owed[key]
        return arrivals

    async def _claim(self) -> list[Arrival]:
        arrivals: list[Arrival] = []
        claimed = await self._group.claim(self._claiming, self._claim_idle_ms, self._share(self._claiming))
        for key, (rows, trimmed, cursor) in claimed.items():
            if cursor == b"0-0":
                del self._claiming[key]
            else:
                self._claiming[key] = cursor
            self._lose(self.streams[key], trimmed, "trimmed while pending")
            arrivals += await self._pending(self.streams[key], rows)
        return arrivals

    async def _pending(self, stream: Stream, rows: list[Row]) -> list[Arrival]:
        trimmed = [entry_id for entry_id, fields in rows if not fields]
        if trimmed:
            await self._group.drop(stream.key, trimmed)
            self._lose(stream, len(trimmed), "trimmed while pending")
        arrivals = [Arrival(stream, entry_id, fields, again=True) for entry_id, fields in rows if fields]
        for arrival in arrivals:
            where = place(arrival.fields)
            if where:
                stream.continuity.follow(*where)
        return arrivals

    async def _read(self) -> list[Arrival]:
        return [
            Arrival(self.streams[key], entry_id, fields, self._seen(self.streams[key], entry_id, fields))
            for key, rows in await self._group.new(self._open, self._share(self._open), self._block_ms)
            for entry_id, fields in rows
            if fields
        ]

    def _seen(self, stream: Stream, entry_id: bytes, fields: Fields) -> bool:
        """Whether this new entry came by before. A hole before it is noted."""
        where = place(fields)
        if where is None:
            return False
        g, n = where
        step = stream.continuity.feed(g, n)
        if step.missing:
            self._holes.append(_Hole(stream, stream.last_id, entry_id, g, n - step.missing, step.missing))
        stream.last_id = entry_id
        return step.repeated

    async def _look_into(self, hole: _Hole) -> None:
        """What is missing here may be in another reader's hands, or pending for us; what Redis lacks is lost."""
        found = await self._group.still_there(hole.stream.key, hole.before, hole.g, hole.first_n, hole.missing)
        if found and hole.after and hole.stream.key in self._open:
            self._owed.setdefault(hole.stream.key, hole.after)
        lost = hole.missing - found
        if lost:
            hole.stream.lost[hole.before] = lost
            hole.stream.exchange.figures.holes += 1
            self._lose(hole.stream, lost, "missing in the stream")

    def _lose(self, stream: Stream, entries: int, reason: str) -> None:
        if entries:
            stream.exchange.figures.lost += entries
            _log.error("entries lost", stream=str(stream.key), group=self._group.name, entries=entries, reason=reason)

    def _share(self, streams: Collection[StreamKey]) -> int:
        """How many entries to ask of each stream: COUNT is per stream, and all that comes is held in memory."""
        return max(1, min(self._count, IN_HAND // len(streams)))
