"""Candles of an exchange that has none: built from its own trades, whole from the first one, flat across silence."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Final

from msgspec import Struct

from ingest.contract.events import Candle, Event, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.candles import BACKFILLED_CANDLES, Candles, Interval, flat
from ingest.exchanges.exchange import Kept, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import CandlesWanted, OlderTradesWanted, Question, Wanted
from ingest.exchanges.whole_trades import FETCHED_TRADES, Counted, WholeTrades

GRACE_NS: Final = 2_000_000_000
"""So long after its end an interval waits for trades of its own, if the exchange says that there was none behind it."""
_MS: Final = 1_000_000
_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
INTERVALS: Final[Mapping[str, int]] = {
    "1s": 1_000,
    **{f"{minutes}m": minutes * _MINUTE_MS for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": hours * 60 * _MINUTE_MS for hours in (1, 2, 4, 6, 8, 12)},
    **{f"{days}d": days * _DAY_MS for days in (1, 3)},
    "1w": 7 * _DAY_MS,
}
"""In ms. They count from 1970, but weeks from a Monday."""
_MONDAY_MS: Final = 4 * _DAY_MS
_EXACT: Final = Context(prec=100)
_DIGITS: Final = 30
"""Behind the point, in a number of the bus."""


def begin_of(interval: str, ms: int) -> int:
    """When the interval begins in which that millisecond is."""
    shift = _MONDAY_MS if interval == "1w" else 0
    return (ms - shift) // INTERVALS[interval] * INTERVALS[interval] + shift


class _Sum(Struct):
    """The trades of an interval so far."""

    open: str
    high: str
    low: str
    close: str
    id: int
    exchange_ns: int | None
    volume: Decimal = Decimal(0)
    value: Decimal = Decimal(0)
    trades: int = 0
    backfilled: bool | None = None

    def add(self, counted: Counted) -> None:
        """One more."""
        trade = counted.trade
        price, amount = Decimal(trade.price), Decimal(trade.amount)
        if price > Decimal(self.high):
            self.high = trade.price
        if price < Decimal(self.low):
            self.low = trade.price
        self.close, self.id, self.exchange_ns = trade.price, counted.id, trade.exchange_ns
        self.volume = _EXACT.add(self.volume, amount)
        self.value = _EXACT.add(self.value, _EXACT.multiply(price, amount))
        self.trades += 1
        self.backfilled = self.backfilled or trade.backfilled

    def candle(self, open_ms: int, now_ns: int, *, closed: bool) -> Candle:
        """As it stands."""
        value = format(self.value, "f")
        return Candle(
            open_ns=open_ms * _MS,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=format(self.volume, "f"),
            closed=closed,
            received_ns=now_ns,
            quote_volume=value if len(value.partition(".")[2]) <= _DIGITS else None,
            trades=self.trades,
            exchange_ns=self.exchange_ns,
            backfilled=self.backfilled,
        )


class BuiltCandles:
    """One symbol's candles of one interval, each said if all of its trades are known.

    A trade closes what ended before it, for all trades before it have had their turn. In silence the exchange's word
    that there was none closes it, a little later. An interval in which trades are missing that cannot be had is not
    said: REST is asked for its candle once the next one is heard, and if there is none it is registered as lost.
    """

    kept = Kept(
        named=Candles.kept.named,
        noticed="trade ids follow one another",
        mended="its trades are fetched by REST, else its candle, else a `gap`",
        far=f"{FETCHED_TRADES:,} trades, {BACKFILLED_CANDLES:,} intervals",
    )

    def __init__(
        self, key: StreamKey, session: Session, position: str | None, now_ns: int, family: "TradeCandles"
    ) -> None:
        """`position` is as of Candles; without one it begins with the interval that is now."""
        self._family = family
        self._interval = key.interval or ""
        begin_ms = begin_of(self._interval, now_ns // _MS)
        self._candles = Candles(key, session, str(begin_ms - 1) if position is None else position)
        self._length_ms = INTERVALS[self._interval]
        self._asked: set[type[Question]] = set()
        self._id = 0
        self._ns = 0
        self._open_ms = 0
        """Of the interval in which all that is known ends."""
        self._whole = False
        self._sum: _Sum | None = None
        self._price = ""
        """Of the newest trade."""

    @property
    def position(self) -> str | None:
        """The end of the newest closed candle said."""
        return self._candles.position

    def open(self, now_ns: int) -> Sequence[Event]:
        """As of Candles."""
        return self._candles.open(now_ns)

    def closed(self, reason: str) -> Sequence[Event]:
        """As of Candles."""
        return self._candles.closed(reason)

    def due(self) -> int:
        """When something is next wanted."""
        return min(self._candles.due(), self._family.trades.due())

    def wants(self, now_ns: int) -> list[Wanted]:
        """As of Candles; or trades that are missing, for the whole family."""
        wanted = [*self._candles.wants(now_ns), *self._family.trades.wants(now_ns)]
        self._asked |= {type(want) for want in wanted if isinstance(want, OlderTradesWanted | CandlesWanted)}
        return wanted

    def located(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """As of Candles."""
        return self._candles.located(standing, now_ns)

    def refused(self, position: str | None, now_ns: int) -> list[Event]:
        """As of Candles."""
        return self._candles.refused(position, now_ns)

    def fetched(self, rows: Sequence[Interval], now_ns: int) -> list[Event]:
        """As of Candles."""
        self._asked.discard(CandlesWanted)
        return self._candles.fetched(rows, now_ns)

    def page(self, rows: Sequence[tuple[int, Trade]], now_ns: int) -> list[Event]:
        """Trades right before the id that was asked for, oldest first; what the whole family makes of them."""
        self._asked.discard(OlderTradesWanted)
        return self._family.count(self._family.trades.page(rows, now_ns), now_ns)

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """No usable answer came, to whatever it was."""
        asked, self._asked = self._asked, set()
        events = self._candles.failed(reason, now_ns) if CandlesWanted in asked else []
        if OlderTradesWanted in asked:
            events += self._family.count(self._family.trades.failed(now_ns), now_ns)
        return events

    def leave(self, now_ns: int) -> None:
        """It is let go: another one has to ask for what it asked for."""
        if OlderTradesWanted in self._asked:
            self._family.trades.unanswered(now_ns)

    def needs_from(self) -> int:
        """From when on its trades are wanted."""
        return self._ns or (int(self.position or 0) + 1) * _MS

    def count(self, counted: Counted, now_ns: int) -> list[Event]:
        """The next trade."""
        if counted.id <= self._id and counted.ns <= self._ns:
            return []
        ns = max(counted.ns, self._ns)
        events: list[Event] = []
        if counted.joined and self._ns:
            events += self._reach(ns // _MS, now_ns)
        else:
            self._open_ms = begin_of(self._interval, ns // _MS)
            self._whole, self._sum = counted.joined, None
        trade = counted.trade
        self._id, self._ns, self._price = counted.id, ns, trade.price
        self._sum = self._sum or _Sum(trade.price, trade.price, trade.price, trade.price, counted.id, None)
        self._sum.add(counted)
        return events + self._say(now_ns, closed=False)

    def complete(self, ns: int, now_ns: int) -> list[Event]:
        """All trades until that time have had their turn, by the exchange's word."""
        if not self._ns or ns - GRACE_NS <= self._ns:
            return []
        self._ns = ns - GRACE_NS
        return self._reach(self._ns // _MS, now_ns)

    def _reach(self, ms: int, now_ns: int) -> list[Event]:
        """Close what has ended by then."""
        if ms < self._open_ms + self._length_ms:
            return []
        events = self._say(now_ns, closed=True)
        now_open_ms = begin_of(self._interval, ms)
        # More than that would not be said anyway, see Candles.
        first_ms = max(self._open_ms + self._length_ms, now_open_ms - BACKFILLED_CANDLES * self._length_ms)
        for open_ms in range(first_ms, now_open_ms, self._length_ms):
            events += self._candles.candle(flat(open_ms, self._length_ms, self._price, now_ns), now_ns)
        self._open_ms, self._whole, self._sum = now_open_ms, True, None
        return events

    def _say(self, now_ns: int, *, closed: bool) -> list[Event]:
        if not self._whole:
            return []
        end_ms = self._open_ms + self._length_ms - 1
        if self._sum is None:
            return self._candles.candle(flat(self._open_ms, self._length_ms, self._price, now_ns), now_ns)
        candle = self._sum.candle(self._open_ms, now_ns, closed=closed)
        return self._candles.candle(Interval(candle, end_ms, "closed" if closed else str(self._sum.id)), now_ns)


class TradeCandles:
    """One symbol's candles, a family of as many intervals as are wanted, from the same trades."""

    def __init__(self) -> None:
        self.trades = WholeTrades()
        self._topics: dict[StreamKey, BuiltCandles] = {}
        self._known = False
        """Whether there were trades before, by what stands on the bus."""

    def add(self, key: StreamKey, session: Session, position: str | None, now_ns: int) -> BuiltCandles:
        """One more interval; see there."""
        self._known = self._known or position is not None
        topic = self._topics[key] = BuiltCandles(key, session, position, now_ns, self)
        from_ns = min(each.needs_from() for each in self._topics.values())
        self.trades.begin(from_ns, now_ns, known=self._known)
        return topic

    def drop(self, key: StreamKey, now_ns: int) -> None:
        """One less."""
        if topic := self._topics.pop(key, None):
            topic.leave(now_ns)

    def trade(self, trade_id: int, trade: Trade, now_ns: int) -> list[Event]:
        """A live trade; or the newest from before anybody listened, to begin with."""
        return self.count(self.trades.trade(trade_id, trade, now_ns), now_ns)

    def stands_at(self, trade_id: int, exchange_ns: int, now_ns: int) -> list[Event]:
        """The exchange says that this is its newest trade, as of then."""
        if not self.trades.stands_at(trade_id, now_ns):
            return []
        return [event for topic in self._topics.values() for event in topic.complete(exchange_ns, now_ns)]

    def count(self, counted: Iterable[Counted], now_ns: int) -> list[Event]:
        """Trades in their turn, to each interval."""
        return [event for each in counted for topic in self._topics.values() for event in topic.count(each, now_ns)]
