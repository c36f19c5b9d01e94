"""The whole history of what was traded, read from the streams and checked against what must always hold."""

from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

from consumers import stored
from consumers.services.venue import NEXT, TERMINAL
from ingest.contract import keys
from ingest.contract.events import Fill, Intent, Order, Position
from ingest.contract.keys import StreamKey

# Within a millisecond, streams have no order but that of cause and effect.
_CHANNELS = ("intents", "approved", "fills", "orders", "positions")


class Seen(NamedTuple):
    """One entry."""

    at: tuple[int, int, int]
    channel: str
    s: str
    body: Intent | Order | Fill | Position


async def history(redis, exchange, symbol):
    """All entries of the services' streams, in the order in which they were written."""
    seen = []
    for rank, channel in enumerate(_CHANNELS):
        async for entry in stored.entries(redis, StreamKey(exchange, channel, symbol), after="0-0"):
            ms, _, sequence = entry.id.partition("-")
            seen.append(Seen((int(ms), rank, int(sequence)), channel, entry.s, entry.event))
    return sorted(seen, key=lambda each: each.at)


async def held(redis, exchange, symbol):
    """The quantity that each account is said to hold."""
    found = {}
    for name in await stored.members(redis, keys.positions(exchange)):
        fields = await stored.fields(redis, name)
        if fields[b"symbol"] == symbol.encode():
            found[fields[b"account"].decode()] = Decimal(fields[b"quantity"].decode())
    return found


def violations(seen, *, most, quantities, settled=True):
    """What does not hold; `most` is the limit of positions, `quantities` are those that are kept."""
    return [
        *_named_twice(seen),
        *_answers(seen, settled),
        *_orders(seen),
        *_positions(seen, quantities),
        *_limits(seen, most),
    ]


def _named_twice(seen):
    names = defaultdict(int)
    for each in seen:
        names[each.channel, each.s] += 1
    return [f"{channel} {s} is there {count} times" for (channel, s), count in names.items() if count > 1]


def _answers(seen, settled):
    """Each intent is approved or refused once, and each that is approved is one order."""
    approved = {each.s for each in seen if each.channel == "approved"}
    orders = defaultdict(set)
    for each in seen:
        if each.channel == "orders":
            orders[each.body.intent_id].add(each.body.order_id)
    yield from (f"{name} has become {len(ids)} orders" for name, ids in orders.items() if len(ids) > 1)
    for each in seen:
        if each.channel == "intents" and settled:
            cancels = each.body.order_type == "cancel"
            if each.s not in approved and each.s not in orders:
                yield f"{each.s} has no answer"
            if each.s in approved and each.s not in orders and not cancels:
                yield f"{each.s} was approved and is no order"


def _orders(seen):
    states, filled = {}, defaultdict(Decimal)
    for each in seen:
        if each.channel == "orders":
            before = states.get(each.body.order_id)
            if each.body.status not in NEXT[before.status if before else ""]:
                yield f"{each.s}: {each.body.status} follows {before.status if before else 'nothing'}"
            states[each.body.order_id] = each.body
        elif each.channel == "fills":
            filled[each.body.order_id] += Decimal(each.body.amount)
    for order in states.values():
        if not filled[order.order_id] == Decimal(order.filled) <= Decimal(order.amount):
            yield f"{order.order_id}: {order.filled} of {order.amount} filled, {filled[order.order_id]} in fills"
    yield from (f"{order_id} has fills and no state" for order_id in filled.keys() - states.keys())


def _positions(seen, quantities):
    sums, told = defaultdict(Decimal), {}
    for each in seen:
        if each.channel == "fills":
            sums[each.body.account] += _signed(each.body)
        elif each.channel == "positions":
            told[each.body.account] = Decimal(each.body.quantity)
    if not dict(sums) == told == quantities:
        yield f"fills add up to {dict(sums)}, told is {told}, kept is {quantities}"


def _limits(seen, most):
    """At no entry could an account have come to hold more than `most`."""
    position, open_ = defaultdict(Decimal), {}
    for each in seen:
        body = each.body
        if each.channel == "approved" and body.order_type != "cancel":
            open_[body.intent_id] = [body.account, body.side, Decimal(body.amount)]
        elif each.channel == "fills":
            position[body.account] += _signed(body)
            if body.intent_id in open_:
                open_[body.intent_id][2] -= Decimal(body.amount)
        elif each.channel == "orders" and body.status in TERMINAL:
            open_.pop(body.intent_id, None)
        for account in {who for who, _, _ in open_.values()} | position.keys():
            for side, sign in (("buy", 1), ("sell", -1)):
                may_come = sum(left for who, which, left in open_.values() if (who, which) == (account, side))
                if sign * position[account] + may_come > most:
                    yield f"{each.channel} {each.s}: {account} could {side} up to {sign * position[account] + may_come}"


def _signed(fill):
    return Decimal(fill.amount) * (1 if fill.side == "buy" else -1)
