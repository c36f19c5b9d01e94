"""An order book as the exchange's own texts, kept to make snapshots of."""

from collections.abc import Iterable
from decimal import Decimal

from ingest.contract.events import Levels

Level = tuple[str, str]


class Book:
    """Price text → amount text, per side. Sorted only when a snapshot is asked for."""

    __slots__ = ("_asks", "_bids", "_highest_ask", "_lowest_bid")

    def __init__(self, bids: Iterable[Level], asks: Iterable[Level], complete_to: int | None) -> None:
        """The exchange's snapshot, best first; a side of `complete_to` levels was cut there, the rest is unknown."""
        self._bids = dict(bids)
        self._asks = dict(asks)
        self._lowest_bid = Decimal(next(reversed(self._bids))) if len(self._bids) == complete_to else None
        self._highest_ask = Decimal(next(reversed(self._asks))) if len(self._asks) == complete_to else None

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Set each level to its amount; zero removes, also what was never there."""
        _apply(self._bids, bids)
        _apply(self._asks, asks)

    def __len__(self) -> int:
        return len(self._bids) + len(self._asks)

    def levels(self) -> tuple[Levels, Levels, int | None]:
        """Bids and asks, best first, and how many of each side are vouched for: None for all."""
        bids = sorted(self._bids.items(), key=_price, reverse=True)
        asks = sorted(self._asks.items(), key=_price)
        known_bids = sum(Decimal(price) >= self._lowest_bid for price, _ in bids) if self._lowest_bid else None
        known_asks = sum(Decimal(price) <= self._highest_ask for price, _ in asks) if self._highest_ask else None
        depth = min((known for known in (known_bids, known_asks) if known is not None), default=None)
        return tuple(bids), tuple(asks), depth


def _apply(side: dict[str, str], levels: Iterable[Level]) -> None:
    for price, amount in levels:
        if amount.strip("0."):
            side[price] = amount
        else:
            side.pop(price, None)


def _price(level: Level) -> Decimal:
    return Decimal(level[0])
