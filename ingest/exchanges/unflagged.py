"""Candles of an exchange that does not say when one is closed, and says nothing of intervals without trades."""

from collections.abc import Iterator, Sequence

from msgspec import structs

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges.candles import BACKFILLED_CANDLES, Candles, Interval, flat
from ingest.exchanges.exchange import NEVER, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import CandlesWanted, Wanted

GRACE_NS = 5_000_000_000
"""So long after its end an interval may still grow; then REST is asked for its last word."""
_RETRY_NS = 10_000_000_000
_MS = 1_000_000


class UnflaggedCandles:
    """One symbol's candles. An interval closes as it was heard last once a later one is heard.

    What lies between the two had no trades, and closes flat. If none is heard for a while, REST tells what has closed.
    """

    kept = Candles.kept

    def __init__(self, key: StreamKey, session: Session, position: str | None) -> None:
        """`position` is as of Candles."""
        self.key = key
        self._candles = Candles(key, session, position)
        self._latest: Interval | None = None
        """The newest that was heard, as it was heard last."""
        self._look_at = NEVER
        self._looking = False

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
        return min(self._candles.due(), self._look_at)

    def wants(self, now_ns: int) -> list[Wanted]:
        """As of Candles; or what has closed since the newest that is known to be."""
        wanted = self._candles.wants(now_ns)
        if self._look_at <= now_ns and self._latest is not None:
            self._look_at = NEVER
            self._looking = True
            if not any(isinstance(want, CandlesWanted) for want in wanted):
                wanted.append(CandlesWanted(self._latest.open_ms))
        return wanted

    def snapshot(self, rows: Sequence[Interval], now_ns: int) -> list[Event]:
        """The newest ones, oldest first: all but the last have closed. A new stream begins with the last."""
        if self._candles.last is None:
            rows = rows[-1:]
        events: list[Event] = []
        for row in rows[:-1]:
            events += self.candle(_closed(row), now_ns)
        for row in rows[-1:]:
            events += self.candle(row, now_ns)
        return events

    def candle(self, heard: Interval, now_ns: int) -> list[Event]:
        """A live one."""
        latest = self._latest
        if latest and (heard.open_ms < latest.open_ms or (heard.open_ms == latest.open_ms and is_closed(latest))):
            return []
        events: list[Event] = []
        if latest and heard.open_ms > latest.open_ms:
            if not is_closed(latest):
                events += self._candles.candle(_closed(latest), now_ns)
            for flat in _flat(latest, heard, now_ns):
                events += self._candles.candle(flat, now_ns)
        self._remember(heard)
        return [*events, *self._candles.candle(heard, now_ns)]

    def located(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """As of Candles."""
        return self._candles.located(standing, now_ns)

    def fetched(self, rows: Sequence[Interval], newest_closed_ms: int, now_ns: int) -> list[Event]:
        """As of Candles, and where the newest closed one opens."""
        closed = [_closed(row, backfilled=True) for row in rows if row.open_ms <= newest_closed_ms]
        events = self._candles.fetched(closed, now_ns)
        looking, self._looking = self._looking, False
        if not looking or self._latest is None:
            return events
        before = self._latest
        for row in closed:
            if row.open_ms >= self._latest.open_ms and not (row.open_ms == before.open_ms and is_closed(before)):
                self._remember(row)
                events += self._candles.candle(row, now_ns)
        if self._latest is before:
            self._look_at = now_ns + _RETRY_NS
        return events

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """No usable answer came."""
        if self._looking:
            self._looking = False
            self._look_at = now_ns + _RETRY_NS
        return self._candles.failed(reason, now_ns)

    def refused(self, position: str | None, now_ns: int) -> list[Event]:
        """As of Candles."""
        return self._candles.refused(position, now_ns)

    def _remember(self, heard: Interval) -> None:
        self._latest = heard
        length_ms = heard.end_ms + 1 - heard.open_ms
        ends_ms = heard.end_ms + 1 + (length_ms if is_closed(heard) else 0)
        self._look_at = ends_ms * _MS + GRACE_NS


def is_closed(interval: Interval) -> bool:
    """Whether this is its last state."""
    return interval.mark == "closed"


def _closed(interval: Interval, *, backfilled: bool | None = None) -> Interval:
    candle = structs.replace(interval.candle, closed=True, backfilled=backfilled)
    return Interval(candle, interval.end_ms, "closed")


def _flat(before: Interval, after: Interval, now_ns: int) -> Iterator[Interval]:
    """The intervals between the two; none if there are more than a hole is filled of, for it is registered then."""
    length_ms = before.end_ms + 1 - before.open_ms
    opens = range(before.end_ms + 1, after.open_ms, length_ms)
    for open_ms in opens if len(opens) <= BACKFILLED_CANDLES else ():
        yield flat(open_ms, length_ms, before.candle.close, now_ns)
