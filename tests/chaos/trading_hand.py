"""Somebody who trades by hand beside the bots, for the same accounts: cancels, nonsense, and what comes too late."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from random import Random
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from consumers.append import append
from consumers.latest import latest_ticker
from consumers.services.limits import price_of
from ingest.contract.codec import decode
from ingest.contract.events import Event, Intent, Order
from ingest.contract.keys import StreamKey
from tests.chaos.trading_bots import UNITS

ACCOUNTS = ("alpha", "beta", "gamma")
_EVERY_S = 0.25
_SECOND_NS = 1_000_000_000
_NEWEST = 20

T = TypeVar("T")


async def trade(redis: Redis, symbols: Sequence[StreamKey], seed: int, stopping: asyncio.Event) -> None:
    """Until asked to stop; each intent is there in the end, once. `symbols` are streams of intents."""
    dice, number = Random(seed), 0
    while not stopping.is_set():
        number += 1
        key = dice.choice(symbols)
        event = await surely(lambda key=key, number=number: _wish(redis, dice, key, number))
        await surely(lambda event=event: append(redis, [event]))
        await asyncio.sleep(_EVERY_S * dice.uniform(0.5, 1.5))


async def surely(do: Callable[[], Awaitable[T]]) -> T:
    """Again until Redis has answered."""
    while True:
        with contextlib.suppress(RedisError, OSError):
            return await do()
        await asyncio.sleep(0.05)


async def _wish(redis: Redis, dice: Random, key: StreamKey, number: int) -> Event:
    now_ns = time.time_ns()
    fields = {
        "intent_id": f"hand-{number}",
        "account": dice.choice(ACCOUNTS),
        "bot": "hand",
        "side": dice.choice(["buy", "sell"]),
        "order_type": "market",
        "amount": str(UNITS[key.symbol.partition("/")[0]] * dice.choice([0, 1, 1, 2])),
        "decided_ns": now_ns,
        "valid_until_ns": now_ns + dice.choice([-1, 1, 5, 5]) * _SECOND_NS,
    }
    kind = dice.choice(["market", "cancel", "limit", "limit"])
    latest = await latest_ticker(redis, StreamKey(key.exchange, "ticker", key.symbol))
    if kind == "cancel" and (order := await _some_order(redis, dice, key)):
        fields |= {"order_type": kind, "amount": "0", "account": order.account, "cancels": order.intent_id}
    elif kind == "limit" and latest and (price := price_of(latest.ticker)):
        far = price * Decimal(dice.choice(["0.99995", "0.9995", "1", "1.0005"]))
        fields |= {"order_type": kind, "price": str(far.quantize(Decimal(dice.choice(["0.1", "0.1", "0.001"]))))}
    return Event(key, fields["intent_id"], Intent(**fields), "window")


async def _some_order(redis: Redis, dice: Random, key: StreamKey) -> Order | None:
    newest = await redis.xrevrange(str(StreamKey(key.exchange, "orders", key.symbol)), count=_NEWEST)
    events = [decode(*raw).event for raw in newest]
    orders = [event for event in events if isinstance(event, Order)]
    waiting = [order for order in orders if order.status in ("open", "partially_filled")]
    return dice.choice(waiting or orders) if orders else None
