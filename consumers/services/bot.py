"""The bot: shows each price to a strategy and puts what it wishes on the bus as intents, each of them once."""

import time
from collections.abc import Callable
from decimal import Decimal
from itertools import groupby

import structlog
from msgspec import Struct, convert
from redis.asyncio import Redis

from consumers.append import append
from consumers.book import LiveBook
from consumers.delivery import Delivery
from consumers.partition import Partition
from consumers.services.accounting import plain
from consumers.services.strategy import Hook, News, Strategy, Wish, channels, hooks
from ingest.contract.events import Candle, Event, Intent, Trade
from ingest.contract.keys import StreamKey, check_name, parse_symbol

_log = structlog.get_logger()


class Bot:
    """One strategy over all symbols of the group, an object of it for each exchange and symbol.

    Old entries are warm-up: the strategy sees them, what it wishes is let go. A strategy that raises gets the next
    entry all the same; the one it failed on is logged, counted in `failures` and not shown again, since half of it
    may be in the strategy's state.
    """

    def __init__(
        self,
        redis: Redis,
        name: str,
        strategy: type[Strategy],
        *,
        account: str = "paper",
        live_within_ms: int = 10_000,
        valid_ms: int = 5_000,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self.partition: Partition = "symbol"
        self.channels = channels(strategy)
        self.failures = 0
        self._redis = redis
        self._strategy = strategy
        self._account = account
        self._live_within_ns = live_within_ms * 1_000_000
        self._valid_ns = valid_ms * 1_000_000
        self._now_ns = now_ns
        self._seats: dict[tuple[str, str], _Seat] = {}

    async def handle(self, delivery: Delivery) -> None:
        """Append what the strategy wishes upon this entry."""
        key = delivery.key
        seat = self._seats.get((key.exchange, key.symbol)) or self._take_a_seat(key)
        # An attempt after a failed append must not show the strategy the same entry again.
        if seat.decided_upon != (key, delivery.entry.id):
            seat.intents = await self._decide(delivery, seat)
            seat.decided_upon = (key, delivery.entry.id)
        for _, intents in groupby(seat.intents, key=lambda event: event.key.exchange):
            await append(self._redis, tuple(intents))

    async def _decide(self, delivery: Delivery, seat: "_Seat") -> tuple[Event, ...]:
        key, event = delivery.key, delivery.event
        complete = key.channel != "orderbook" or await seat.book.follow(self._redis, delivery.entry)
        if not complete or not isinstance(event, News) or type(event) not in seat.hooks:
            return ()
        now_ns = self._now_ns()
        try:
            shown = seat.book.book if key.channel == "orderbook" else event
            wishes = tuple(seat.hooks[type(event)](key, shown) or ())
            if now_ns - _fresh_ns(event) > self._live_within_ns:
                return ()
            return tuple(self._intent(delivery, index, wish, now_ns) for index, wish in enumerate(wishes))
        except Exception:  # noqa: BLE001 - a strategy is code we did not write
            self.failures += 1
            if self.failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th …: a strategy may fail on every entry
                _log.exception("strategy failed", bot=self.name, stream=str(key), entry_id=delivery.entry.id)
            return ()

    def _take_a_seat(self, key: StreamKey) -> "_Seat":
        book = LiveBook(StreamKey(key.exchange, "orderbook", key.symbol))
        seat = self._seats[key.exchange, key.symbol] = _Seat(hooks=hooks(self._strategy()), book=book)
        return seat

    def _intent(self, delivery: Delivery, index: int, wish: Wish, now_ns: int) -> Event:
        key = delivery.key
        # Of what never changes for this entry: deciding upon it again, whenever and whatever, names the same intent.
        intent_id = f"{self.name}/{key}/{delivery.entry.s}/{index}"
        said = {
            "intent_id": intent_id,
            "account": self._account,
            "bot": self.name,
            "side": wish.side,
            "order_type": wish.order_type,
            "amount": plain(Decimal(wish.amount)),
            "price": None if wish.price is None else plain(Decimal(wish.price)),
            "decided_ns": now_ns,
            "valid_until_ns": now_ns + self._valid_ns,
        }
        target = StreamKey(
            check_name(wish.exchange or key.exchange), "intents", parse_symbol(wish.symbol or key.symbol)
        )
        # Checked here, while it is one strategy's mistake: on the bus it would be an entry that nobody can read.
        return Event(key=target, s=intent_id, body=convert(said, Intent), rule="window")


class _Seat(Struct):
    """Where one object of the strategy sits: what it listens with, and the book it is shown."""

    hooks: dict[type[News], Hook]
    book: LiveBook
    decided_upon: tuple[StreamKey, str] | None = None
    """The last entry that it was shown, and what it wished then."""
    intents: tuple[Event, ...] = ()


def _fresh_ns(event: News) -> int:
    """When the event was news: one that was backfilled was old when we received it."""
    if isinstance(event, Trade | Candle) and event.backfilled:
        return event.exchange_ns or 0
    return event.received_ns
