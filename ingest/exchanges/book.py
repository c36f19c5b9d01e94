"""An order book as the exchange's own texts, kept to make snapshots of, and to see when it cannot be right."""

from collections.abc import Iterable
from decimal import Decimal
from math import inf

from ingest.contract.events import Levels
from ingest.exchanges.best_audit import Best

Level = tuple[str, str]

_AT_HAND = 64
"""Levels of a side that are looked up at once when its best price is asked for, so that the next times are cheap."""


class Book:
    """Price text → amount text, per side. Sorted as a whole only when a snapshot is asked for."""

    __slots__ = ("_asks", "_bids", "_highest_ask", "_lowest_bid")

    def __init__(self, bids: Iterable[Level], asks: Iterable[Level], complete_to: int | None) -> None:
        """The exchange's snapshot, best first; a side of `complete_to` levels was cut there, the rest is unknown."""
        self._bids, self._asks = _Side(bids, 1), _Side(asks, -1)
        self._lowest_bid, self._highest_ask = (
            Decimal(next(reversed(side.levels))) if len(side.levels) == complete_to else None
            for side in (self._bids, self._asks)
        )

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Set each level to its amount; zero removes, also what was never there."""
        self._bids.put(bids)
        self._asks.put(asks)

    def __len__(self) -> int:
        return len(self._bids.levels) + len(self._asks.levels)

    @property
    def crossed(self) -> bool:
        """Whether somebody pays what somebody takes: no exchange lets that stand, so the book is not right."""
        if self._bids.bound < -self._asks.bound or self._bids.best() < -self._asks.best():
            return False
        # Floats may be the same where prices are not.
        return max(map(Decimal, self._bids.levels)) >= min(map(Decimal, self._asks.levels))

    @property
    def best(self) -> Best:
        """Its best prices."""
        return Best(self._bids.best(), -self._asks.best())

    def levels(self) -> tuple[Levels, Levels, int | None]:
        """Bids and asks, best first, and how many of each side are vouched for: None for all."""
        bids = sorted(self._bids.levels.items(), key=_price, reverse=True)
        asks = sorted(self._asks.levels.items(), key=_price)
        known_bids = sum(Decimal(price) >= self._lowest_bid for price, _ in bids) if self._lowest_bid else None
        known_asks = sum(Decimal(price) <= self._highest_ask for price, _ in asks) if self._highest_ask else None
        depth = min((known for known in (known_bids, known_asks) if known is not None), default=None)
        return tuple(bids), tuple(asks), depth


class _Side:
    """The levels; and of the best of them the ranks, which are higher the better a price is.

    A rank is a float, because most levels of most frames pass here. Floats never turn an order round; prices that are
    one float, which takes 16 digits, count as one.
    """

    __slots__ = ("_at_hand", "_beyond", "_prices", "_sign", "bound", "levels")

    def __init__(self, levels: Iterable[Level], sign: int) -> None:
        self.levels: dict[str, str] = dict(levels)
        self._sign = sign
        self._at_hand: list[float] = []
        """The ranks of all levels above `_beyond`, in no order, and of some that have gone."""
        self._beyond = -inf
        self._prices: dict[float, str] = {}
        self.bound = -inf
        """No level's rank is higher."""
        self._look_up()

    def put(self, levels: Iterable[Level]) -> None:
        known = self.levels
        for price, amount in levels:
            if amount.strip("0."):
                if price not in known and (rank := self._sign * float(price)) > self._beyond:
                    self._at_hand.append(rank)
                    self._prices[rank] = price
                    if rank > self.bound:
                        self.bound = rank
                known[price] = amount
            else:
                known.pop(price, None)

    def best(self) -> float:
        """The highest rank there is; of an empty side, none is as low. What has gone is only noticed here."""
        known, prices, at_hand = self.levels, self._prices, self._at_hand
        at_hand.sort()
        while at_hand and prices[at_hand[-1]] not in known:
            at_hand.pop()
        if not at_hand:
            self._look_up()
            return self.bound
        if len(at_hand) > 4 * _AT_HAND:
            self._beyond = at_hand[-_AT_HAND - 1]
            self._at_hand = at_hand[-_AT_HAND:]
            self._prices = {rank: prices[rank] for rank in self._at_hand}
        self.bound = at_hand[-1]
        return self.bound

    def _look_up(self) -> None:
        prices = {self._sign * float(price): price for price in self.levels}
        ranks = sorted(prices)
        self._at_hand = ranks[-_AT_HAND:]
        self._beyond = ranks[-_AT_HAND - 1] if len(ranks) > _AT_HAND else -inf
        self._prices = {rank: prices[rank] for rank in self._at_hand}
        self.bound = ranks[-1] if ranks else -inf


def _price(level: Level) -> Decimal:
    return Decimal(level[0])
