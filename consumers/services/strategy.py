"""What a strategy is: a plain class that hears of prices and answers with wishes."""

import importlib
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from ingest.contract.events import Candle, Delta, Side, Snapshot, Ticker, Trade

EXAMPLE = "consumers.services.strategies.moving_average:MovingAverage"


class Wish(Struct, frozen=True):
    """What a strategy wants done, where its news came from unless it names another exchange or symbol."""

    side: Side
    amount: Decimal
    order_type: Literal["market", "limit"] = "market"
    price: Decimal | None = None
    """Of a limit order: the worst price to accept."""
    exchange: str | None = None
    symbol: str | None = None


Strategy = Any
"""An object with any of these methods; it gets the channels that those it has are about, and no others.

    on_trade(key: StreamKey, trade: Trade) -> Iterable[Wish] | None
    on_ticker(key: StreamKey, ticker: Ticker) -> …
    on_candle(key: StreamKey, candle: Candle) -> …     of the intervals `interval`, a class attribute, "1m" by default
    on_book(key: StreamKey, book: Book) -> …           after each change, while the book is complete
"""

News = Trade | Ticker | Candle | Snapshot | Delta
"""What strategies hear of."""

Hook = Callable[..., Iterable[Wish] | None]

_CHANNELS = {"on_trade": "trades", "on_ticker": "ticker", "on_candle": "candles-{interval}", "on_book": "orderbook"}
_HOOKS: dict[type[News], str] = {
    Trade: "on_trade",
    Ticker: "on_ticker",
    Candle: "on_candle",
    Snapshot: "on_book",
    Delta: "on_book",
}


class BadStrategy(ValueError):
    """A name that leads to no strategy; says why."""


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
    if not channels(strategy):
        raise BadStrategy(f"{name!r} hears nothing: a strategy has at least one of {', '.join(_CHANNELS)}")
    try:
        strategy()
    except Exception as error:
        raise BadStrategy(f"{name!r} cannot be made without arguments: {error!r}") from error
    return strategy


def channels(strategy: type[Strategy]) -> tuple[str, ...]:
    """The channels that the class has methods for."""
    interval = getattr(strategy, "interval", "1m")
    return tuple(channel.format(interval=interval) for name, channel in _CHANNELS.items() if hasattr(strategy, name))


def hooks(strategy: Strategy) -> dict[type[News], Hook]:
    """The methods of the object by the kind of event that calls for them."""
    return {body: getattr(strategy, name) for body, name in _HOOKS.items() if hasattr(strategy, name)}
