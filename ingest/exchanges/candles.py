"""Candles that follow one another without a hole: what closed unheard is fetched, or registered as lost."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from ingest.contract.events import Candle, Event
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Kept, Locate, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import CandlesWanted, Hold, Wanted

BACKFILLED_CANDLES = 5_000
"""The longest hole that is filled by REST; of a longer one the oldest part is registered as lost."""
GROWS_EVERY_NS = 250_000_000
"""Between two states of a candle that grows; what comes in between is said when it is due, if it is the newest then."""
_MS = 1_000_000
_ATTEMPTS = 4
_RETRY_NS = 2_000_000_000


class Interval(NamedTuple):
    """A candle, the millisecond that its interval ends with, and the mark of its state; `closed` for the last."""

    candle: Candle
    end_ms: int
    mark: str

    @property
    def open_ms(self) -> int:
        """Where it begins."""
        return self.candle.open_ns // _MS


def flat(open_ms: int, length_ms: int, price: str, now_ns: int) -> Interval:
    """An interval without trades, closed."""
    candle = Candle(
        open_ns=open_ms * _MS,
        open=price,
        high=price,
        low=price,
        close=price,
        volume="0",
        closed=True,
        received_ns=now_ns,
        trades=0,
    )
    return Interval(candle, open_ms + length_ms - 1, "closed")


class Candles:
    """One symbol's candles of one interval. What they are counted by is `last`, the end of the newest closed one."""

    kept = Kept(
        named="interval and state, `closed` once",
        noticed="intervals follow one another",
        mended="fetched by REST, else a `gap`",
        far=f"{BACKFILLED_CANDLES:,} intervals",
    )

    def __init__(self, key: StreamKey, session: Session, position: str | None) -> None:
        """`position` is where the stream stands; without one it begins with whatever comes first."""
        self.key = key
        self.last = None if position is None else int(position)
        self._session = session
        self._heard: Interval | None = None
        self._latest: Interval | None = None
        self._grows_at = 0
        self._hold = Hold()
        self._fetch_at = NEVER
        self._attempts = 0

    @property
    def position(self) -> str | None:
        """The end of the newest closed candle said."""
        return None if self.last is None else str(self.last)

    def open(self, now_ns: int) -> Sequence[Event]:
        """Candles tell by their times what was missed before them."""
        return ()

    def closed(self, reason: str) -> Sequence[Event]:
        """And what will be missed behind them."""
        return ()

    def due(self) -> int:
        """When something is next wanted."""
        return min(self._hold.due(), self._fetch_at, self._grows_at if self._latest else NEVER)

    def wants(self, now_ns: int) -> list[Wanted]:
        """Where the stream stands, or the candles behind `last`; or that the newest state is said."""
        wanted: list[Wanted] = []
        if self._latest and self._grows_at <= now_ns:
            latest, self._latest = self._latest, None
            wanted += self._grow(latest, now_ns) if self._follows(latest) else ()
        if self._hold.due() <= now_ns:
            self._hold.looking()
            wanted.append(Locate(self.key))
        if self._fetch_at <= now_ns:
            self._fetch_at = NEVER
            assert self.last is not None
            wanted.append(CandlesWanted(self.last + 1))
        return wanted

    def candle(self, heard: Interval, now_ns: int) -> list[Event]:
        """A live one."""
        if self.last is None:
            self.last = heard.open_ms - 1
        if heard.end_ms <= self.last:
            return []
        if self._follows(heard):
            return self._grow(heard, now_ns)
        news, self._heard = self._heard is None, heard
        if not news:
            return []
        self._hold.begin(now_ns)
        return self._too_long(heard)

    def located(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """Somebody else may have filled the hole; while the stream moves on, somebody does."""
        position = None if standing is None or standing.position is None else int(standing.position)
        if position is not None and self.last is not None and position > self.last:
            self.last = position
        if (events := self._join()) or self._heard is None:
            return events
        if standing is None or self._hold.still(standing, now_ns):
            self._hold.end()
            self._fetch_at = now_ns
        return []

    def fetched(self, rows: Sequence[Interval], now_ns: int) -> list[Event]:
        """Closed and growing ones from the time asked for on, oldest first, as far as one page goes."""
        if self._heard is None or self.last is None:
            return []
        events: list[Event] = []
        before = self.last
        for row in rows:
            # What opened before one that is heard has closed; what REST says of a growing one is old already.
            if self.last < row.open_ms < self._heard.open_ms:
                events += self._lose(row.open_ms - 1, "the exchange no longer has them")
                events.append(self._say(row._replace(candle=_closed(row.candle), mark="closed")))
        if joined := self._join():
            return [*events, *joined]
        if self.last > before:
            self._fetch_at = now_ns
            return events
        return [*events, *self.failed("the exchange has none", now_ns)]

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """No usable answer came: try again later, and in the end register the loss."""
        if self._heard is None:
            return []
        self._attempts += 1
        if self._attempts < _ATTEMPTS:
            self._fetch_at = now_ns + _RETRY_NS
            return []
        return [*self._lose(self._heard.open_ms - 1, reason), *self._join()]

    def refused(self, position: str | None, now_ns: int) -> list[Event]:
        """The stream stands there; the next that is heard tells what is missing."""
        self.last = None if position is None else int(position)
        self._heard = self._latest = None
        self._hold.end()
        self._fetch_at = NEVER
        return []

    def _follows(self, interval: Interval) -> bool:
        return self.last is not None and interval.open_ms <= self.last + 1 and interval.end_ms > self.last

    def _grow(self, interval: Interval, now_ns: int) -> list[Event]:
        """What closes is said at once, and what grows in its time."""
        if interval.mark != "closed" and now_ns < self._grows_at:
            self._latest = interval
            return []
        self._latest, self._grows_at = None, now_ns + GROWS_EVERY_NS
        return [self._say(interval)]

    def _say(self, interval: Interval) -> Event:
        if interval.mark == "closed":
            self.last = interval.end_ms
        s = f"{interval.candle.open_ns}.{interval.mark}"
        return Event(self.key, s, interval.candle, "candle", f"{interval.open_ms}-{interval.end_ms}")

    def _join(self) -> list[Event]:
        """What was heard last, if it now follows."""
        heard = self._heard
        if heard is None or self.last is None or heard.open_ms > self.last + 1:
            return []
        self._heard, self._attempts, self._fetch_at = None, 0, NEVER
        self._hold.end()
        return [self._say(heard)] if heard.end_ms > self.last else []

    def _too_long(self, heard: Interval) -> list[Event]:
        longest_ms = BACKFILLED_CANDLES * (heard.end_ms + 1 - heard.open_ms)
        return self._lose(heard.open_ms - longest_ms - 1, "away for longer than is filled by REST")

    def _lose(self, last_ms: int, reason: str) -> list[Event]:
        assert self.last is not None
        if last_ms <= self.last:
            return []
        first_ms, self.last = self.last + 1, last_ms
        return [self._session.lost_time(self.key, first_ms, last_ms, reason)]


def _closed(candle: Candle) -> Candle:
    return structs.replace(candle, closed=True, backfilled=True)
