"""An order book that matches: orders rest by price and then by age, and every change of a level is numbered."""

from bisect import bisect_left, insort
from collections import deque
from typing import NamedTuple


class Fill(NamedTuple):
    """What an order took of one that rested."""

    price: int
    lots: int


class Changes(NamedTuple):
    """The levels that changed under the update ids `first` to `last`, with the amounts they now have."""

    first: int
    last: int
    bids: dict[int, int]
    asks: dict[int, int]


class Top(NamedTuple):
    """The best prices and what rests there; zeros for an empty side."""

    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class Side:
    """The bids (`sign` 1) or the asks (-1)."""

    __slots__ = ("_queues", "_ranks", "_sign", "amounts")

    def __init__(self, sign: int) -> None:
        self.amounts: dict[int, int] = {}
        """Price → lots resting there."""
        self._queues: dict[int, deque[int]] = {}
        self._ranks: list[int] = []  # sign * price, ascending: the best is the last
        self._sign = sign

    def __len__(self) -> int:
        return len(self._ranks)

    @property
    def best(self) -> int:
        """The best price; 0 if there is none."""
        return self._ranks[-1] * self._sign if self._ranks else 0

    def reaches(self, price: int) -> bool:
        """Whether an order of the other side, limited to `price`, would match here."""
        return bool(self._ranks) and self._ranks[-1] >= price * self._sign

    def levels(self, count: int) -> list[tuple[int, int]]:
        """The best `count` levels, best first."""
        prices = (rank * self._sign for rank in reversed(self._ranks[-count:]))
        return [(price, self.amounts[price]) for price in prices]

    def rest(self, price: int, lots: int) -> None:
        """A new order joins the end of its level's queue."""
        queue = self._queues.get(price)
        if queue is None:
            self._queues[price] = deque((lots,))
            self.amounts[price] = lots
            insort(self._ranks, price * self._sign)
        else:
            queue.append(lots)
            self.amounts[price] += lots

    def cancel(self, position: int) -> int:
        """The oldest order of a level goes, counted from the worst level; its price."""
        price = self._ranks[position] * self._sign
        self._lower(price, self._queues[price].popleft())
        return price

    def take(self, lots: int) -> list[Fill]:
        """Up to so many lots of the best level, from its oldest orders first."""
        price = self.best
        queue = self._queues[price]
        fills = []
        while lots and queue:
            filled = min(lots, queue[0])
            if filled == queue[0]:
                queue.popleft()
            else:
                queue[0] -= filled
            lots -= filled
            fills.append(Fill(price, filled))
        self._lower(price, sum(fill.lots for fill in fills))
        return fills

    def _lower(self, price: int, lots: int) -> None:
        self.amounts[price] -= lots
        if not self.amounts[price]:
            del self.amounts[price], self._queues[price]
            del self._ranks[bisect_left(self._ranks, price * self._sign)]


class Book:
    """Both sides. Prices are in ticks, amounts in lots."""

    def __init__(self, update_id: int) -> None:
        self.bids = Side(1)
        self.asks = Side(-1)
        self.update_id = update_id
        self._drained_id = update_id
        self._changed: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def market(self, *, buying: bool, lots: int) -> list[Fill]:
        """Take what rests, at any price; what finds nothing expires."""
        side = self.asks if buying else self.bids
        fills: list[Fill] = []
        while lots and side:
            taken = side.take(lots)
            lots -= sum(fill.lots for fill in taken)
            fills += taken
            self._note(taken[0].price, buying=not buying)
        return fills

    def limit(self, price: int, *, buying: bool, lots: int) -> list[Fill]:
        """Take what rests at this price or better, and rest with the remainder."""
        side, other = (self.bids, self.asks) if buying else (self.asks, self.bids)
        fills: list[Fill] = []
        while lots and other.reaches(price):
            taken = other.take(lots)
            lots -= sum(fill.lots for fill in taken)
            fills += taken
            self._note(taken[0].price, buying=not buying)
        if lots:
            side.rest(price, lots)
            self._note(price, buying=buying)
        return fills

    def cancel(self, position: int, *, buying: bool) -> None:
        """One order of the level at this position, counted from the worst, is taken back."""
        side = self.bids if buying else self.asks
        self._note(side.cancel(position), buying=buying)

    def top(self) -> Top:
        """The best of both sides."""
        bid, ask = self.bids.best, self.asks.best
        return Top(bid, self.bids.amounts.get(bid, 0), ask, self.asks.amounts.get(ask, 0))

    def renumber(self, update_id: int) -> None:
        """Go on counting from there; changes that nobody has drained yet get the first of the new ids."""
        undrained = self.update_id - self._drained_id
        self._drained_id, self.update_id = update_id, update_id + undrained

    def drain(self) -> Changes | None:
        """What changed since the last call, or None."""
        if self.update_id == self._drained_id:
            return None
        bids, asks = self._changed
        changes = Changes(self._drained_id + 1, self.update_id, bids, asks)
        self._drained_id = self.update_id
        self._changed = ({}, {})
        return changes

    def _note(self, price: int, *, buying: bool) -> None:
        side = self.bids if buying else self.asks
        self._changed[0 if buying else 1][price] = side.amounts.get(price, 0)
        self.update_id += 1
