"""What speaks against an intent: limits, prices, steps, times. Exact, and pure."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from types import MappingProxyType

from msgspec import Struct

from consumers.services.accounting import EXACT, ZERO, plain
from consumers.services.exposure import Exposure
from ingest.contract.events import Intent, Ticker
from ingest.contract.instruments import Listed
from ingest.contract.keys import parse_symbol
from ingest.contract.numbers import BadNumber, check

KILLED = "the kill switch is on"
MOST_OPEN = 200
"""Approved intents of an account and symbol that may be unfilled at a time."""
MOST_ACCOUNTS = 1_000
"""Accounts in one symbol."""
_SECOND_NS = 1_000_000_000
_ACCOUNT = re.compile(r"[\w.-]{1,128}\Z")
_NONE: Mapping[str, Decimal] = MappingProxyType({})


class BadLimit(ValueError):
    """A text that says no limit; says why."""


class Limits(Struct, frozen=True, kw_only=True):
    """Of each account and symbol. Base amounts are by symbol; a symbol that is not named has the others alone."""

    order_amount: Mapping[str, Decimal] = _NONE
    position: Mapping[str, Decimal] = _NONE
    """To either side, if all that is open were filled."""
    order_notional: Decimal
    exposure: Decimal
    """The same position at the price of the moment, or that of the order if it is higher."""
    orders_per_s: int
    price_band: Decimal
    """How far a limit may be from the price of the moment, as a share of that."""
    price_age_ms: int
    """A ticker that is older, or so far ahead of our clock, is no price."""


class Look(Struct, frozen=True):
    """What there was to see when the intent came."""

    instrument: Listed | None
    ticker: Ticker | None
    """The latest one, unless a worker has said since that it hears nothing."""
    killed: bool
    now_ns: int


def by_symbol(said: Sequence[str]) -> Mapping[str, Decimal]:
    """Amounts from texts such as `BTC/USDT:0.5`. Raises BadLimit, BadName."""
    return dict(map(_parsed, said))


def objection(limits: Limits, exposure: Exposure, symbol: str, intent: Intent, look: Look) -> str | None:
    """Why the intent must not become an order; None if it may."""
    reason = _of_itself(intent, look.now_ns)
    if reason or intent.order_type == "cancel":
        return reason
    listed, now = look.instrument, price_of(look.ticker)
    if look.killed:
        return KILLED
    if listed is None:
        return f"unknown symbol: {symbol} is not among the exchange's instruments"
    if look.ticker is None or not now:
        return "no fresh price"
    with localcontext(EXACT):
        return (
            _of_the_moment(limits, exposure, intent, look.ticker, look.now_ns)
            or _of_its_steps(intent, listed, now)
            or _of_its_size(limits, exposure, symbol, intent, now)
        )


def price_of(ticker: Ticker | None) -> Decimal | None:
    """The middle of the best prices, else the last one; None if neither is known."""
    if ticker is None:
        return None
    if ticker.bid is not None and ticker.ask is not None:
        with localcontext(EXACT):
            return (Decimal(ticker.bid) + Decimal(ticker.ask)) / 2
    return None if ticker.last is None else Decimal(ticker.last)


def _of_itself(intent: Intent, now_ns: int) -> str | None:
    if now_ns > intent.valid_until_ns:
        return f"came {(now_ns - intent.valid_until_ns) // 1_000_000} ms after its valid_until_ns"
    if not _ACCOUNT.match(intent.account):
        return "an account is letters, digits, '.', '_' and '-'"
    if intent.order_type == "cancel":
        return None if intent.cancels else "a cancel that does not say of what"
    if not Decimal(intent.amount):
        return "the amount is not above 0"
    if intent.order_type == "limit" and not _limit(intent):
        return "a limit order without a price above 0"
    return None


def _of_the_moment(limits: Limits, exposure: Exposure, intent: Intent, ticker: Ticker, now_ns: int) -> str | None:
    if exposure.missing:
        return f"{exposure.missing} fills are missing: nobody knows the position"
    age_ms = (now_ns - ticker.received_ns) // 1_000_000
    if abs(age_ms) > limits.price_age_ms:
        return f"no fresh price: the latest is {age_ms} ms old"
    times = exposure.of(intent.account).approved_ns[-limits.orders_per_s :]
    if len(times) == limits.orders_per_s and now_ns - times[0] < _SECOND_NS:
        return f"more than {limits.orders_per_s} orders a second"
    return None


def _of_its_steps(intent: Intent, listed: Listed, now: Decimal) -> str | None:
    if listed.status != "trading":
        return f"{listed.symbol} is {listed.status}"
    amount, price = Decimal(intent.amount), _limit(intent)
    if not _is_multiple(amount, listed.lot_size):
        return f"off lot: {intent.amount} is no multiple of {listed.lot_size}"
    if price and not _is_multiple(price, listed.tick_size):
        return f"off tick: {intent.price} is no multiple of {listed.tick_size}"
    value = amount * (price or now)
    if listed.min_notional is not None and value < Decimal(listed.min_notional):
        return f"below the least value: {plain(value)} of {listed.min_notional}"
    return None


def _of_its_size(limits: Limits, exposure: Exposure, symbol: str, intent: Intent, now: Decimal) -> str | None:
    account, amount, price = exposure.of(intent.account), Decimal(intent.amount), _limit(intent) or now
    if abs(price - now) > limits.price_band * now:
        return f"price band: {intent.price} is too far from {plain(now)}"
    if len(account.open) >= MOST_OPEN or len(exposure.accounts) >= MOST_ACCOUNTS:
        return f"more than {MOST_OPEN} open orders, or {MOST_ACCOUNTS} accounts"
    # Only how far it would go to its own side: what brings a position back is always welcome.
    worst = account.worst(intent.side) + amount if intent.side == "buy" else amount - account.worst(intent.side)
    beyond = max(ZERO, worst)
    return (
        _above("order size", amount, limits.order_amount.get(symbol))
        or _above("order value", amount * max(price, now), limits.order_notional)
        or _above("position", beyond, limits.position.get(symbol))
        or _above("exposure", beyond * max(price, now), limits.exposure)
    )


def _limit(intent: Intent) -> Decimal | None:
    return None if intent.price is None or intent.order_type == "market" else Decimal(intent.price)


def _above(what: str, value: Decimal, limit: Decimal | None) -> str | None:
    return f"{what}: {plain(value)} is above {plain(limit)}" if limit is not None and value > limit else None


def _is_multiple(value: Decimal, step: str | None) -> bool:
    # A step of 0 is how some exchanges say that there is none.
    size = Decimal(step or 0)
    return not size or not value % size


def _parsed(text: str) -> tuple[str, Decimal]:
    symbol, _, amount = text.partition(":")
    try:
        check([amount])
    except BadNumber:
        raise BadLimit(f"{text!r} says no amount; expected SYMBOL:AMOUNT, as in BTC/USDT:0.5") from None
    return parse_symbol(symbol), Decimal(amount)
