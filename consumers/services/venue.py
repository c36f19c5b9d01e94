"""What executes orders, as the order service sees it: values in, values out. Paper is one; an exchange is another."""

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from consumers.book import Book
from consumers.services.accounting import ZERO
from ingest.contract.events import Body, Event, Fill, Intent, Order
from ingest.contract.keys import StreamKey

NEXT: dict[str, frozenset[str]] = {
    "": frozenset({"new", "rejected", "expired"}),
    "new": frozenset({"open", "partially_filled", "filled", "canceled"}),
    "open": frozenset({"partially_filled", "filled", "canceled"}),
    "partially_filled": frozenset({"partially_filled", "filled", "canceled"}),
    "filled": frozenset(),
    "canceled": frozenset(),
    "rejected": frozenset(),
    "expired": frozenset(),
}
"""The diagram of an order: what may follow each status, and "" before the first one."""

TERMINAL = frozenset(status for status, following in NEXT.items() if not following)


class Working(Struct, frozen=True, kw_only=True):
    """An order that is not over."""

    order: Order
    """Its newest state."""
    revision: int
    """How many states it has had."""
    since_ns: int
    """From when on it can be filled by others."""
    ahead: Decimal = ZERO
    """What others want at its price before it is its turn."""
    fills: int = 0
    cost: Decimal = ZERO
    """Of all its fills."""


class Desk(Struct, frozen=True):
    """All orders of one symbol that are not over, in the order in which they came."""

    working: tuple[Working, ...] = ()

    def of_intent(self, intent_id: str) -> Working | None:
        """The order that serves this intent, if it is not over."""
        return next((each for each in self.working if each.order.intent_id == intent_id), None)

    def put(self, working: Working) -> "Desk":
        """With the order as it is now: without it, if it is over."""
        mine = working.order.order_id
        if working.order.status in TERMINAL:
            return Desk(tuple(each for each in self.working if each.order.order_id != mine))
        if any(each.order.order_id == mine for each in self.working):
            return Desk(tuple(working if each.order.order_id == mine else each for each in self.working))
        return Desk((*self.working, working))


class Step(NamedTuple):
    """What came of something: the desk after it, and what to tell in `orders` and `fills`."""

    desk: Desk
    events: tuple[Event, ...] = ()


class Venue(Protocol):
    """Where orders are executed. Pure: a call decides, and whoever calls keeps the desk and tells the events.

    A real exchange fits in here, too. `place` decides what to ask of it (with the order's id as the client's own, so
    that asking twice is one order), and its private stream of fills comes as one more channel that `hear` is handed.
    """

    channels: tuple[str, ...]
    """What it has to hear of besides approved intents."""

    def acts_ns(self, intent: Intent) -> int:
        """When it may act upon the intent at the earliest."""

    def place(self, desk: Desk, ticket: "Ticket", book: Book | None) -> Step:
        """Act upon an intent; `book` is the one of that moment, None if there is none that is live."""

    def hear(self, desk: Desk, key: StreamKey, event: Body, now_ns: int) -> Step:
        """Something of its channels has come."""

    def end_all(self, desk: Desk, exchange: str, symbol: str, now_ns: int, why: str) -> Step:
        """Cancel whatever works."""


class Ticket(Struct, frozen=True):
    """An intent on its way to becoming an order."""

    exchange: str
    symbol: str
    intent: Intent
    now_ns: int

    @property
    def order_id(self) -> str:
        """Follows from the intent, so that the same intent is the same order whenever it comes; of bounded length."""
        name = f"{self.exchange} {self.symbol} {self.intent.intent_id}"
        return hashlib.blake2b(name.encode(), digest_size=12).hexdigest()

    @property
    def orders(self) -> StreamKey:
        """The stream that its states go to."""
        return StreamKey(self.exchange, "orders", self.symbol)

    @property
    def first(self) -> str:
        """The identity there of its first state."""
        return f"{self.order_id}.1"

    @property
    def order(self) -> Order:
        """In its first state."""
        intent = self.intent
        return Order(
            order_id=self.order_id,
            intent_id=intent.intent_id,
            account=intent.account,
            status="new",
            side=intent.side,
            order_type="market" if intent.order_type == "market" else "limit",
            amount=intent.amount,
            filled="0",
            updated_ns=self.now_ns,
            price=intent.price,
        )

    def refused(self, reason: str, *, expired: bool = False) -> Event:
        """The one state of an order that will never be."""
        order = replace(self.order, status="expired" if expired else "rejected", reason=reason)
        return state(self.exchange, self.symbol, order, 1)


def state(exchange: str, symbol: str, order: Order, revision: int) -> Event:
    """A state as the stream of orders has it."""
    return Event(StreamKey(exchange, "orders", symbol), f"{order.order_id}.{revision}", order, "window")


def told(exchange: str, symbol: str, fills: Sequence[Fill]) -> tuple[Event, ...]:
    """Fills as their stream has them."""
    key = StreamKey(exchange, "fills", symbol)
    return tuple(Event(key, fill.fill_id, fill, "window") for fill in fills)
