"""The model to copy: two moving averages of closing prices; where they cross, the strategy trades."""

from collections.abc import Iterator
from decimal import Decimal
from typing import ClassVar

from msgspec import Struct

from consumers.services.strategy import Wish, worth
from ingest.contract.events import Candle, Fill
from ingest.contract.keys import StreamKey


class MovingAverage(Struct):
    """Buys where the average of a few closing prices rises above that of many, sells it where it falls below.

    Each exchange and symbol has an object of its own, so prices of different symbols never meet in one. It knows what
    it holds by its fills alone: what was refused, or filled in part, is not sold.
    """

    # Not a field: it says what to listen to, and is the same for all.
    interval: ClassVar[str] = "1m"

    # The fields are what it can be told, and all that it remembers: they are kept with each entry.
    few: int = 5
    many: int = 20
    value: Decimal = Decimal(1_000)
    """What to buy for, in the quote currency: the same amount is too much of one base, and too little of another."""
    closes: list[Decimal] = []
    """The newest `many`."""
    was_above: bool | None = None
    held: Decimal = Decimal(0)

    def on_candle(self, key: StreamKey, candle: Candle) -> Iterator[Wish]:
        """Called with each state of a candle, of which only the last one counts; what it yields becomes intents."""
        if not candle.closed:
            return
        self.closes = [*self.closes, Decimal(candle.close)][-self.many :]
        # The difference of the two averages, times both sizes: its sign is all that matters, and nothing is rounded.
        lead = sum(self.closes[-self.few :]) * self.many - sum(self.closes) * self.few
        if len(self.closes) < self.many or not lead:
            return
        above, was_above = lead > 0, self.was_above
        self.was_above = above
        if was_above is None or above == was_above:
            return
        if above and not self.held:
            yield Wish(side="buy", amount=worth(self.value, self.closes[-1]))
        elif not above and self.held:
            yield Wish(side="sell", amount=self.held)

    def on_fill(self, key: StreamKey, fill: Fill) -> None:
        """Called with each fill of its orders."""
        self.held += Decimal(fill.amount) if fill.side == "buy" else -Decimal(fill.amount)
