"""What a strategy is: a plain typed class that hears of prices and of its orders, and answers with wishes."""

import importlib
import re
import sys
from collections.abc import Generator, Iterable
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ingest.contract.events import Candle, Delta, Fill, Order, Side, Snapshot, Ticker, TimeInForce, Trade

EXAMPLE = "consumers.services.strategies.book_imbalance:BookImbalance"


class Wish(Struct, frozen=True):
    """What a strategy wants done, where its news came from unless it names another exchange or symbol."""

    side: Side
    amount: Decimal
    order_type: Literal["market", "limit"] = "market"
    price: Decimal | None = None
    """Of a limit order: the worst price to accept."""
    time_in_force: TimeInForce | None = None
    """Of a limit order: rest until filled or canceled (`gtc`, as without it), take now or never (`ioc`), never take
    (`post_only`)."""
    exchange: str | None = None
    symbol: str | None = None


class Cancel(Struct, frozen=True):
    """That the order of an earlier wish is to end, by the intent's name; of one elsewhere, say where, as it did."""

    intent_id: str
    exchange: str | None = None
    symbol: str | None = None


class Alarm(Struct, frozen=True):
    """To be woken after so long, by the times at which entries were received; one of the same name takes its place."""

    after_ms: int
    name: str = ""


Wishes = Generator[Wish | Cancel | Alarm, str, None]
"""What a method that yields returns. What `yield` gives to it is the intent's name: `self.bid = yield Wish(…)`."""

Strategy = Any
"""A msgspec Struct whose fields are all that it remembers, with any of these methods; it gets the channels that those
it has are about, and no others.

    on_trade(key: StreamKey, trade: Trade) -> Wishes, or an Iterable of the same, or None
    on_ticker(key: StreamKey, ticker: Ticker) -> …
    on_candle(key: StreamKey, candle: Candle) -> …     of the intervals `interval`, a ClassVar, "1m" by default
    on_book(key: StreamKey, book: Book) -> …           after each change, while the book is complete
    on_fill(key: StreamKey, fill: Fill) -> …           of the bot's own orders in this symbol
    on_order(key: StreamKey, order: Order) -> …        each state of them; upon a refusal no Wish and no Cancel
    on_alarm(key: StreamKey, alarm: Alarm) -> …        once it is due, before the entry that shows it
"""

News = Trade | Ticker | Candle | Snapshot | Delta | Fill | Order
"""What strategies hear of."""

HOOKS: dict[type[News], str] = {
    Trade: "on_trade",
    Ticker: "on_ticker",
    Candle: "on_candle",
    Snapshot: "on_book",
    Delta: "on_book",
    Fill: "on_fill",
    Order: "on_order",
}
"""The methods by the kind of event that calls for them."""

OWN = ("fills", "orders")
"""Channels of which a strategy hears only what has become of its own bot's wishes."""

_MARKET = {"on_trade": "trades", "on_ticker": "ticker", "on_candle": "candles-{interval}", "on_book": "orderbook"}
_CHANNELS = _MARKET | {"on_fill": "fills", "on_order": "orders"}
_TWO_DIGITS = Context(prec=2, rounding=ROUND_DOWN)
_NAME = re.compile(r"[\w.-]{1,60}\Z", re.ASCII)


class BadStrategy(ValueError):
    """A name that leads to no strategy; says why."""


def load_strategies(names: Iterable[str], default: str) -> dict[str, type[Strategy]]:
    """Bots by name: `NAME=module:Class`, or `module:Class` for the one called `default`. Raises BadStrategy."""
    found: dict[str, type[Strategy]] = {}
    for text in names:
        bot, _, name = text.rpartition("=")
        if (bot or default) in found:
            raise BadStrategy(f"two bots are called {bot or default!r}: give each a name, as in fast={name}")
        if bot and not _NAME.match(bot):
            raise BadStrategy(f"{bot!r} can be no bot's name; expected letters, digits, '.', '_' and '-'")
        found[bot or default] = load_strategy(name)
    return found


def load_strategy(name: str) -> type[Strategy]:
    """The class `module:Class`, whose module may lie in the current folder. Raises BadStrategy."""
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise BadStrategy(f"{name!r} names no strategy; expected module:Class, as in {EXAMPLE}")
    # An installed command has its own folder on the path, not the one it is called from.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise BadStrategy(f"{name!r}: the module {module_name} cannot be imported: {error!r}") from error
    strategy = getattr(module, class_name, None)
    if not isinstance(strategy, type):
        raise BadStrategy(f"{name!r}: the module {module_name} has no class {class_name}")
    if not any(hasattr(strategy, method) for method in _MARKET):
        raise BadStrategy(f"{name!r} hears of no market: a strategy has at least one of {', '.join(_MARKET)}")
    if not issubclass(strategy, Struct):
        raise BadStrategy(f"{name!r} is no msgspec.Struct: only what its fields remember outlives the process")
    try:
        thawed(strategy, frozen(strategy()))
    except Exception as error:
        raise BadStrategy(f"{name!r} cannot be made without arguments, kept and read back: {error!r}") from error
    return strategy


def channels(strategy: type[Strategy]) -> tuple[str, ...]:
    """The channels that the class has methods for."""
    interval = getattr(strategy, "interval", "1m")
    return tuple(channel.format(interval=interval) for name, channel in _CHANNELS.items() if hasattr(strategy, name))


def told_ns(event: News) -> int:
    """When it came to us: this is a strategy's time."""
    return event.updated_ns if isinstance(event, Order) else event.received_ns


def worth(value: Decimal, price: Decimal) -> Decimal:
    """About so much as costs `value`: two digits, rounded down.

    That is a whole number of lots wherever a lot is a power of ten, and worth less than a hundredth of the value.
    """
    with localcontext(_TWO_DIGITS):
        return value / price


def frozen(strategy: Strategy) -> bytes:
    """All that it remembers. Raises TypeError and others of msgspec for what cannot be kept."""
    return msgspec.msgpack.encode(strategy)


def thawed(kind: type[Strategy], kept: bytes) -> Strategy:
    """An object that remembers this. Raises msgspec.ValidationError, if another kind of strategy has kept it."""
    return msgspec.msgpack.decode(kept, type=kind)
