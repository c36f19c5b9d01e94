"""Candles as a cascade: trades make seconds, seconds make minutes, minutes make all the longer ones."""

from collections import deque
from datetime import UTC, datetime
from itertools import islice

from msgspec import Struct, structs

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
MONTH = 0

INTERVALS = {
    "1s": SECOND_NS,
    "1m": MINUTE_NS,
    "3m": 3 * MINUTE_NS,
    "5m": 5 * MINUTE_NS,
    "15m": 15 * MINUTE_NS,
    "30m": 30 * MINUTE_NS,
    "1h": HOUR_NS,
    "2h": 2 * HOUR_NS,
    "4h": 4 * HOUR_NS,
    "6h": 6 * HOUR_NS,
    "8h": 8 * HOUR_NS,
    "12h": 12 * HOUR_NS,
    "1d": DAY_NS,
    "3d": 3 * DAY_NS,
    "1w": 7 * DAY_NS,
    "1M": MONTH,
}
"""The intervals and their lengths, shortest first."""

KEPT_BARS = 1500
"""Closed bars that an interval's history holds: a day of minutes and an hour to spare."""
_DAY_OF_MINUTES = 1440


class Bar(Struct):
    """The trades of [open_ns, end_ns). Without any, all four prices are the last one before it and the ids are -1."""

    open_ns: int
    end_ns: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    value: int = 0
    """Ticks times lots, summed."""
    trades: int = 0
    bought_lots: int = 0
    """Of takers who bought."""
    bought_value: int = 0
    first_id: int = -1
    last_id: int = -1

    def add(self, trade_id: int, price: int, lots: int, *, bought: bool) -> None:
        """One more trade."""
        value = price * lots
        if not self.trades:
            self.open = self.high = self.low = price
            self.first_id = trade_id
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.last_id = trade_id
        self.lots += lots
        self.value += value
        self.trades += 1
        if bought:
            self.bought_lots += lots
            self.bought_value += value

    def extend(self, later: "Bar") -> None:
        """The trades of a bar that follows."""
        if not later.trades:
            return
        if not self.trades:
            self.open, self.high, self.low, self.first_id = later.open, later.high, later.low, later.first_id
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.last_id = later.last_id
        self.lots += later.lots
        self.value += later.value
        self.trades += later.trades
        self.bought_lots += later.bought_lots
        self.bought_value += later.bought_value


class Bars:
    """One symbol's candles of every interval, and its last 24 hours."""

    def __init__(self, start_ns: int, price: int) -> None:
        """`price` is the one before the first trade."""
        self._forming = {interval: _flat(interval, start_ns, price) for interval in INTERVALS}
        self._second = self._forming["1s"]
        self._history: dict[str, deque[Bar]] = {interval: deque(maxlen=KEPT_BARS) for interval in INTERVALS}
        self._day = _flat("1m", start_ns, price)

    def add(self, trade_id: int, price: int, lots: int, *, bought: bool, time_ns: int) -> None:
        """One more trade, of the second up to which `roll` was called."""
        assert self._second.open_ns <= time_ns < self._second.end_ns, "a second went by without roll()"
        self._second.add(trade_id, price, lots, bought=bought)

    def roll(self, boundary_ns: int) -> list[tuple[str, Bar]]:
        """A second ends: the bars that end with it, shortest first."""
        assert boundary_ns == self._second.end_ns, "seconds roll one by one"
        closed = [("1s", self._close("1s"))]
        self._second = self._forming["1s"]
        minute = self._forming["1m"]
        minute.extend(closed[0][1])
        if boundary_ns < minute.end_ns:
            return closed
        closed.append(("1m", self._close("1m")))
        for interval, bar in tuple(self._forming.items())[2:]:
            bar.extend(minute)
            if bar.end_ns == boundary_ns:
                closed.append((interval, self._close(interval)))
        minutes = self._history["1m"]
        self._day = _fold(islice(minutes, max(0, len(minutes) - _DAY_OF_MINUTES), None))
        return closed

    def current(self, interval: str) -> Bar:
        """The bar that is forming, with all trades until now."""
        bar = structs.replace(self._forming[interval])
        if interval != "1s":
            self._extend_to_now(bar, minutes=interval != "1m")
        return bar

    def closed(self, interval: str) -> tuple[Bar, ...]:
        """The history, oldest first."""
        return tuple(self._history[interval])

    def day(self) -> Bar:
        """The rolling window of 24 hours, advancing by whole minutes."""
        bar = structs.replace(self._day)
        self._extend_to_now(bar, minutes=True)
        return bar

    def _extend_to_now(self, bar: Bar, *, minutes: bool) -> None:
        if minutes:
            bar.extend(self._forming["1m"])
        bar.extend(self._second)

    def _close(self, interval: str) -> Bar:
        bar = self._forming[interval]
        self._history[interval].append(bar)
        self._forming[interval] = _flat(interval, bar.end_ns, bar.close)
        return bar


def bounds(interval: str, ns: int) -> tuple[int, int]:
    """When the bar that contains `ns` opens, and when the next one does. Weeks open on Monday, all in UTC."""
    length = INTERVALS[interval]
    if length == MONTH:
        day = datetime.fromtimestamp(ns // SECOND_NS, UTC)
        next_year, next_month = divmod(day.year * 12 + day.month, 12)
        return _month(day.year, day.month), _month(next_year, next_month + 1)
    # The epoch was a Thursday, the first Monday four days later.
    shift = 4 * DAY_NS if interval == "1w" else 0
    open_ns = (ns - shift) // length * length + shift
    return open_ns, open_ns + length


def _month(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * SECOND_NS


def _flat(interval: str, ns: int, price: int) -> Bar:
    return Bar(*bounds(interval, ns), price, price, price, price)


def _fold(bars: "islice[Bar]") -> Bar:
    whole = structs.replace(next(bars))
    for bar in bars:
        whole.extend(bar)
    return whole
