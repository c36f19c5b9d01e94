"""The model to copy: two moving averages of the trade price; where they cross, the strategy trades."""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal

from consumers.services.strategy import Wish
from ingest.contract.events import Trade
from ingest.contract.keys import StreamKey


class MovingAverage:
    """Buys where the average of a few prices rises above that of many, sells where it falls below.

    Each exchange and symbol has an object of its own, so prices of different symbols never meet in one. Crossings
    up and down take turns: while all it wishes is filled, it is never more than one `amount` long or short.
    """

    def __init__(self, few: int = 20, many: int = 100, amount: Decimal = Decimal("0.01")) -> None:
        self._few = Window(few)
        self._many = Window(many)
        self._amount = amount
        self._was_above: bool | None = None

    def on_trade(self, key: StreamKey, trade: Trade) -> Iterator[Wish]:
        """Called with each trade; what it yields becomes intents."""
        price = Decimal(trade.price)
        self._few.add(price)
        self._many.add(price)
        # The difference of the two averages, times both sizes: its sign is all that matters, and nothing is rounded.
        lead = self._few.total * self._many.size - self._many.total * self._few.size
        if not self._many.full or not lead:
            return
        above, was_above = lead > 0, self._was_above
        self._was_above = above
        if was_above is not None and above != was_above:
            yield Wish(side="buy" if above else "sell", amount=self._amount)


class Window:
    """The last `size` prices and their total, which is kept by adding what comes and subtracting what goes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.total = Decimal(0)
        self._prices: deque[Decimal] = deque()

    @property
    def full(self) -> bool:
        """Whether there were that many prices yet."""
        return len(self._prices) == self.size

    def add(self, price: Decimal) -> None:
        """Let a price in, and the oldest one out."""
        if self.full:
            self.total -= self._prices.popleft()
        self._prices.append(price)
        self.total += price
