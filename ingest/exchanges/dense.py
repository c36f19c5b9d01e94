"""Trades with consecutive ids: said in order, holes filled by REST, and registered where that cannot be had."""

from msgspec import structs

from ingest.contract.events import Event, Gap, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.session import Session

BACKFILLED_TRADES = 20_000
"""The longest hole that is filled by REST; of a longer one the oldest part is registered as lost."""
_ATTEMPTS = 4
_RETRY_NS = 2_000_000_000


class DenseTrades:
    """One symbol's trades."""

    def __init__(self, key: StreamKey, session: Session, position: str | None) -> None:
        """`position` is the id at which the stream stands; without one it begins with whatever comes first."""
        self.key = key
        self.last = None if position is None else int(position)
        self._session = session
        self._ahead: dict[int, Trade] = {}
        self._fetch_at = NEVER
        self._fetching: int | None = None
        self._attempts = 0

    def due(self) -> int:
        """When the trades behind `last` are to be fetched."""
        return self._fetch_at

    def fetching(self) -> int:
        """The fetch is under way, from the id that this returns; its answer comes as `fetched` or `failed`."""
        assert self.last is not None
        self._fetch_at = NEVER
        self._fetching = self.last + 1
        return self._fetching

    def trade(self, trade_id: int, trade: Trade, now_ns: int) -> list[Event]:
        """A live trade."""
        if self.last is None or trade_id == self.last + 1:
            return [self._say(trade_id, trade), *self._join()]
        if trade_id <= self.last:
            return []
        if len(self._ahead) >= BACKFILLED_TRADES:
            return [*self._lose(min(self._ahead) - 1, "more trades came meanwhile than can wait"), *self._join()]
        self._ahead[trade_id] = trade
        if self._fetching is None and self._fetch_at == NEVER:
            self._fetch_at = now_ns
            return self._too_long(trade_id)
        return []

    def fetched(self, rows: list[tuple[int, Trade]], now_ns: int) -> list[Event]:
        """Trades from the id asked for on, oldest first, as far as one page goes."""
        asked, self._fetching = self._fetching, None
        if self.last is None or asked is None:
            return []
        if asked > self.last + 1:  # the stream was found behind meanwhile
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
        self._fetching = None
        if not self._ahead:
            return []
        self._attempts += 1
        if self._attempts < _ATTEMPTS:
            self._fetch_at = now_ns + _RETRY_NS
            return []
        self._attempts = 0
        return [*self._lose(min(self._ahead) - 1, reason), *self._join()]

    def refused(self, last: str | None, now_ns: int) -> list[Event]:
        """The stream stands at `last`: what was said after it is fetched again."""
        self._ahead.clear()
        self.last = None if last is None else int(last)
        if self.last is not None and self._fetching is None:
            self._fetch_at = now_ns
        return []

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
        first, last = str(self.last + 1), str(last_id)
        self.last = last_id
        gap = Gap(reason=reason, first_id=first, last_id=last)
        return [Event(self.key, self._session.identity(), gap, "gap", f"{first}-{last}")]
