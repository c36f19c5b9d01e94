"""Trades with consecutive ids: said in order, holes filled by REST, and registered where that cannot be had."""

from collections.abc import Sequence

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
        self._doubt_at = NEVER
        self._restarting = False
        self._look_back_to: int | None = None
        """A new series is certain; from here on it is asked for, to know where it begins."""
        self._begun: int | None = None
        """Where the series began, if it was this conversation that saw it begin."""

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
        if asked.first is None:
            return self._compare(rows, now_ns)
        if self._look_back_to is not None:
            return self._begin(rows, now_ns)
        if asked.first > self.last + 1:  # the stream was found behind meanwhile
            self._fetch_at = now_ns
            return []
        events: list[Event] = []
        before = self.last
        for trade_id, trade in rows:
            if trade_id > self.last + 1:
                events += self._lose(trade_id - 1, "the exchange no longer has them")
            if trade_id > self.last:
                known = self._ahead.pop(trade_id, None)
                events.append(self._say(trade_id, known or structs.replace(trade, backfilled=True)))
        events += self._join()
        if not self._ahead:
            self._attempts = 0
        elif self.last > before:
            self._fetch_at = now_ns
        else:
            events += self.failed("the exchange has none", now_ns)
        return events

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """No usable answer came: try again later, and in the end register the loss."""
        self._asked = None
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

    def _doubt(self, trade_id: int, trade: Trade, now_ns: int) -> list[Event]:
        if len(self._below) < BACKFILLED_TRADES:
            self._below.setdefault(trade_id, trade)
        if self._doubt_at == NEVER and self._asked is None and not self._restarting:
            assert self.last is not None
            self._doubt_at = now_ns + (FAR_DOUBT_NS if self.last - trade_id > _FAR else DOUBT_NS)
        return []

    def _trust(self) -> None:
        self._below.clear()
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
        elif rows and self._below:
            self._look_back_to = max(1, rows[-1][0] + 1 - BACKFILLED_TRADES)
            self._fetch_at = now_ns
        elif self._below:
            self._doubt_at = now_ns + DOUBT_NS
        return []

    def _begin(self, rows: list[tuple[int, Trade]], now_ns: int) -> list[Event]:
        """The oldest trades of the new series, as far back as is worth it: many may have come unheard."""
        self._look_back_to = None
        for trade_id, trade in rows:
            self._below.setdefault(trade_id, structs.replace(trade, backfilled=True))
        self._restarting = True
        self._hold.begin(now_ns)
        return []

    def _restart(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """Say it, unless another writer has; then go on with all that is known of the new series."""
        if standing is None or self.last is None:
            self._hold.still(None, now_ns)
            return []
        self._restarting = False
        self._hold.end()
        heard, self._below = sorted(self._below.items()), {}
        events: list[Event] = []
        if standing.position is None or int(standing.position) < self.last:
            self.last = None if standing.position is None else int(standing.position)
        else:
            self._begun = self._begun or heard[0][0]
            self.last = self._begun - 1
            events.append(self._session.restart(self.key, standing, self.last))
        for trade_id, trade in heard:
            events += self.trade(trade_id, trade, now_ns)
        return events
