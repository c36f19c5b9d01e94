"""Trades whose ids have no order: what was missed is asked for at each connect, and doubt is registered."""

from collections.abc import Sequence

from msgspec import structs

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Kept, Locate, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.steps import Steps, Told
from ingest.exchanges.topic import TradesWanted, Wanted

WAITING_TRADES = 20_000
"""Live trades that wait for what was missed before them; one more, and that is given up."""
WAIT_NS = 30_000_000_000
"""So long they wait; the exchange may want to hear nothing for longer."""
_ATTEMPTS = 4
_RETRY_NS = 1_000_000_000


class OpaqueTrades:
    """One symbol's trades. An exchange says them in the order of their times; `last_ms` is the newest one's said.

    Trades that are heard live wait until a page of the newest ones by REST reaches from `last_ms` to the first of
    them: then nothing is missing. A page may be older than what is heard; it is then asked for again. Where it cannot
    be had, or does not reach back, the stretch of time in which trades may be missing is registered.

    From then on each is said as it comes. Where ids seem to be counted and one is missing, a page tells whether it is,
    and what is in it is said late.
    """

    kept = Kept(
        named="trade id, without an order",
        noticed="at each connect the newest by REST must meet what was said and what is heard",
        mended="fetched by REST, else a `gap` of time",
        far="what one page has",
    )

    def __init__(self, key: StreamKey, session: Session, position: str | None) -> None:
        """`position` is the time at which the stream stands, in ms; without one it begins with whatever comes first."""
        self.key = key
        self.last_ms = None if position is None else int(position)
        self._session = session
        self._waiting: dict[str, Told] | None = {}
        self._page: list[Told] = []
        self._whole = False
        self._open = False
        self._asked = False
        self._page_at = NEVER
        self._look_at = NEVER
        self._until_ns = NEVER
        self._attempts = 0
        self._steps = Steps()
        self._patch_at = 0

    @property
    def position(self) -> str | None:
        """The time of the newest trade said."""
        return None if self.last_ms is None else str(self.last_ms)

    def open(self, now_ns: int) -> Sequence[Event]:
        """The subscription stands: a page that is asked for from now on meets what is heard."""
        self._open = True
        self._page_at = now_ns
        return ()

    def resume(self, now_ns: int) -> list[Event]:
        """It was subscribed to once more: in between, nobody listened, and a page has to tell what there was."""
        doubt = self._unverifiable(*self._steps.forget()) if self._steps.open else []
        self._steps = Steps()
        self._waiting = self._waiting or {}
        self._attempts, self._page_at = 0, now_ns
        return doubt

    def closed(self, reason: str) -> list[Event]:
        """What waits has been heard: it is said, behind what may be missing before it."""
        said = self._give_up()
        return [*said, *self._unverifiable(*self._steps.forget())] if self._steps.open else said

    def due(self) -> int:
        """When something is next wanted."""
        patch_at = self._patch_at if self._steps.open and self._waiting is None and not self._asked else NEVER
        return min(self._page_at, self._look_at, self._until_ns, patch_at)

    def wants(self, now_ns: int) -> list[Wanted]:
        """The newest trades, or where the stream stands; or that what waits is said."""
        wanted: list[Wanted] = [*self._give_up()] if self._until_ns <= now_ns else []
        if self._waiting is None and self._steps.open and not self._asked and self._patch_at <= now_ns:
            self._patch_at = now_ns + _RETRY_NS
            self._page_at = now_ns
        if self._page_at <= now_ns:
            self._page_at = NEVER
            self._asked = True
            wanted.append(TradesWanted(None))
        if self._look_at <= now_ns:
            self._look_at = NEVER
            wanted.append(Locate(self.key))
        return wanted

    def trade(self, told: Told, now_ns: int) -> list[Event]:
        """A live trade."""
        if self._waiting is None:
            return [self._say(told)]
        if len(self._waiting) >= WAITING_TRADES:
            return [*self._give_up(), self._say(told)]
        if not self._waiting:
            self._until_ns = now_ns + WAIT_NS
        self._waiting.setdefault(told.id, told)
        if self._open and not self._asked and not self._page and self._page_at == NEVER:
            self._page_at = now_ns  # the page before had nothing to meet
        return []

    def fetched(self, rows: Sequence[Told], most: int, now_ns: int) -> list[Event]:
        """The newest trades, oldest first; without a cut at `most`, all that there are."""
        self._asked = False
        if self._waiting is None:
            return self._patch(rows, most, now_ns)
        if not rows:
            return self.failed("", now_ns)
        self._page = [_backfilled(row) for row in rows]
        self._whole = len(rows) < most
        if self.last_ms is not None and self._reaches(self.last_ms):
            return self._join(now_ns)
        self._look_at = now_ns
        return []

    def located(self, standing: Standing | None, now_ns: int) -> list[Event]:
        """Another writer may have said what the page does not reach back to; else it may be missing."""
        if self._waiting is None or not self._page:
            return []
        if standing is not None and standing.position is not None:
            self.last_ms = max(self.last_ms or 0, int(standing.position))
        lost: list[Event] = []
        if self.last_ms is not None and not self._reaches(self.last_ms):
            lost = self._unverifiable(self.last_ms, self._page[0].ms)
        return [*lost, *self._join(now_ns)]

    def failed(self, reason: str, now_ns: int) -> list[Event]:
        """No usable page came: ask again, and in the end do without."""
        self._asked = False
        self._attempts += 1
        if self._attempts < _ATTEMPTS:
            if self._waiting is None:
                self._patch_at = now_ns + _RETRY_NS
            else:
                self._page_at = now_ns + _RETRY_NS
            return []
        if self._waiting is not None:
            return self._give_up()
        self._attempts = 0
        return self._unverifiable(*self._steps.forget()) if self._steps.open else []

    def refused(self, position: str | None, now_ns: int) -> Sequence[Event]:
        """Trades without an order are never refused."""
        return ()

    def _patch(self, rows: Sequence[Told], most: int, now_ns: int) -> list[Event]:
        """What may have been missed between two that were said: what others have said, too, is in the stream."""
        if not self._steps.open:
            return []
        found = self._steps.look(rows, whole=len(rows) < most)
        if found is None:
            return self.failed("", now_ns)
        self._attempts = 0
        lost = self._unverifiable(*found.unknown_ms) if found.unknown_ms else []
        return [*lost, *(self._event(_backfilled(row)) for row in found.rows)]

    def _reaches(self, last_ms: int) -> bool:
        """Whether nothing is missing between that and the page: of one millisecond, the page may have only a part."""
        oldest_ms = self._page[0].ms
        return oldest_ms < last_ms or (oldest_ms == last_ms and self._whole)

    def _join(self, now_ns: int) -> list[Event]:
        """The page and what waited, if the two meet; else the page alone, and another is wanted."""
        assert self._waiting is not None
        page, self._page = self._page, []
        first = next(iter(self._waiting.values()), None)
        meets = first is not None and (page[-1].ms > first.ms or any(row.id == first.id for row in page))
        # What was said of a time before the stream's own is there already, or was registered.
        rows = [row for row in page if self.last_ms is None or row.ms >= self.last_ms]
        if meets:
            heard, self._waiting = self._waiting, None
            self._until_ns, self._attempts = NEVER, 0
            told = {row.id: row for row in rows} | heard
            return [self._say(each) for each in sorted(told.values(), key=_ms)]
        said = [self._say(row) for row in rows]
        return said if first is None else [*said, *self.failed("", now_ns)]

    def _give_up(self) -> list[Event]:
        """What waits is said, behind the stretch before it in which trades may be missing."""
        self._until_ns = NEVER
        if not self._waiting:
            return []  # it goes on with the next that is heard
        heard, self._waiting = sorted(self._waiting.values(), key=_ms), None
        self._page_at = self._look_at = NEVER
        self._attempts = 0
        lost = [] if self.last_ms is None else self._unverifiable(self.last_ms, heard[0].ms)
        return [*lost, *map(self._say, heard)]

    def _unverifiable(self, first_ms: int, last_ms: int) -> list[Event]:
        """Both milliseconds included: of each, some trades may be known and others not."""
        return [] if first_ms > last_ms else [self._session.unverifiable(self.key, first_ms, last_ms)]

    def _say(self, told: Told) -> Event:
        """In the order of time: what was said before it is in the stream, or somebody has lost it."""
        before_ms, self.last_ms = self.last_ms, max(told.ms, self.last_ms or 0)
        self._steps.follow(told)
        return self._event(told, before_ms)

    def _event(self, told: Told, before_ms: int | None = None) -> Event:
        first = str(told.ms) if before_ms is None else f"{told.ms} {before_ms}"
        return Event(self.key, told.id, told.trade, "opaque", first)


def _backfilled(row: Told) -> Told:
    return row._replace(trade=structs.replace(row.trade, backfilled=True))


def _ms(told: Told) -> int:
    return told.ms
