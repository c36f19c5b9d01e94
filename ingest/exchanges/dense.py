"""Trades with consecutive ids: said in order, holes filled by REST, and registered where that cannot be had."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from ingest.contract.events import Event, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Kept, Locate, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import Hold, TradesWanted, Wanted

BACKFILLED_TRADES = 20_000
"""The longest hole that is filled by REST; of a longer one the oldest part is registered as lost."""
DOUBT_NS = 2_000_000_000
FAR_DOUBT_NS = 250_000_000
"""For so long nothing but old ids may come before the exchange is asked whether it counts anew; less if they are far
below: what an exchange says twice is recent."""
_FAR = 1_000
_ATTEMPTS = 4
_RETRY_NS = 2_000_000_000


class _Begun(NamedTuple):
    """A series that we said begins."""

    left: int
    """The id at which the stream stood, in the series before."""
    first: int


class DenseTrades:
    """One symbol's trades."""

    kept = Kept(
        named="trade id",
        noticed="ids follow one another",
        mended="fetched by REST, else a `gap`",
        far=f"{BACKFILLED_TRADES:,} trades",
    )

    def __init__(self, key: StreamKey, session: Session, position: str | None) -> None:
        """`position` is the id at which the stream stands; without one it begins with whatever comes first."""
        self.key = key
        self.last = None if position is None else int(position)
        self._session = session
        self._ahead: dict[int, Trade] = {}
        self._hold = Hold()
        self._fetch_at = NEVER
        self._asked: TradesWanted | None = None
        self._attempts = 0
        self._below: dict[int, Trade] = {}
        """Of one series, if of any that is new."""
        self._newest_below: tuple[int, Trade] | None = None
        self._outdated = False
        """Whether what was asked is about a series that has ended since."""
        self._doubt_at = NEVER
        self._restarting = False
        self._look_back_to: int | None = None
        """A new series is certain; from here on it is asked for, to know where it begins."""
        self._begun: _Begun | None = None

    @property
    def position(self) -> str | None:
        """The newest id said."""
        return None if self.last is None else str(self.last)

    def open(self, now_ns: int) -> Sequence[Event]:
        """Trades tell by their ids what was missed before them."""
        return ()

    def closed(self, reason: str) -> Sequence[Event]:
        """And what will be missed behind them."""
        return ()

    def due(self) -> int:
        """When something is next wanted."""
        return min(self._hold.due(), self._fetch_at, self._doubt_at)

    def wants(self, now_ns: int) -> list[Wanted]:
        """Where the stream stands, the trades behind `last`, or the newest ones if the ids are in doubt."""
        wanted: list[Wanted] = []
        if self._hold.due() <= now_ns:
            self._hold.looking()
            wanted.append(Locate(self.key))
        if self._asked is None and min(self._fetch_at, self._doubt_at) <= now_ns and self.last is not None:
            doubtful = self._fetch_at > now_ns
            self._fetch_at = self._doubt_at = NEVER
            self._asked = TradesWanted(None if doubtful else self._look_back_to or self.last + 1)
            wanted.append(self._asked)
        return wanted

    def trade(self, trade_id: int, trade: Trade, now_ns: int) -> list[Event]:
        """A live trade."""
        if self.last is not None and trade_id <= self.last:
            return self._doubt(trade_id, trade, now_ns)
        if self._below:
            self._trust()
        if self.last is None or trade_id == self.last + 1:
            return [self._say(trade_id, trade), *self._join()]
        if len(self._ahead) >= BACKFILLED_TRADES:
            return [*self._lose(min(self._ahead) - 1, "more trades came meanwhile than can wait"), *self._join()]
        self._ahead[trade_id] = trade
        if self._fetch_at == NEVER and self._asked is None:
            self._hold.begin(now_ns)
            return self._too_long(trade_id)
        return []

    def stands_at(self, trade_id: int, now_ns: int) -> None:
        """The exchange says that this is its newest trade, and had time to send it. A new stream begins behind it."""
        if self.last is None:
            self.last = trade_id
        elif trade_id > self.last and not (self._ahead or self._restarting or self._asked) and self._fetch_at == NEVER:
            self._hold.begin(now_ns)

    def located(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """Somebody else may have filled the hole; while the stream moves on, somebody does."""
        if self._restarting:
            return self._restart(standing, now_ns)
        if standing is None:
            self._fetch(now_ns)
            return []
        if standing.position is not None and self.last is not None and int(standing.position) > self.last:
            self.last = int(standing.position)
            self._ahead = {trade_id: trade for trade_id, trade in self._ahead.items() if trade_id > self.last}
            events = self._join()
            if self._ahead:
                self._hold.still(standing, now_ns)
            return events
        if self._hold.still(standing, now_ns):
            self._fetch(now_ns)
        return []

    def fetched(self, rows: list[tuple[int, Trade]], now_ns: int) -> list[Event]:
        """Trades from the id asked for on, oldest first, as far as one page goes; or the newest ones."""
        asked, self._asked = self._asked, None
        if self.last is None or asked is None:
            return []
        if self._outdated:
            return self._doubt_again(now_ns + FAR_DOUBT_NS)
        if asked.first is None:
            return self._compare(rows, now_ns)
        if self._look_back_to is not None:
            return self._begin(rows, now_ns)
        if asked.first > self.last + 1:  # the stream was found behind meanwhile
            self._fetch_at = now_ns
            return []
        return self._fill(self.last, rows, now_ns)

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """No usable answer came: try again later, and in the end register the loss."""
        self._asked = None
        self._outdated = False
        if self._look_back_to is not None:
            self._fetch_at = now_ns + _RETRY_NS
        elif self._below:
            self._doubt_at = now_ns + DOUBT_NS
        if not self._ahead:
            return []
        self._attempts += 1
        if self._attempts < _ATTEMPTS:
            self._fetch_at = now_ns + _RETRY_NS
            return []
        self._attempts = 0
        return [*self._lose(min(self._ahead) - 1, reason), *self._join()]

    def refused(self, position: str | None, now_ns: int) -> list[Event]:
        """The stream stands at `position`: what was said after it is fetched again."""
        self._ahead.clear()
        self._restarting = False
        self._look_back_to = None
        self._doubt_at = NEVER
        self._hold.end()
        self.last = None if position is None else int(position)
        if self.last is not None:
            self._fetch_at = now_ns
        return []

    def _fetch(self, now_ns: int) -> None:
        self._hold.end()
        self._fetch_at = now_ns

    def _fill(self, before: int, rows: list[tuple[int, Trade]], now_ns: int) -> list[Event]:
        """Behind the id `before`, where the stream stands."""
        events: list[Event] = []
        for trade_id, trade in rows:
            if trade_id > (self.last or 0):
                events += self._lose(trade_id - 1, "the exchange no longer has them")
                known = self._ahead.pop(trade_id, None)
                events.append(self._say(trade_id, known or structs.replace(trade, backfilled=True)))
        events += self._join()
        if not self._ahead:
            self._attempts = 0
        elif self.last != before:
            self._fetch_at = now_ns
        else:
            events += self.failed("the exchange has none", now_ns)
        return events

    def _say(self, trade_id: int, trade: Trade) -> Event:
        self.last = trade_id
        s = str(trade_id)
        return Event(self.key, s, trade, "dense", s)

    def _join(self) -> list[Event]:
        """What waited and now follows."""
        events: list[Event] = []
        while self._ahead and self.last is not None and (trade := self._ahead.pop(self.last + 1, None)):
            events.append(self._say(self.last + 1, trade))
        if not self._ahead:
            self._fetch_at = NEVER
            self._hold.end()
        return events

    def _too_long(self, trade_id: int) -> list[Event]:
        assert self.last is not None
        if trade_id - self.last <= BACKFILLED_TRADES:
            return []
        return self._lose(trade_id - BACKFILLED_TRADES, "away for longer than is filled by REST")

    def _lose(self, last_id: int, reason: str) -> list[Event]:
        assert self.last is not None
        if last_id <= self.last:
            return []
        first, self.last = self.last + 1, last_id
        return [self._session.lost(self.key, first, last_id, reason)]

    # An exchange may begin to count anew: a symbol is listed again, a test network wiped. Then all that comes is below
    # `last`, as is a frame that comes twice. The first is sure if for a while nothing else comes, and REST agrees.
    # If meanwhile it begins yet again, only the newest series is said: the word on that tells until when others may be
    # missing, for nobody knows how many there were, nor what was in them.

    def _doubt(self, trade_id: int, trade: Trade, now_ns: int) -> list[Event]:
        if self._newest_below and _counts_anew(self._newest_below, (trade_id, trade)):
            self._trust()
            self._outdated = self._asked is not None
        if len(self._below) < BACKFILLED_TRADES:
            self._below.setdefault(trade_id, trade)
        if self._newest_below is None or trade_id > self._newest_below[0]:
            self._newest_below = trade_id, trade
        if self._doubt_at == NEVER and self._asked is None and self._look_back_to is None and not self._restarting:
            assert self.last is not None
            self._doubt_at = now_ns + (FAR_DOUBT_NS if self.last - trade_id > _FAR else DOUBT_NS)
        return []

    def _doubt_again(self, at_ns: int) -> list[Event]:
        self._outdated = False
        self._look_back_to = None
        if self._below:
            self._doubt_at = at_ns
        return []

    def _trust(self) -> None:
        self._below.clear()
        self._newest_below = None
        self._doubt_at = NEVER
        self._look_back_to = None
        if self._restarting:
            self._restarting = False
            self._hold.end()

    def _compare(self, rows: list[tuple[int, Trade]], now_ns: int) -> list[Event]:
        """The newest trades, by REST."""
        assert self.last is not None
        if rows and rows[-1][0] >= self.last:
            self._trust()
        elif self._are_of_it(rows) and rows[-1][0] >= min(self._below) - 1:
            self._look_back_to = max(1, rows[-1][0] + 1 - BACKFILLED_TRADES)
            self._fetch_at = now_ns
        else:
            self._doubt_again(now_ns + DOUBT_NS)
        return []

    def _are_of_it(self, rows: list[tuple[int, Trade]]) -> bool:
        """Whether REST tells of the series of which something was heard, however far it is ahead of that, or behind."""
        if not (rows and self._below and self._newest_below):
            return False
        return not _counts_anew(self._newest_below, rows[-1])

    def _begin(self, rows: list[tuple[int, Trade]], now_ns: int) -> list[Event]:
        """The oldest trades of the new series, as far back as is worth it: many may have come unheard."""
        if not self._are_of_it(rows):
            return self._doubt_again(now_ns + DOUBT_NS)
        self._look_back_to = None
        for trade_id, trade in rows:
            self._below.setdefault(trade_id, structs.replace(trade, backfilled=True))
        events: list[Event] = []
        for trade_id, trade in sorted(self._ahead.items()):
            events += [*self._lose(trade_id - 1, "the exchange counts anew"), self._say(trade_id, trade)]
        self._ahead.clear()
        self._fetch_at = NEVER
        self._restarting = True
        self._hold.begin(now_ns)
        return events

    def _restart(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """Say it, unless another writer has; then go on with all that is known of the new series."""
        if standing is None or self.last is None:
            self._hold.still(None, now_ns)
            return []
        heard = sorted(self._below.items())
        self._trust()
        events: list[Event] = []
        if standing.position is None or int(standing.position) < self.last:
            self.last = None if standing.position is None else int(standing.position)
        else:
            first, oldest = heard[0]
            if self._begun and self.last >= self._begun.left:
                first = min(first, self._begun.first)  # the stream has not taken what we said of it
            self._begun = _Begun(self.last, first)
            self.last = first - 1
            events.append(self._session.restart(self.key, standing, self.last, oldest.exchange_ns))
        for trade_id, trade in heard:
            events += self.trade(trade_id, trade, now_ns)
        return events


def _counts_anew(before: tuple[int, Trade], now: tuple[int, Trade]) -> bool:
    """Whether two trades show that ids begin anew between them: newer under an older id. A late frame is older."""
    (before_id, old), (now_id, new) = before, now
    if old.exchange_ns is None or new.exchange_ns is None:
        return False
    return now_id <= before_id and new.exchange_ns > old.exchange_ns
