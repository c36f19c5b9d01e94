"""What must hold over the whole history of what was traded, and where it does not. Pure."""

from collections import defaultdict
from decimal import Decimal, localcontext

from consumers.services.accounting import EXACT
from consumers.services.venue import NEXT
from tests.consumers.services.limiting import beyond_limits, is_killed
from tests.consumers.services.summing import not_the_sums

_MS = 1_000_000
_STEP_MS = 5
"""That one step may take: time does not stand still for scripts of Redis 7.0, and states are written before fills."""


def violations(seen, limits, market, held, *, settled=True, names=None):
    """In words, of one symbol; nothing if all is well.

    `held` are the positions that are kept, by account; `settled` says that nothing was on its way any more when the
    history was read. `names` are the identities of entries that bots were shown, by stream and entry id, also of such
    as are gone: by these it is found if one entry was acted upon twice, under two names.
    """
    with localcontext(EXACT):
        return [
            *_named_twice(seen),
            *_wished_twice(seen, names or {}),
            *_answered_wrongly(seen),
            *(_unanswered(seen) if settled else ()),
            *_off_the_diagram(seen),
            *_not_as_wished(seen),
            *_unlike_their_fills(seen),
            *_wrong_fills(seen, market),
            *not_the_sums(seen, market.symbol, held, settled=settled),
            *beyond_limits(seen, limits, market),
        ]


def _named_twice(seen):
    times = defaultdict(int)
    for each in seen:
        times[each.channel, each.s] += 1
    return [f"{channel} {s} is there {count} times" for (channel, s), count in times.items() if count > 1]


def _wished_twice(seen, names):
    """Bots name what they wish BOT/STREAM/ENTRY/INDEX; here what they call the entry does not matter."""
    times = defaultdict(int)
    for each in seen:
        if each.channel == "intents" and each.s.count("/") == 3:
            bot, stream, entry, index = each.s.split("/")
            times[bot, stream, names.get((stream, entry), entry), index] += 1
    return [f"{'/'.join(cause)} has become {count} intents" for cause, count in times.items() if count > 1]


def _answered_wrongly(seen):
    """An intent that is approved is what was wished, and is not refused besides; and there are no other orders."""
    wished, approved, refused = {}, set(), set()
    for each in seen:
        name = getattr(each.body, "intent_id", "")
        if each.channel == "intents":
            wished[each.s] = each.body
        elif each.channel == "approved":
            approved.add(name)
            if wished.get(name) != each.body:
                yield f"{name} was approved and is not what was wished"
            if name in refused:
                yield f"{name} was refused, and then approved"
        elif each.channel == "orders" and name not in approved:
            refused.add(name)
            if name not in wished:
                yield f"{each.s} is of no intent"
            if each.body.status != "rejected":
                yield f"{name} is an order and was not approved"


def _unanswered(seen):
    """Each intent is approved or refused, and each that is approved is one order, or has ended one."""
    approved, orders, ended = set(), defaultdict(set), set()
    for each in seen:
        if each.channel == "approved":
            approved.add(each.s)
        elif each.channel == "orders":
            orders[each.body.intent_id].add(each.body.order_id)
            ended.add(each.body.reason or "")
    yield from (f"{name} has become {len(ids)} orders" for name, ids in orders.items() if len(ids) > 1)
    for each in seen:
        if each.channel == "intents" and each.s not in orders:
            if each.s not in approved:
                yield f"{each.s} has no answer"
            elif each.body.order_type != "cancel":
                yield f"{each.s} was approved and is no order"
            elif f"canceled by {each.s[:200]}" not in ended:
                yield f"{each.s} was approved and has ended no order"


def _off_the_diagram(seen):
    statuses = {}
    for each in seen:
        if each.channel == "orders":
            before = statuses.get(each.body.order_id, "")
            if each.body.status not in NEXT[before]:
                yield f"{each.s}: {each.body.status} follows {before or 'nothing'}"
            statuses[each.body.order_id] = each.body.status


def _not_as_wished(seen):
    intents = {each.s: each.body for each in seen if each.channel == "intents"}
    for each in seen:
        if each.channel == "orders" and (intent := intents.get(each.body.intent_id)):
            order = each.body
            if [order.account, order.side, order.amount] != [intent.account, intent.side, intent.amount]:
                yield f"{each.s} is not what was wished"
            if order.status == "new" and order.updated_ns > intent.valid_until_ns:
                yield f"{each.s} was placed after its valid_until_ns"


def _unlike_their_fills(seen):
    """What an order says of its fills grows, and never comes before them; in the end it is their sum."""
    fills, orders = defaultdict(list), {}
    for each in seen:
        if each.channel == "fills":
            fills[each.body.order_id].append((each.at[0], Decimal(each.body.amount)))
    for each in seen:
        if each.channel == "orders":
            order, before = each.body, orders.get(each.body.order_id)
            told = sum(amount for ms, amount in fills[order.order_id] if ms <= each.at[0] + _STEP_MS)
            if not Decimal(before.filled if before else 0) <= Decimal(order.filled) <= told:
                yield f"{each.s}: {order.filled} filled, {told} in fills"
            orders[order.order_id] = order
    for order_id, its in fills.items():
        order, told = orders.get(order_id), sum(amount for _, amount in its)
        if order is None:
            yield f"{order_id} has fills and no state"
        elif not told == Decimal(order.filled) <= Decimal(order.amount):
            yield f"{order_id}: {order.filled} of {order.amount} filled, {told} in fills"


def _wrong_fills(seen, market):
    approved = {}
    for each in seen:
        if each.channel == "approved":
            approved[each.s] = each.body
        elif each.channel == "fills":
            fill, intent = each.body, approved.get(each.body.intent_id)
            if intent is None or (fill.account, fill.side) != (intent.account, intent.side):
                yield f"{each.s} fills what was not approved"
            elif intent.order_type == "limit" and _is_worse(fill, intent):
                yield f"{each.s} is at {fill.price}, beyond {intent.price}"
            if is_killed(market, fill.received_ns, (each.at[0] + 1) * _MS):
                yield f"{each.s} was filled while the kill switch was on"


def _is_worse(fill, intent):
    price, limit = Decimal(fill.price), Decimal(intent.price)
    return price > limit if fill.side == "buy" else price < limit
