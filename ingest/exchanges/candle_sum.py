"""The trades of one interval, summed up."""

from decimal import Context, Decimal
from typing import Final

from msgspec import Struct

from ingest.contract.events import Candle, Trade

_EXACT: Final = Context(prec=100)
_DIGITS: Final = 30
"""Behind the point, in a number of the bus."""


class CandleSum(Struct):
    """Of at least one trade; or of what somebody else has summed up, and the trades behind that."""

    open: str
    high: str
    low: str
    close: str
    volume: Decimal = Decimal(0)
    value: Decimal = Decimal(0)
    trades: int = 0
    exchange_ns: int | None = None
    counted: bool = True
    """Whether it is made of trades alone, so that their number and value are known."""
    backfilled: bool | None = None

    def add(self, trade: Trade) -> None:
        """One more."""
        price, amount = Decimal(trade.price), Decimal(trade.amount)
        self._reach(trade.price, trade.price)
        self.close, self.exchange_ns = trade.price, trade.exchange_ns
        self.volume = _EXACT.add(self.volume, amount)
        self.value = _EXACT.add(self.value, _EXACT.multiply(price, amount))
        self.trades += 1
        self.backfilled = self.backfilled or trade.backfilled

    def begin_with(self, part: Candle) -> None:
        """What was before."""
        self.open = part.open
        self._reach(part.high, part.low)
        self.volume = _EXACT.add(Decimal(part.volume), self.volume)
        self.counted, self.backfilled = False, True

    def candle(self, open_ns: int, now_ns: int, *, closed: bool) -> Candle:
        """As it stands."""
        value = format(self.value, "f")
        return Candle(
            open_ns=open_ns,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=format(self.volume, "f"),
            closed=closed,
            received_ns=now_ns,
            quote_volume=value if self.counted and len(value.partition(".")[2]) <= _DIGITS else None,
            trades=self.trades if self.counted else None,
            exchange_ns=self.exchange_ns,
            backfilled=self.backfilled,
        )

    def _reach(self, high: str, low: str) -> None:
        self.high = max(self.high, high, key=Decimal)
        self.low = min(self.low, low, key=Decimal)


def sum_of(trade: Trade) -> CandleSum:
    """Of one trade."""
    summed = CandleSum(trade.price, trade.price, trade.price, trade.price)
    summed.add(trade)
    return summed


def sum_of_part(part: Candle) -> CandleSum:
    """Of what was before, and no trade behind that."""
    summed = CandleSum(part.open, part.high, part.low, part.close)
    summed.begin_with(part)
    return summed
