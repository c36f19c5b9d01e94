"""Limits over the whole history: how far accounts could have come, and what was to see at each decision. Pure."""

from bisect import bisect_right
from collections import defaultdict
from decimal import Decimal
from itertools import takewhile
from typing import NamedTuple

from consumers.services.venue import TERMINAL
from ingest.contract.events import Gap, Ticker

_MS = 1_000_000
_SLACK_MS = 5
"""By which the clock of Redis and that of a service may be apart on one machine."""


def beyond_limits(seen, limits, market):
    """Where an account could have come to hold more than its limit, and what was approved against one."""
    yield from _beyond_positions(seen, limits.position.get(market.symbol))
    decisions, sights = _decisions(seen), _sights(market)
    for decision in decisions:
        for why in _against(decision, limits, market, sights):
            yield f"{decision.intent.intent_id} was approved: {why}"
    yield from _too_often(decisions, limits.orders_per_s)


class _Reach:
    """How far accounts could come if all that is approved and not over were filled."""

    def __init__(self):
        self._position, self._may_come, self._open = defaultdict(Decimal), defaultdict(Decimal), {}

    def take(self, each):
        body = each.body
        if each.channel == "approved" and body.order_type != "cancel":
            self._open[body.intent_id] = Decimal(0)
            self._add(body, Decimal(body.amount))
        elif each.channel == "fills":
            self._position[body.account] += Decimal(body.amount) * (1 if body.side == "buy" else -1)
            self._add(body, -Decimal(body.amount))
        elif each.channel == "orders" and body.status in TERMINAL:
            self._add(body, -self._open.get(body.intent_id, 0))
            self._open.pop(body.intent_id, None)

    def of(self, account, side):
        """To that side; below 0 it is on the other one."""
        position = self._position[account] * (1 if side == "buy" else -1)
        return position + self._may_come[account, side]

    def _add(self, body, amount):
        if body.intent_id in self._open:
            self._open[body.intent_id] += amount
            self._may_come[body.account, body.side] += amount


def _beyond_positions(seen, most):
    reach = _Reach()
    for each in seen if most is not None else ():
        reach.take(each)
        for side in ("buy", "sell") if each.channel in ("approved", "fills") else ():
            if (worst := reach.of(each.body.account, side)) > most:
                yield f"{each.channel} {each.s}: {each.body.account} could {side} up to {worst}"


class _Decision(NamedTuple):
    """An approval. It was decided upon after the intent came and those before it had their answers, and before it was
    told, which after a crash may be much later."""

    intent: object
    since_ms: int
    until_ms: int
    worst: Decimal
    """How far the account could come with it."""


def _decisions(seen):
    came, reach = _came(seen), _Reach()
    found = []
    for each in seen:
        reach.take(each)
        if each.channel == "approved" and each.s in came:
            worst = reach.of(each.body.account, each.body.side)
            found.append(_Decision(each.body, came[each.s] - _SLACK_MS, each.at[0] + _SLACK_MS, worst))
    return found


def _came(seen):
    """When it was each intent's turn, in ms."""
    answered, turns, now = {}, {}, 0
    for each in seen:
        if each.channel in ("approved", "orders"):
            answered.setdefault(each.body.intent_id, each.at[0])
    for each in seen:
        if each.channel == "intents":
            turns[each.s] = max(now, each.at[0])
            now = max(now, answered.get(each.s, 0))
    return turns


def _against(decision, limits, market, sights):
    """What speaks against it: one thing that holds of every price that it may have been decided by."""
    intent = decision.intent
    if intent.valid_until_ns < decision.since_ms * _MS:
        yield "after its valid_until_ns"
    if intent.order_type == "cancel":
        return
    yield from _of_itself(intent, limits, market)
    if is_killed(market, decision.since_ms * _MS, (decision.until_ms + 1) * _MS):
        yield "while the kill switch was on"
    shown = sights[: bisect_right(sights, decision.until_ms, key=lambda sight: sight.since_ms)]
    shown = list(takewhile(lambda sight: sight.until_ms >= decision.since_ms, reversed(shown)))
    objections = [_of_the_moment(decision, limits, market, sight) for sight in shown] or ["there was no price"]
    if None not in objections:
        yield objections[0]


def _of_itself(intent, limits, market):
    amount, most, listed = Decimal(intent.amount), limits.order_amount.get(market.symbol), market.listed
    price = Decimal(intent.price) if intent.order_type == "limit" else Decimal(0)
    if not amount or (most is not None and amount > most):
        yield f"the amount {amount}"
    if listed is None or listed.status != "trading":
        yield f"it is not traded: {listed}"
    elif not (_is_multiple(amount, listed.lot_size) and _is_multiple(price, listed.tick_size)):
        yield f"off its steps, {intent.amount} at {intent.price}"


class _Sight(NamedTuple):
    """A ticker, and between which ms it was the latest; None while nobody heard the exchange."""

    since_ms: int
    until_ms: int
    ticker: Ticker | None


def _sights(market):
    # A gap says what is lost of before, and nothing of the price.
    told = [each for each in market.tickers if not isinstance(each.body, Gap)]
    ends = [*(each.at[0] for each in told[1:]), 1 << 53]
    return [
        _Sight(each.at[0], until_ms, each.body if isinstance(each.body, Ticker) else None)
        for each, until_ms in zip(told, ends, strict=False)
    ]


def _of_the_moment(decision, limits, market, sight):
    """What speaks against it if this was the ticker; None if nothing does."""
    intent, ticker = decision.intent, sight.ticker
    now = None if ticker is None else _middle(ticker)
    if not now:
        return "there was no price"
    since_ns = max(decision.since_ms, sight.since_ms) * _MS
    until_ns = (min(decision.until_ms, sight.until_ms) + 1) * _MS
    amount, price = Decimal(intent.amount), Decimal(intent.price) if intent.order_type == "limit" else now
    least = Decimal((market.listed and market.listed.min_notional) or 0)
    against = {
        "the price was too old": max(since_ns - ticker.received_ns, ticker.received_ns - until_ns)
        > limits.price_age_ms * _MS,
        "outside of the price band": abs(price - now) > limits.price_band * now,
        "above the value of an order": amount * max(price, now) > limits.order_notional,
        "above the exposure": decision.worst * max(price, now) > limits.exposure,
        "below the least value": amount * price < least,
    }
    return next((f"{what}, at {now}" for what, holds in against.items() if holds), None)


def _too_often(decisions, most):
    """More than `most` within one second, whenever each of them was decided."""
    by_account = defaultdict(list)
    for each in decisions:
        if each.intent.order_type != "cancel":
            by_account[each.intent.account].append(each)
    for account, its in by_account.items():
        for first, last in zip(its, its[most:], strict=False):
            if last.until_ms - first.since_ms < 1_000:
                yield f"{account}: {most + 1} approved within a second, up to {last.intent.intent_id}"


def is_killed(market, since_ns, until_ns):
    """Whether the kill switch was on all the time."""
    return any(on_ns <= since_ns and until_ns <= off_ns for on_ns, off_ns in market.killed)


def _middle(ticker):
    if ticker.bid is not None and ticker.ask is not None:
        return (Decimal(ticker.bid) + Decimal(ticker.ask)) / 2
    return None if ticker.last is None else Decimal(ticker.last)


def _is_multiple(value, step):
    return not Decimal(step or 0) or not value % Decimal(step)
