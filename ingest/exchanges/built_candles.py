"""Candles of an exchange that has none: built from its own trades, whole from the first one, flat across silence."""

from collections.abc import Iterable, Sequence
from typing import Final

from ingest.contract.events import Candle, Event, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.candle_sum import CandleSum, sum_of, sum_of_part
from ingest.exchanges.candles import BACKFILLED_CANDLES, Candles, Interval, flat
from ingest.exchanges.exchange import NEVER, Kept, Standing
from ingest.exchanges.intervals import INTERVALS, begin_of
from ingest.exchanges.session import Session
from ingest.exchanges.topic import CandlePartWanted, CandlesWanted, OlderTradesWanted, Question, Wanted
from ingest.exchanges.whole_trades import FETCHED_TRADES, Counted, WholeTrades

GRACE_NS: Final = 2_000_000_000
"""So long after its end an interval waits for trades of its own, if the exchange says that there was none behind it."""
SETTLED_MS: Final = 5_000
"""So long after its end what REST says of an interval may still change."""
BY_TRADES_MS: Final = 600_000
"""An absence of up to so long is made good by trades. Of a longer one REST has candles, if it has any."""
_PART_ATTEMPTS: Final = 4
_RETRY_NS: Final = 2_000_000_000
_MS: Final = 1_000_000


class BuiltCandles:
    """One symbol's candles of one interval, each said if all of its trades are known.

    A trade closes what ended before it, for all trades before it have had their turn. In silence the exchange's word
    that there was none closes it, a little later. Of an interval in which trades are missing REST is asked for the part
    that has them; or for the candle, once the next one is heard. If there is none it is registered as lost.
    """

    kept = Kept(
        named=Candles.kept.named,
        noticed="trade ids follow one another",
        mended="its trades are fetched by REST, else its candle, else a `gap`",
        far=f"{FETCHED_TRADES:,} trades, {BACKFILLED_CANDLES:,} intervals",
    )

    def __init__(
        self,
        key: StreamKey,
        session: Session,
        position: str | None,
        bucket_ms: int | None,
        now_ns: int,
        family: "TradeCandles",
    ) -> None:
        """`position` is as of Candles; without one it begins with the interval that is now.

        `bucket_ms` is the length of what REST has candles of, of which an interval can be put together; None for none.
        """
        self._family = family
        self._bucket_ms = bucket_ms
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
        self._from_ms = 0
        """Trades of the interval from then on are in the sum; if it is not `whole`, something was before."""
        self._sum: CandleSum | None = None
        self._price = ""
        """Of the newest trade."""
        self._part_at = NEVER
        self._part_attempts = 0

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
        return min(self._candles.due(), self._family.trades.due(), self._part_at)

    def wants(self, now_ns: int) -> list[Wanted]:
        """As of Candles; or trades that are missing, for the whole family."""
        wanted = [*self._candles.wants(now_ns), *self._family.trades.wants(now_ns)]
        if self._part_at <= now_ns:
            self._part_at = NEVER
            wanted.append(CandlePartWanted(self._open_ms, self._from_ms))
        self._asked |= {type(want) for want in wanted if isinstance(want, Question)}
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

    def part(self, asked: CandlePartWanted, candle: Candle | None, now_ns: int) -> list[Event]:
        """What was of an interval before its trades are known; None if nothing was."""
        self._asked.discard(CandlePartWanted)
        if self._whole or asked != CandlePartWanted(self._open_ms, self._from_ms):
            return []
        self._whole = True
        if candle and self._sum:
            self._sum.begin_with(candle)
        elif candle:
            self._sum = sum_of_part(candle)
        return self._say(now_ns, closed=False) if self._sum else []

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """No usable answer came, to whatever it was."""
        asked, self._asked = self._asked, set()
        events = self._candles.failed(reason, now_ns) if CandlesWanted in asked else []
        if CandlePartWanted in asked:
            self._part_attempts += 1
            self._part_at = now_ns + _RETRY_NS if self._part_attempts < _PART_ATTEMPTS else NEVER
        if OlderTradesWanted in asked:
            events += self._family.count(self._family.trades.failed(now_ns), now_ns)
        return events

    def leave(self, now_ns: int) -> None:
        """It is let go: another one has to ask for what it asked for."""
        if OlderTradesWanted in self._asked:
            self._family.trades.unanswered(now_ns)

    def needs_from(self, now_ns: int) -> int:
        """From when on its trades are wanted."""
        begin_ms, now_ms = int(self.position or 0) + 1, now_ns // _MS
        if self._bucket_ms and now_ms - begin_ms > BY_TRADES_MS:
            begin_ms = now_ms // self._bucket_ms * self._bucket_ms
        return self._ns or begin_ms * _MS

    def count(self, counted: Counted, now_ns: int) -> list[Event]:
        """The next trade."""
        if counted.id <= self._id and counted.ns <= self._ns:
            return []
        ns = max(counted.ns, self._ns)
        joins = counted.joined and bool(self._ns)
        events = self._reach(ns // _MS, now_ns) if joins else self._begin(counted.joined, ns // _MS, now_ns)
        self._id, self._ns, self._price = counted.id, ns, counted.trade.price
        if ns // _MS < self._from_ms:
            return events
        if self._sum:
            self._sum.add(counted.trade)
        else:
            self._sum = sum_of(counted.trade)
        return events + self._say(now_ns, closed=False)

    def complete(self, ns: int, now_ns: int) -> list[Event]:
        """All trades until that time have had their turn, by the exchange's word."""
        if not self._ns or ns - GRACE_NS <= self._ns:
            return []
        self._ns = ns - GRACE_NS
        return self._reach(self._ns // _MS, now_ns)

    def _begin(self, first_of_all: bool, ms: int, now_ns: int) -> list[Event]:
        """What was before is not known: of the interval there is a part that REST has to tell."""
        self._open_ms = self._from_ms = begin_of(self._interval, ms)
        self._whole, self._sum, self._part_at = first_of_all, None, NEVER
        if self._bucket_ms and not first_of_all:
            self._from_ms = (ms // self._bucket_ms + 1) * self._bucket_ms
            self._part_at = max(now_ns, (self._from_ms + SETTLED_MS) * _MS)
            self._part_attempts = 0
        return []

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
        self._open_ms = self._from_ms = now_open_ms
        self._whole, self._sum, self._part_at = True, None, NEVER
        return events

    def _say(self, now_ns: int, *, closed: bool) -> list[Event]:
        if not self._whole:
            return []
        if self._sum is None:
            return self._candles.candle(flat(self._open_ms, self._length_ms, self._price, now_ns), now_ns)
        candle = self._sum.candle(self._open_ms * _MS, now_ns, closed=closed)
        mark = "closed" if closed else str(self._id)
        return self._candles.candle(Interval(candle, self._open_ms + self._length_ms - 1, mark), now_ns)


class TradeCandles:
    """One symbol's candles, a family of as many intervals as are wanted, from the same trades."""

    def __init__(self) -> None:
        self.trades = WholeTrades()
        self._topics: dict[StreamKey, BuiltCandles] = {}
        self._known = False
        """Whether there were trades before, by what stands on the bus."""

    def add(
        self, key: StreamKey, session: Session, position: str | None, bucket_ms: int | None, now_ns: int
    ) -> BuiltCandles:
        """One more interval; see there."""
        self._known = self._known or position is not None
        topic = self._topics[key] = BuiltCandles(key, session, position, bucket_ms, now_ns, self)
        from_ns = min(each.needs_from(now_ns) for each in self._topics.values())
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
