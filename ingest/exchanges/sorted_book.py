"""An order book that is sorted at all times, and cut where the exchange cuts it."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from math import inf
from operator import neg, pos

from ingest.contract.events import Levels
from ingest.exchanges.best_audit import Best
from ingest.exchanges.book import Level


class SortedBook:
    """Levels as the exchange wrote them, by price. Of each side the best `depth` levels, or all if that is None."""

    __slots__ = ("_asks", "_bids", "depth")

    def __init__(self, bids: Iterable[Level], asks: Iterable[Level], depth: int | None) -> None:
        self.depth = depth
        self._bids, self._asks = _Side(pos), _Side(neg)
        self.apply(bids, asks)

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> tuple[Sequence[Level], Sequence[Level]]:
        """Set each level to its amount, in order; zero removes. Returns what was cut off by that, of each side."""
        self._bids.put(bids)
        self._asks.put(asks)
        return self._bids.cut(self.depth), self._asks.cut(self.depth)

    def __len__(self) -> int:
        return len(self._bids.order) + len(self._asks.order)

    @property
    def crossed(self) -> bool:
        """Whether somebody pays what somebody takes: no exchange lets that stand, so the book is not right."""
        bids, asks = self._bids.order, self._asks.order
        return bool(bids and asks) and bids[-1] >= -asks[-1]

    @property
    def best(self) -> Best:
        """Its best prices."""
        bids, asks = self._bids.order, self._asks.order
        return Best(float(bids[-1]) if bids else -inf, -float(asks[-1]) if asks else inf)

    def levels(self, most: int | None = None) -> tuple[Levels, Levels]:
        """Bids and asks, best first; the `most` best of each, or all."""
        return self._bids.best(most), self._asks.best(most)


class _Side:
    """The best level stands last in `order`: that is where most changes are, and the end of a list is cheap."""

    __slots__ = ("_key", "_levels", "order")

    def __init__(self, key: Callable[[Decimal], Decimal]) -> None:
        self.order: list[Decimal] = []
        self._key = key
        self._levels: dict[Decimal, Level] = {}

    def put(self, levels: Iterable[Level]) -> None:
        for level in levels:
            price, amount = level
            key = self._key(Decimal(price))
            if amount.strip("0."):
                if key not in self._levels:
                    insort(self.order, key)
                self._levels[key] = level
            elif self._levels.pop(key, None):
                del self.order[bisect_left(self.order, key)]

    def cut(self, depth: int | None) -> Sequence[Level]:
        beyond = 0 if depth is None else max(0, len(self.order) - depth)
        cut, self.order[:beyond] = self.order[:beyond], []
        return [self._levels.pop(key) for key in cut]

    def best(self, most: int | None) -> Levels:
        best = self.order if most is None else self.order[-most:]
        return tuple(self._levels[key] for key in reversed(best))
