"""The risk service: lets an intent become an order, or says why not, so that no limit is ever exceeded."""

import time
from collections.abc import Callable

from msgspec.structs import replace
from redis.asyncio import Redis

from consumers import stored
from consumers.client import command
from consumers.delivery import Delivery
from consumers.latest import latest_ticker
from consumers.partition import Partition
from consumers.services.exposure import Account, Exposure
from consumers.services.kept import Kept, Killed
from consumers.services.limits import KILLED, Limits, Look, objection
from consumers.services.rebuilding import opened
from consumers.services.venue import Ticket
from ingest.contract import instruments, keys
from ingest.contract.events import Event, Fill, Intent, Order, Status
from ingest.contract.keys import StreamKey


class Risk:
    """Intents in; out come the same into `approved`, or an order that is `rejected` with its reason.

    What is approved counts as filled until its order is over: in `orders` it is read that it is, in `fills` what
    became of it. Both may come late, which makes the service refuse more than it would have to, and never less.
    """

    channels: tuple[str, ...] = ("intents", "orders", "fills")
    partition: Partition = "symbol"

    def __init__(
        self, redis: Redis, name: str = "risk", *, limits: Limits, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.name = name
        self._redis = redis
        self._limits = limits
        self._now_ns = now_ns
        self._kept: dict[str, Kept[Exposure]] = {}

    async def handle(self, delivery: Delivery) -> None:
        """Decide upon an intent, or take in what has become of one."""
        key = delivery.key
        name = keys.kept(key.exchange, self.name, key.symbol)
        # It is left out of the table while it is at work: whatever may be raised, the next attempt opens it anew.
        kept = self._kept.pop(name, None) or await self._open(name, delivery)
        if kept.has(delivery):
            await kept.finish(delivery)
        else:
            await self._take(kept, delivery)
        self._kept[name] = kept

    async def _take(self, kept: Kept[Exposure], delivery: Delivery) -> None:
        exposure, entry = kept.state, delivery.entry
        match delivery.event:
            case Intent() as intent:
                await self._decide(kept, delivery, intent)
            case Fill() as fill if entry.g != exposure.fills_g or entry.n > exposure.fills_n:
                known = fill.intent_id in exposure.of(fill.account).open
                after = replace(exposure.fill(fill), missing=exposure.missing + delivery.hole)
                await kept.effect(delivery, after, () if known else (_unknown(delivery.key, fill),))
            case Order() as order if (after := exposure.order(order)) != exposure:
                await kept.effect(delivery, after, ())

    async def _decide(self, kept: Kept[Exposure], delivery: Delivery, intent: Intent) -> None:
        key, exposure = delivery.key, kept.state
        ticket = Ticket(key.exchange, key.symbol, intent, self._now_ns())
        if await self._is_answered(ticket):
            return
        look = await self._look(key, ticket.now_ns)
        reason = objection(self._limits, exposure, key.symbol, intent, look)
        if reason is None:
            try:
                await self._approve(kept, delivery, intent, ticket.now_ns)
            except Killed:
                reason = KILLED
        if reason is not None:
            await kept.effect(delivery, exposure, (ticket.refused(reason),))

    async def _approve(self, kept: Kept[Exposure], delivery: Delivery, intent: Intent, now_ns: int) -> None:
        key, is_cancel = delivery.key, intent.order_type == "cancel"
        approved = Event(StreamKey(key.exchange, "approved", key.symbol), intent.intent_id, intent, "window")
        after = kept.state if is_cancel else kept.state.approve(intent, now_ns, self._limits.orders_per_s)
        await kept.effect(delivery, after, (approved,), while_on=not is_cancel)

    async def _is_answered(self, ticket: Ticket) -> bool:
        """An intent that is so named was decided upon: what names the same is the same."""
        approved = StreamKey(ticket.exchange, "approved", ticket.symbol)
        pipe = self._redis.pipeline(transaction=False)
        pipe.zscore(approved.ids, ticket.intent.intent_id)
        pipe.zscore(ticket.orders.ids, ticket.first)
        return any(score is not None for score in await pipe.execute())

    async def _look(self, key: StreamKey, now_ns: int) -> Look:
        pipe = self._redis.pipeline(transaction=False)
        pipe.exists(keys.KILL, keys.kill(key.exchange))
        pipe.hget(keys.instruments(key.exchange), key.symbol)
        killed, row = await pipe.execute()
        latest = await latest_ticker(self._redis, StreamKey(key.exchange, "ticker", key.symbol))
        return Look(
            instrument=None if row is None else instruments.decode(row),
            ticker=None if latest is None or latest.stale else latest.ticker,
            killed=bool(killed),
            now_ns=now_ns,
        )

    async def _open(self, name: str, delivery: Delivery) -> Kept[Exposure]:
        kept = await Kept.open(self._redis, name, Exposure(), delivery.fence)
        if kept.is_new:
            kept.state = await self._held(delivery.key)
        return kept

    async def _held(self, key: StreamKey) -> Exposure:
        """What the position service has come to, a risk service may be the younger one; and what comes here no more."""
        fills = StreamKey(key.exchange, "fills", key.symbol)
        handled = await command(self._redis, "HGET", keys.handled(key.exchange, self.name), str(fills)) or b""
        ledger = await opened(self._redis, fills)
        for until in handled.decode().split()[3:]:
            async for entry in stored.entries(self._redis, fills, after=ledger.id, until=until):
                ledger.take(entry)
        accounts = {name: Account(position=held.position.quantity) for name, held in ledger.accounts.items()}
        return Exposure(accounts, fills_g=ledger.g, fills_n=ledger.n, missing=ledger.missing)


def _unknown(key: StreamKey, fill: Fill) -> Event:
    reason = f"fill {fill.fill_id:.100} belongs to no approved intent: {fill.intent_id:.100}"
    status = Status(state="unknown_fill", reason=reason, symbol=key.symbol, stream=str(key))
    return Event(StreamKey(key.exchange, "status"), f"{key.symbol} {fill.fill_id}.unknown", status, "window")
