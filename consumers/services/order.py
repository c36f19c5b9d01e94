"""The order service: answers each intent once, with a refusal or with what the paper exchange fills of it."""

import time
from collections.abc import Callable
from decimal import Decimal

from redis.asyncio import Redis

from consumers.append import append
from consumers.book import LiveBook
from consumers.delivery import Delivery
from consumers.partition import Partition
from consumers.services.paper import Ticket, execute, refuse
from ingest.contract import keys
from ingest.contract.events import Event, Intent
from ingest.contract.keys import StreamKey


class Orders:
    """Intents in, orders and fills out.

    All that follows from an intent is appended by one call of the script: all of it is there or nothing is. An
    intent that comes again is known by the first state of its order and left alone as a whole: executed by a book
    that has moved since, it could have a fill more than the first time. No lock stands between that look and the
    append, so a symbol may have one consumer only.
    """

    channels: tuple[str, ...] = ("intents",)
    partition: Partition = "symbol"

    def __init__(
        self,
        redis: Redis,
        name: str = "order",
        *,
        taker_fee: Decimal = Decimal("0.001"),
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self._redis = redis
        self._taker_fee = taker_fee
        self._now_ns = now_ns
        self._books: dict[StreamKey, LiveBook] = {}

    async def handle(self, delivery: Delivery) -> None:
        """Answer an intent that has no answer yet."""
        if not isinstance(delivery.event, Intent):
            return
        key = delivery.key
        ticket = Ticket(exchange=key.exchange, symbol=key.symbol, intent=delivery.event, now_ns=self._now_ns())
        if await self._redis.zscore(ticket.orders.ids, ticket.first) is None:
            await append(self._redis, await self._answer(ticket))

    async def _answer(self, ticket: Ticket) -> tuple[Event, ...]:
        objection = _objection(ticket)
        if objection:
            return refuse(ticket, objection)
        key = StreamKey(ticket.exchange, "orderbook", ticket.symbol)
        live = self._books.setdefault(key, LiveBook(key))
        await live.refresh(self._redis)
        if not live.live:
            known = await self._redis.sismember(keys.streams(key.exchange), str(key))
            return refuse(
                ticket, "no live book" if known else f"unknown symbol: {key.exchange} has no book of {key.symbol}"
            )
        if live.book.crossed:
            return refuse(ticket, "no live book: it is crossed")
        return execute(ticket, live.book, self._taker_fee)


def _objection(ticket: Ticket) -> str | None:
    """What speaks against the intent whatever the market."""
    intent = ticket.intent
    if not Decimal(intent.amount):
        return "the amount is not above 0"
    if intent.order_type == "limit" and intent.price is None:
        return "a limit order without a price"
    late_ms = (ticket.now_ns - intent.valid_until_ns) // 1_000_000
    return f"came {late_ms} ms after its valid_until_ns" if ticket.now_ns > intent.valid_until_ns else None
