"""The order service: hands each approved intent to a venue once, and tells what becomes of it."""

import asyncio
import time
from collections.abc import Callable

from redis.asyncio import Redis

from consumers.book import LiveBook
from consumers.delivery import Delivery
from consumers.partition import Partition
from consumers.services.kept import Kept, Killed
from consumers.services.limits import KILLED
from consumers.services.venue import Desk, Step, Ticket, Venue
from ingest.contract import keys
from ingest.contract.events import Intent
from ingest.contract.keys import StreamKey


class Orders:
    """Approved intents in, orders and fills out. What is not over yet is kept per symbol (`keys.kept`).

    While the kill switch is on nothing is placed and nothing filled: what would be is canceled instead.
    """

    partition: Partition = "symbol"

    def __init__(
        self, redis: Redis, name: str = "order", *, venue: Venue, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.name = name
        self.channels = ("approved", *venue.channels)
        self._redis = redis
        self._venue = venue
        self._now_ns = now_ns
        self._books: dict[StreamKey, LiveBook] = {}
        self._desks: dict[str, Kept[Desk]] = {}

    async def handle(self, delivery: Delivery) -> None:
        """Let the venue act upon it, if it does."""
        name = keys.kept(delivery.key.exchange, self.name, delivery.key.symbol)
        # It is left out of the table while it is at work: whatever may be raised, the next attempt opens it anew.
        desk = self._desks.pop(name, None) or await Kept.open(self._redis, name, Desk(), delivery.fence)
        if desk.has(delivery):
            await desk.finish(delivery)
        else:
            step = await self._step(desk.state, delivery)
            if step != Step(desk.state):
                await self._effect(desk, delivery, step)
        self._desks[name] = desk

    async def _step(self, desk: Desk, delivery: Delivery) -> Step:
        key = delivery.key
        if key.channel != "approved":
            return self._venue.hear(desk, key, delivery.event, self._now_ns())
        if not isinstance(delivery.event, Intent):
            return Step(desk)
        await self._until(self._venue.acts_ns(delivery.event), delivery.event)
        live = await self._book(key)
        return self._venue.place(desk, self._ticket(delivery, delivery.event), live.book if live.live else None)

    async def _effect(self, desk: Kept[Desk], delivery: Delivery, step: Step) -> None:
        key, intent = delivery.key, delivery.event
        is_cancel = isinstance(intent, Intent) and intent.order_type == "cancel"
        try:
            await desk.effect(delivery, step.desk, step.events, while_on=not is_cancel)
        except Killed:
            ended = self._venue.end_all(desk.state, key.exchange, key.symbol, self._now_ns(), KILLED)
            refusal = (self._ticket(delivery, intent).refused(KILLED),) if isinstance(intent, Intent) else ()
            await desk.effect(delivery, ended.desk, (*ended.events, *refusal))

    async def _until(self, acts_ns: int, intent: Intent) -> None:
        # No longer than from its decision on: a bot's clock may be ahead of ours.
        await asyncio.sleep(max(0, min(acts_ns - self._now_ns(), acts_ns - intent.decided_ns)) / 1e9)

    async def _book(self, key: StreamKey) -> LiveBook:
        key = StreamKey(key.exchange, "orderbook", key.symbol)
        live = self._books.setdefault(key, LiveBook(key))
        await live.refresh(self._redis)
        return live

    def _ticket(self, delivery: Delivery, intent: Intent) -> Ticket:
        return Ticket(delivery.key.exchange, delivery.key.symbol, intent, self._now_ns())
