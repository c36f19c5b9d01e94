"""What a reader has in hand: a bounded number of entries, each until it is dealt with and Redis knows."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import cast

import structlog

from consumers import letters
from consumers.continuity import Fields, place
from consumers.delivery import Command, Taken
from consumers.group import Group, Part
from consumers.sharing import Sharing
from consumers.streams import Arrival, Doom, Exchange, Stream
from ingest.contract.keys import StreamKey

REST_SECONDS = 1.0
"""Before a stream is read on of which something could not be handled."""
_PART = 1_000  # ids in one settling; Lua cannot unpack many more than 7,000
_log = structlog.get_logger()


class Hand:
    """Entries of all streams, in the order in which they came.

    Where order is kept, Redis is told of an entry once all before it of its stream are dealt with.
    """

    def __init__(self, group: Group, sharing: Sharing, *, most: int, most_bytes: int) -> None:
        self.freed = asyncio.Event()
        self._group = group
        self._sharing = sharing
        self._most = most
        self._most_bytes = most_bytes
        self._count = self._bytes = 0

    @property
    def room(self) -> int:
        """How many more entries there is room for; 0 if the bytes are too many."""
        return max(0, self._most - self._count) if self._bytes < self._most_bytes else 0

    def take(self, stream: Stream, entry_id: bytes, fields: Fields, *, again: bool) -> Arrival | None:
        """An entry that came; None if it is in hand already."""
        if entry_id in stream.held:
            return None
        arrival = Arrival(stream, entry_id, fields, again, place(fields), size=len(fields.get(b"data", b"")))
        stream.held[entry_id] = arrival
        self._count += 1
        self._bytes += arrival.size
        return arrival

    def drop(self, arrival: Arrival) -> None:
        """It is in hand no more."""
        if self.has(arrival):
            del arrival.stream.held[arrival.id]
            self._count -= 1
            self._bytes -= arrival.size
            self.freed.set()

    def forget(self, stream: Stream) -> None:
        """What is in hand of this stream is another's now."""
        stream.entered = False
        for arrival in tuple(stream.held.values()):
            self.drop(arrival)

    def has(self, entry: object) -> bool:
        """Whether it is still in hand."""
        arrival = cast("Arrival", entry)
        return arrival.stream.held.get(arrival.id) is arrival

    def may(self, entry: object) -> bool:
        """Whether nobody else can be at it: the lease on its stream has not run out."""
        return self._sharing.fresh(cast("Arrival", entry).stream.key)

    def ack(self, entry: object) -> None:
        """It is dealt with, even if it was let go meanwhile; but what is another's by now is the other's."""
        arrival = cast("Arrival", entry)
        if not arrival.done and (self.has(arrival) or not self._sharing.in_order):
            arrival.done = True
            arrival.stream.exchange.done.append(arrival)

    def bury(self, entry: object, reason: str, failures: int, deliveries: int) -> None:
        """It is to go among the dead letters."""
        arrival = cast("Arrival", entry)
        if not arrival.done:
            arrival.doom = Doom(reason, failures, deliveries)
        self.ack(arrival)

    def hold(self, entry: object) -> None:
        """It is not over when the next one is asked for."""
        cast("Arrival", entry).kept = True

    def release(self, entry: object) -> None:
        """It is to come again: by itself after a while, or where order is kept with all that follows it."""
        arrival = cast("Arrival", entry)
        if arrival.done or not self.has(arrival):
            return
        if not self._sharing.in_order:
            self.drop(arrival)
            return
        arrival.stream.rests_until = time.monotonic() + REST_SECONDS
        arrival.stream.entered = False
        held = list(arrival.stream.held.values())
        for each in held[held.index(arrival) :]:
            each.done = False
            self.drop(each)

    async def deliveries(self, entry: object) -> int:
        """How many deliveries are noted."""
        arrival = cast("Arrival", entry)
        return await self._group.deliveries(arrival.stream.key.exchange, arrival.tried)

    async def delivered(self, entry: object) -> int:
        """Note one more delivery; how many there were."""
        return await self._tried(cast("Arrival", entry), "deliveries")

    async def failed(self, entry: object) -> int:
        """Note one more failure; how many there were."""
        return await self._tried(cast("Arrival", entry), "failures")

    async def _tried(self, arrival: Arrival, what: str) -> int:
        arrival.noted = True
        return await self._group.tried(arrival.stream.key.exchange, arrival.tried, what)

    async def commit(self, entry: object, commands: Sequence[Command]) -> bool:
        """Have the effect and acknowledge it in one step. Raises Taken, RedisError, OSError."""
        arrival = cast("Arrival", entry)
        stream = arrival.stream
        if arrival.done:
            return False
        if self._sharing.in_order and next(iter(stream.held.values()), None) is not arrival:
            await self.tell(stream.exchange)
        if not self.has(arrival) and self._sharing.in_order:
            raise Taken(f"{stream.key} {arrival.id.decode()}")
        if self._sharing.in_order and next(iter(stream.held.values())) is not arrival:
            raise ValueError(f"{stream.key}: {arrival.id.decode()} is not next: there is an owner, who keeps the order")
        done = await self._group.commit(stream.key, arrival.mark, stream.tenancy, commands)
        if done < 0:
            if done == -1:
                self._lose(stream)
            else:
                self.release(arrival)
            raise Taken(f"{stream.key} {arrival.id.decode()}")
        stream.exchange.figures.handled += done
        arrival.done = arrival.told = True
        self.drop(arrival)
        return done == 1

    def ids(self, streams: Sequence[Stream]) -> Mapping[StreamKey, Sequence[bytes]]:
        """What is in hand of these streams."""
        return {stream.key: tuple(stream.held) for stream in streams}

    async def tell(self, exchange: Exchange) -> None:
        """Tell Redis what is dealt with. Raises RedisError, OSError: it is told again later."""
        async with exchange.telling:
            while ready := self._ready(exchange):
                if ready[0].doom:
                    await self._bury(ready[0], ready[0].doom)
                else:
                    await self._settle(exchange, ready)

    def _ready(self, exchange: Exchange) -> list[Arrival]:
        """What can be told in one call: one that is doomed, or some that are not."""
        in_order = self._sharing.in_order
        exchange.done = [each for each in exchange.done if not each.told and (self.has(each) or not in_order)]
        done: Iterator[Arrival] | list[Arrival] = exchange.done
        if in_order:
            done = (
                arrival
                for stream in {a.stream.key: a.stream for a in exchange.done}.values()
                for arrival in _first(stream)
            )
        ready: list[Arrival] = []
        for arrival in done:
            if arrival.doom:
                return ready or [arrival]
            ready.append(arrival)
            if len(ready) == _PART:
                break
        return ready

    async def _settle(self, exchange: Exchange, ready: list[Arrival]) -> None:
        parts, arrivals = [], []
        # By generation, too: an entry of an earlier one that came again says nothing of how far the stream is handled.
        marked = sorted(
            ((arrival.stream.key, arrival.mark, arrival) for arrival in ready), key=lambda each: (each[0], each[1].g)
        )
        for (key, _), group in groupby(marked, key=lambda each: (each[0], each[1].g)):
            same = list(group)
            parts.append(Part(key, [mark for _, mark, _ in same], same[0][2].stream.tenancy))
            arrivals.append([arrival for _, _, arrival in same])
        tried = [arrival.tried for arrival in ready if arrival.noted]
        for settled, told in zip(await self._group.settle(exchange.name, parts, tried), arrivals, strict=True):
            exchange.figures.handled += max(0, settled)
            for arrival in told:
                arrival.told = True
                self.drop(arrival)
            if settled < 0:
                self._lose(told[0].stream)

    async def _bury(self, arrival: Arrival, doom: Doom) -> None:
        stream = arrival.stream
        letter = letters.letter(arrival, doom, self._group)
        buried = await self._group.bury(stream.key, arrival.mark, stream.tenancy, letter)
        where = {"stream": str(stream.key), "entry_id": arrival.id.decode(), "reason": doom.reason[:200]}
        if buried == -1:
            arrival.told = True
            self._lose(stream)
        elif buried == -2:
            _log.error("too many dead letters: left pending", group=self._group.name, **where)
            arrival.told = True
            arrival.done = False
            self.release(arrival)
        else:
            if buried:
                stream.exchange.figures.dead += 1
                _log.error("put among the dead letters", group=self._group.name, **where)
            arrival.told = True
            self.drop(arrival)

    def _lose(self, stream: Stream) -> None:
        """It is another's: nothing of it is ours to handle."""
        self._sharing.lose(stream.key)
        self.forget(stream)


def _first(stream: Stream) -> Iterator[Arrival]:
    """Of what is in hand of it, what is dealt with and has nothing before it that is not."""
    for arrival in stream.held.values():
        if not arrival.done:
            return
        yield arrival
