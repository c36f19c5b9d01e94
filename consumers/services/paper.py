"""Paper execution: what becomes of an intent by the book of that moment. Pure.

Market orders and limit orders alike are immediate or cancel: they take from the book level by level what is there
now, as takers; what is left is canceled, nothing rests. What they take is not missing from the book afterwards.
"""

import hashlib
from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext

from msgspec import Struct
from msgspec.structs import replace

from consumers.book import Book, Level
from consumers.services.accounting import AVERAGE_PLACES, EXACT, ZERO, divided, plain, quote_of, rounded
from ingest.contract.events import Event, Fill, Intent, Order
from ingest.contract.keys import StreamKey

FEE_PLACES = 30
"""The most that a number of the bus has: a fee of real prices, amounts and rates is exact."""


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
        """The identity there of its first state: whether that is in the stream tells whether this was answered."""
        return f"{self.order_id}.1"


def refuse(ticket: Ticket, reason: str) -> tuple[Event, ...]:
    """The order as rejected."""
    return _states(ticket, [replace(_new(ticket), status="rejected", reason=reason)])


def execute(ticket: Ticket, book: Book, taker_fee: Decimal) -> tuple[Event, ...]:
    """The states of the order, and a fill for each level it takes. A `taker_fee` of 0.001 is 0.1 % of the cost."""
    with localcontext(EXACT):
        taken = list(_take(ticket.intent, book))
        states = [_new(ticket), *_outcome(ticket, taken)]
        fills = [_fill(ticket, index, level, taker_fee) for index, level in enumerate(taken, start=1)]
    return (*_states(ticket, states), *fills)


def _take(intent: Intent, book: Book) -> Iterator[Level]:
    buys = intent.side == "buy"
    wanted = Decimal(intent.amount)
    limit = None if intent.price is None or intent.order_type == "market" else Decimal(intent.price)
    for price, amount in book.asks() if buys else book.bids():
        if not wanted or (limit is not None and (price > limit if buys else price < limit)):
            return
        taken = min(wanted, amount)
        wanted -= taken
        yield Level(price, taken)


def _outcome(ticket: Ticket, taken: Sequence[Level]) -> list[Order]:
    order, wanted = _new(ticket), Decimal(ticket.intent.amount)
    filled = sum((level.amount for level in taken), start=ZERO)
    if taken:
        cost = sum((level.price * level.amount for level in taken), start=ZERO)
        order = replace(order, filled=plain(filled), average=plain(divided(cost, filled, AVERAGE_PLACES)))
    if filled == wanted:
        return [replace(order, status="filled")]
    reason = (
        "paper: the book has no more" if order.order_type == "market" else "paper: limit orders are immediate or cancel"
    )
    canceled = replace(order, status="canceled", reason=reason)
    return [replace(order, status="partially_filled"), canceled] if taken else [canceled]


def _new(ticket: Ticket) -> Order:
    intent = ticket.intent
    return Order(
        order_id=ticket.order_id,
        intent_id=intent.intent_id,
        account=intent.account,
        status="new",
        side=intent.side,
        order_type="market" if intent.order_type == "market" else "limit",
        amount=intent.amount,
        filled="0",
        updated_ns=ticket.now_ns,
        price=intent.price,
    )


def _states(ticket: Ticket, orders: Sequence[Order]) -> tuple[Event, ...]:
    return tuple(
        Event(key=ticket.orders, s=f"{ticket.order_id}.{revision}", body=order, rule="window")
        for revision, order in enumerate(orders, start=1)
    )


def _fill(ticket: Ticket, index: int, level: Level, taker_fee: Decimal) -> Event:
    fill_id = f"{ticket.order_id}.{index}"
    fee = rounded(level.price * level.amount * taker_fee, FEE_PLACES)
    body = Fill(
        fill_id=fill_id,
        order_id=ticket.order_id,
        intent_id=ticket.intent.intent_id,
        account=ticket.intent.account,
        side=ticket.intent.side,
        price=plain(level.price),
        amount=plain(level.amount),
        fees=((quote_of(ticket.symbol), plain(fee)),),
        liquidity="taker",
        exchange_ns=ticket.now_ns,
        received_ns=ticket.now_ns,
    )
    return Event(key=StreamKey(ticket.exchange, "fills", ticket.symbol), s=fill_id, body=body, rule="window")
