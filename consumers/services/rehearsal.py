"""A bot on history: the same seats, shown what was recorded, and its orders on paper. Pure.

Of its own orders and fills a strategy hears those of the paper exchange here, as they come of what it wishes now. They
follow upon the entry that made them, and what it wishes upon them reaches the exchange with the next entry. Or it hears
those that were recorded, and nothing is executed: then a strategy that has not changed wishes what it did live.
"""

from decimal import Decimal, localcontext

from msgspec import Struct

from consumers.book import LiveBook
from consumers.replay import Replayed
from consumers.services.accounting import EXACT, ZERO, Position, after, quote_of
from consumers.services.notes import Notes, Terms
from consumers.services.paper import Paper
from consumers.services.seat import Seat
from consumers.services.strategy import OWN, News, channels, told_ns
from consumers.services.venue import Desk, Step, Ticket
from ingest.contract.codec import Entry, UnreadableEntry
from ingest.contract.events import Delta, Event, Fill, Intent, Order, Snapshot, Trade
from ingest.contract.keys import StreamKey


class Result(Struct):
    """What has come of it in one quote currency, exact."""

    pnl: Decimal = ZERO
    """Realized and unrealized, after fees."""
    peak: Decimal = ZERO
    drawdown: Decimal = ZERO
    """The most by which it fell from its peak."""

    def move(self, by: Decimal) -> None:
        """It has changed by so much."""
        self.pnl += by
        self.peak = max(self.peak, self.pnl)
        self.drawdown = max(self.drawdown, self.peak - self.pnl)


class Market(Struct):
    """One symbol of one exchange, and what the bot has there."""

    book: LiveBook
    position: Position
    desk: Desk = Desk()
    mark: Decimal | None = None
    """The price of the latest trade, or the middle of the book if that is newer."""
    pnl: Decimal = ZERO


class Rehearsal:
    """Show it the steps of a replay of its `channels`, one by one. No limits of risk apply.

    Without a `venue`, orders and fills are those that were recorded.
    """

    def __init__(self, terms: Terms, venue: Paper | None) -> None:
        self.markets: dict[tuple[str, str], Market] = {}
        self.results: dict[str, Result] = {}
        """By quote currency."""
        self.intents = self.fills = self.rejected = 0
        self._terms = terms
        self._venue = venue
        self._seats: dict[tuple[str, str], Seat] = {}
        self._waiting: list[tuple[StreamKey, Intent]] = []
        """Decided, and not at the exchange yet."""
        self._clock_ns = 0

    @property
    def channels(self) -> tuple[str, ...]:
        """What the strategy hears, what the paper exchange needs, and what profit is counted by."""
        heard = {*channels(self._terms.kind), "orderbook", "trades"}
        return tuple(sorted(heard - {*OWN} if self._venue else heard | {*OWN}))

    def take(self, step: Replayed) -> tuple[Event, ...]:
        """What follows: intents, its orders and fills, and statuses of a strategy that fails."""
        try:
            entry = step.entry()
        except UnreadableEntry:
            return ()
        key = step.key
        market, seat = self._market(key), self._seat(key)
        if key.channel == "orderbook":
            market.book.take(entry)
        if step.early:
            seat.glance(key, entry)
            return ()
        with localcontext(EXACT):
            traded = self._traded(key, market, entry)
        decided = self._decided(seat.show(key, entry)) if key in seat.streams else ()
        with localcontext(EXACT):
            placed = self._placed(self._venue) if self._venue else ()
            self._value(market)
        heard = self._heard(traded + placed, entry.id) if self._venue else ()
        return traded + decided + placed + heard

    def _traded(self, key: StreamKey, market: Market, entry: Entry) -> tuple[Event, ...]:
        event = entry.event
        if isinstance(event, News):
            self._clock_ns = max(self._clock_ns, told_ns(event))
        match event:
            case Snapshot() | Delta():
                bid, ask = market.book.book.best_bid, market.book.book.best_ask
                market.mark = (bid.price + ask.price) / 2 if market.book.live and bid and ask else market.mark
            case Trade():
                market.mark = Decimal(event.price)
                if self._venue:
                    return self._booked(market, self._venue.hear(market.desk, key, event, self._clock_ns))
            case Order() | Fill() if self._terms.owns(event.intent_id):
                return self._booked(market, Step(market.desk, (Event(key, entry.s, event, "window"),)))
        return ()

    def _heard(self, told: tuple[Event, ...], entry_id: str) -> tuple[Event, ...]:
        """What it says to what has become of its orders."""
        decided: tuple[Event, ...] = ()
        for event in told:
            seat, kind = self._seat(event.key), type(event.body).__name__.lower()
            if event.key in seat.streams:
                n = seat.place(event.key).n + 1
                decided += self._decided(seat.show(event.key, Entry(entry_id, kind, n, "paper", event.s, event.body)))
        return decided

    def _decided(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        for event in events:
            if isinstance(event.body, Intent):
                self.intents += 1
                self._waiting += [(event.key, event.body)] if self._venue else []
        return events

    def _placed(self, venue: Paper) -> tuple[Event, ...]:
        """What has reached the exchanges by now."""
        waiting, self._waiting = self._waiting, []
        events: tuple[Event, ...] = ()
        for key, intent in waiting:
            if venue.acts_ns(intent) > self._clock_ns:
                self._waiting.append((key, intent))
                continue
            market = self._market(key)
            ticket = Ticket(key.exchange, key.symbol, intent, self._clock_ns)
            book = market.book.book if market.book.live else None
            events += self._booked(market, venue.place(market.desk, ticket, book))
        return events

    def _booked(self, market: Market, step: Step) -> tuple[Event, ...]:
        market.desk = step.desk
        for event in step.events:
            if isinstance(event.body, Fill):
                self.fills += 1
                market.position = after(market.position, event.body)
            elif isinstance(event.body, Order) and event.body.status in ("rejected", "expired"):
                self.rejected += 1
        return step.events

    def _value(self, market: Market) -> None:
        if market.mark is None or not market.position.fills:
            return
        pnl = market.position.realized + market.position.unrealized(market.mark)
        if pnl != market.pnl:
            self.results.setdefault(market.position.quote, Result()).move(pnl - market.pnl)
            market.pnl = pnl

    def _market(self, key: StreamKey) -> Market:
        where = key.exchange, key.symbol
        if where not in self.markets:
            book = LiveBook(StreamKey(key.exchange, "orderbook", key.symbol))
            self.markets[where] = Market(book=book, position=Position(quote=quote_of(key.symbol)))
        return self.markets[where]

    def _seat(self, key: StreamKey) -> Seat:
        where = key.exchange, key.symbol
        if where not in self._seats:
            self._seats[where] = Seat(self._terms, key.exchange, key.symbol, Notes())
        return self._seats[where]
