"""What the ledger says of what happens on the market, in the digits that the exchange writes."""

from collections.abc import Iterable
from typing import TypeVar

from ingest.simulator import ledger
from ingest.simulator.bars import Bar
from ingest.simulator.book import Changes
from ingest.simulator.market import Trade
from ingest.simulator.texts import Texts

ChangedT = TypeVar("ChangedT", ledger.Delta, ledger.Change)


def trade(key: str, s: str, made: Trade, texts: Texts, unit_ns: int) -> ledger.Trade:
    """A match, whose time the exchange tells in such units."""
    return ledger.Trade(
        key=key,
        s=s,
        first=s,
        price=texts.price(made.price),
        amount=texts.amount(made.lots),
        side=made.side,
        exchange_ns=made.time_ns // unit_ns * unit_ns,
    )


def candle(key: str, mark: str | int, bar: Bar, texts: Texts) -> ledger.Candle:
    """One interval; its mark is how far it has come, or `closed`."""
    s = f"{bar.open_ns}.{mark}"
    return ledger.Candle(
        key=key,
        s=s,
        first=s,
        open_ns=bar.open_ns,
        open=texts.price(bar.open),
        high=texts.price(bar.high),
        low=texts.price(bar.low),
        close=texts.price(bar.close),
        volume=texts.amount(bar.lots),
        closed=mark == "closed",
    )


def changed(kind: type[ChangedT], key: str, changes: Changes, texts: Texts) -> ChangedT:
    """The levels of a book that changed, under the market's own ids."""
    return kind(
        key=key,
        s=str(changes.last),
        first=str(changes.first),
        bids=levels(texts, changes.bids.items()),
        asks=levels(texts, changes.asks.items()),
    )


def levels(texts: Texts, counted: Iterable[tuple[int, int]]) -> ledger.Levels:
    """Prices and amounts."""
    return tuple([(texts.price(ticks), texts.amount(lots)) for ticks, lots in counted])
