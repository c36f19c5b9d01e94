"""What a reader gets from Redis and when: what is owed to it, what others left, what is new; and what is missing."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import structlog

from consumers.client import Row
from consumers.continuity import Continuity, Fields, place
from consumers.group import Group, Standing
from consumers.hand import Hand
from consumers.selection import Selection
from consumers.sharing import Sharing
from consumers.streams import Arrival, Exchange, Stream
from ingest.contract.keys import StreamKey

LOOK_EVERY_SECONDS = 0.5

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

    def __init__(
        self,
        group: Group,
        sharing: Sharing,
        hand: Hand,
        selection: Selection,
        *,
        block_ms: int,
        count: int,
        claim_idle_ms: int,
    ) -> None:
        self.exchanges: dict[str, Exchange] = {}
        self.streams: dict[StreamKey, Stream] = {}
        self._group = group
        self._sharing = sharing
        self._hand = hand
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

    def in_hand(self, exchange: str) -> Mapping[StreamKey, Sequence[bytes]]:
        """The streams of the exchange that are read or of which something is in hand, and what."""
        return {
            key: tuple(stream.held)
            for key, stream in self.streams.items()
            if key.exchange == exchange and (stream.held or key in self._open)
        }

    async def next(self) -> list[Arrival] | None:
        """What to hand over now; waits `block_ms` for it. None if there is no stream to read."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_SECONDS
            await self._look()
        if now >= self._claim_at and not self._sharing.in_order:
            self._claiming = dict.fromkeys(self._open, b"0-0")
            self._claim_at = now + self._claim_idle_ms / 3000
        if not all(self.streams[key].entered for key in self._open):
            self._set_open(key for key in self._open if self.streams[key].entered)
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
            if name not in self.exchanges:
                self.exchanges[name] = Exchange(name)
                await self._sharing.round(name, {})
            exchange = self.exchanges[name]
            for key in await self._group.streams(name):
                if key not in self.streams:
                    self.streams[key] = Stream(key, exchange)
            for key in await self._group.redriven(name):
                if key not in self.streams:
                    self.streams[key] = Stream(key, exchange, redriven=True)
            await self._enter(exchange)
        self._set_open(key for key, stream in self.streams.items() if stream.entered and self._is_wanted(stream))

    def _is_wanted(self, stream: Stream) -> bool:
        return (
            not stream.stopped
            and stream.rests_until <= time.monotonic()
            and (stream.redriven or self._selection.wants(stream.key))
            and self._sharing.reads(stream.key)
        )

    async def _enter(self, exchange: Exchange) -> None:
        mine = [stream for stream in self.streams.values() if stream.exchange is exchange]
        for stream in mine:
            if stream.entered and stream.tenancy != self._sharing.tenancy(stream.key):
                self._hand.forget(stream)
        outside = {stream.key: stream for stream in mine if not stream.entered and self._is_wanted(stream)}
        needs = self._selection.needs(exchange.name)
        if not outside and needs == exchange.registered:
            return
        tenancies = {key: self._sharing.tenancy(key) for key in outside}
        real = [key for key, stream in outside.items() if not stream.redriven]
        standings = await self._group.enter(exchange.name, needs, real, in_order=self._sharing.in_order)
        exchange.registered = needs
        for key, stream in outside.items():
            if stream.redriven:
                await self._group.enter_redriven(key)
            await self._stand(stream, standings.get(key))
            stream.tenancy = tenancies[key]
            stream.entered = True

    async def _stand(self, stream: Stream, standing: Standing | None) -> None:
        stream.entered_ns = time.time_ns()
        if self._sharing.in_order:
            # Whoever was here before, all that is left to be handled is pending for us now, or new.
            stream.continuity = Continuity()
            stream.last_id = b""
            self._owed[stream.key] = b"0"
        if standing:
            stream.handled = standing
            stream.continuity.resume(*standing)
        if self._sharing.in_order:
            trimmed = await self._group.gather(stream.key)
            if not stream.continuity.stands:
                self._lose(stream, trimmed, "trimmed while pending")

    def _set_open(self, keys: Iterable[StreamKey]) -> None:
        before, self._open = self._open, frozenset(keys)
        self._owed.update(dict.fromkeys(self._open - before, b"0"))
        for key in self._owed.keys() - self._open:
            del self._owed[key]
        for key in self._claiming.keys() - self._open:
            del self._claiming[key]

    async def _drain(self) -> list[Arrival]:
        arrivals: list[Arrival] = []
        for key, rows in await self._group.own(self._owed, self._share(self._owed)):
            stream = self.streams[key]
            if not stream.entered:
                continue
            if rows:
                self._owed[key] = rows[-1][0]
                arrivals += await self._pending(stream, rows)
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
            if not (self._sharing.in_order and stream.continuity.stands):  # else they are the hole before the next one
                self._lose(stream, len(trimmed), "trimmed while pending")
        there = [(entry_id, fields) for entry_id, fields in rows if fields]
        if self._sharing.in_order:
            return await self._in_order(stream, there, again=True)
        for _, fields in there:
            where = place(fields)
            if where and not stream.redriven:
                stream.continuity.follow(*where)
        return self._taken(stream, [(entry_id, fields, True) for entry_id, fields in there])

    async def _read(self) -> list[Arrival]:
        arrivals: list[Arrival] = []
        for key, rows in await self._group.new(self._open, self._share(self._open), self._block_ms):
            stream = self.streams[key]
            there = [(entry_id, fields) for entry_id, fields in rows if fields]
            if not stream.entered:
                continue  # it is pending, and comes when we are back
            if self._sharing.in_order:
                arrivals += await self._in_order(stream, there, again=False)
            else:
                arrivals += self._taken(
                    stream, [(entry_id, fields, self._seen(stream, entry_id, fields)) for entry_id, fields in there]
                )
        return arrivals

    def _taken(self, stream: Stream, rows: Iterable[tuple[bytes, Fields, bool]]) -> list[Arrival]:
        """Those that are not in hand already."""
        taken = (self._hand.take(stream, entry_id, fields, again=again) for entry_id, fields, again in rows)
        return [arrival for arrival in taken if arrival]

    async def _in_order(self, stream: Stream, rows: list[tuple[bytes, Fields]], *, again: bool) -> list[Arrival]:
        """As far as nothing is missing. What is, and is in Redis still, comes before all that follows it."""
        taken: list[tuple[bytes, Fields, bool]] = []
        for entry_id, fields in rows:
            where = None if stream.redriven else place(fields)
            if where and stream.continuity.has(*where):
                taken.append((entry_id, fields, True))
                continue
            if where:
                g, n = where
                missing = stream.continuity.missing(g, n)
                if missing:
                    there = await self._group.before(stream.key, entry_id, g, n - missing, missing, stream.last_id)
                    if there:
                        handled = await self._group.take_back(stream.key, g, there)
                        if handled:
                            stream.continuity.resume(g, handled)
                        self._owed[stream.key] = stream.last_id or b"0"
                        break
                    self._miss(stream, entry_id, missing)
                stream.continuity.feed(g, n)
            elif entry_id not in stream.held:
                stream.continuity.pass_by()
            stream.last_id = entry_id
            taken.append((entry_id, fields, again))
        return self._unhandled(stream, self._taken(stream, taken))

    def _unhandled(self, stream: Stream, arrivals: list[Arrival]) -> list[Arrival]:
        """What the group has handled before this reader came is acknowledged, and does not come again."""
        g, n = stream.handled
        unhandled = []
        for arrival in arrivals:
            where = None if stream.redriven else arrival.place
            if where and where[0] == g and where[1] <= n:
                self._hand.ack(arrival)
            else:
                unhandled.append(arrival)
        return unhandled

    def _seen(self, stream: Stream, entry_id: bytes, fields: Fields) -> bool:
        """Whether this new entry came by before. A hole before it is noted."""
        where = place(fields)
        if where is None or stream.redriven:
            return False
        g, n = where
        step = stream.continuity.feed(g, n)
        if step.missing:
            self._holes.append(_Hole(stream, stream.last_id, entry_id, g, n - step.missing, step.missing))
        stream.last_id = entry_id
        return step.repeated

    async def _look_into(self, hole: _Hole) -> None:
        """What is missing here may be in another reader's hands, or pending for us; what Redis lacks is lost."""
        stream = hole.stream
        found = len(await self._group.before(stream.key, hole.before, hole.g, hole.first_n, hole.missing))
        if found and hole.after and stream.key in self._open:
            self._owed.setdefault(stream.key, hole.after)
        if hole.missing - found:
            self._miss(stream, hole.before, hole.missing - found)

    def _miss(self, stream: Stream, before: bytes, entries: int) -> None:
        stream.lost[before] = entries
        stream.exchange.figures.holes += 1
        self._lose(stream, entries, "missing in the stream")

    def _lose(self, stream: Stream, entries: int, reason: str) -> None:
        if entries:
            stream.exchange.figures.lost += entries
            _log.error("entries lost", stream=str(stream.key), group=self._group.name, entries=entries, reason=reason)

    def _share(self, streams: Collection[StreamKey]) -> int:
        """How many entries to ask of each stream: COUNT is per stream, and all that comes is held in memory."""
        return max(1, min(self._count, self._hand.room // len(streams)))
