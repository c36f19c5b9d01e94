"""The bot: shows entries to a strategy and puts what it wishes on the bus as intents, each of them once."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import structlog
from redis.asyncio import Redis

from consumers.delivery import Delivery
from consumers.partition import Partition
from consumers.places import parts
from consumers.replay import Replay, Replayed
from consumers.services.abreast import up_to
from consumers.services.kept import Kept
from consumers.services.notes import Notes, Terms
from consumers.services.seat import Seat
from consumers.services.strategy import Strategy, channels
from ingest.contract import keys
from ingest.contract.codec import Entry, UnreadableEntry
from ingest.contract.events import Event, Status
from ingest.contract.keys import StreamKey

MOST_AHEAD = 2_000
"""Old entries that are shown in one step."""

_log = structlog.get_logger()


class Bot:
    """One strategy over all symbols of the group, an object of it for each exchange and symbol.

    A delivered entry means: there are entries up to here. All that the streams of its symbol have up to it is shown in
    the order of their ids, the same one in which a replay has them; what has become of the bot's own orders is in such
    streams as well. What the strategy remembers, and how far it was shown each stream, is kept with what follows, see
    kept.py.
    """

    seat: type[Seat] = Seat

    def __init__(
        self,
        redis: Redis,
        name: str,
        strategy: type[Strategy],
        *,
        account: str = "paper",
        live_within_ms: int = 10_000,
        valid_ms: int = 5_000,
        limit_s: float = 1.0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self.partition: Partition = "symbol"
        self.channels = channels(strategy)
        self._redis = redis
        self._terms = Terms(
            bot=name, kind=strategy, account=account, live_within_ms=live_within_ms, valid_ms=valid_ms, limit_s=limit_s
        )
        self._now_ns = now_ns
        self._seats: dict[str, tuple[Kept[Notes], Seat]] = {}

    async def handle(self, delivery: Delivery) -> None:
        """Show the strategy all up to this entry, and append what it wishes."""
        name = keys.kept(delivery.key.exchange, self.name, delivery.key.symbol)
        # Left out of the table while at work: whatever may be raised, the next attempt opens it anew.
        kept, seat = self._seats.pop(name) if name in self._seats else await self._open(name, delivery)
        if kept.has(delivery):
            await kept.finish(delivery)
        else:
            await self._take(kept, seat, delivery)
        self._seats[name] = kept, seat

    async def _take(self, kept: Kept[Notes], seat: Seat, delivery: Delivery) -> None:
        events = [event async for event in self._shown(seat, delivery)]
        if events:
            await kept.effect(delivery, seat.notes, events)
        elif seat.notes is not kept.state:
            await kept.note(delivery, seat.notes)

    async def _open(self, name: str, delivery: Delivery) -> tuple[Kept[Notes], Seat]:
        """As it was left; with the book, which is not kept, as it was after the last entry that was shown."""
        kept = await Kept.open(self._redis, name, Notes(), delivery.fence)
        seat = self.seat(self._terms, delivery.key.exchange, delivery.key.symbol, kept.state)
        books = [str(key) for key in seat.streams if key.channel == "orderbook"]
        if books and seat.last:
            async for key, entry, _ in _replayed(self._redis, books, start=seat.last, until=seat.last):
                if seat.has(key, entry):
                    seat.glance(key, entry)
        return kept, seat

    async def _shown(self, seat: Seat, delivery: Delivery) -> AsyncIterator[Event]:
        key, entry = delivery.key, delivery.entry
        if not seat.has(key, entry):
            async for event in self._warm_up(seat, entry):
                yield event
        if not seat.has(key, entry):
            async for each, before in self._before(seat, key, entry):
                for event in self._show(seat, each, before):
                    yield event
        for event in self._show(seat, key, entry):
            yield event

    async def _warm_up(self, seat: Seat, entry: Entry) -> AsyncIterator[Event]:
        """While what comes is old, show more of what is old than was asked for: it is faster."""
        old_ms = self._now_ns() // 1_000_000 - self._terms.live_within_ms
        if parts(entry.id)[0] > old_ms:
            return
        names, shown = [str(key) for key in seat.streams], 0
        async with aclosing(_replayed(self._redis, names, seat.last or "start", str(old_ms))) as replayed:
            async for key, old, early in replayed:
                if early:
                    seat.glance(key, old)
                    continue
                for event in self._show(seat, key, old):
                    yield event
                shown += 1
                if shown == MOST_AHEAD:
                    return

    async def _before(self, seat: Seat, key: StreamKey, entry: Entry) -> AsyncIterator[tuple[StreamKey, Entry]]:
        """What has not been shown and belongs before this entry."""
        place = seat.place(key)
        if len(seat.streams) == 1 and (place.g, place.n + 1) == (entry.g, entry.n):
            return
        async for each, before in up_to(
            self._redis, {each: seat.place(each).id for each in seat.streams}, key, entry.id
        ):
            yield each, before

    def _show(self, seat: Seat, key: StreamKey, entry: Entry) -> tuple[Event, ...]:
        events = seat.show(key, entry, self._now_ns())
        for event in events:
            if isinstance(event.body, Status):
                _log.error(event.body.state.replace("_", " "), bot=self.name, stream=str(key), reason=event.body.reason)
        return events


async def _replayed(
    redis: Redis, names: list[str], start: str, until: str
) -> AsyncGenerator[tuple[StreamKey, Entry, bool], None]:
    """What can be read of these streams, and whether it is a book's of before the start."""
    async with aclosing(aiter(Replay(redis, names, start=start, until=until))) as steps:
        async for step in steps:
            if not isinstance(step, Replayed):
                continue
            try:
                entry = step.entry()
            except UnreadableEntry:
                continue
            yield step.key, entry, step.early
