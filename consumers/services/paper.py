"""The paper exchange: real prices and real depth, orders that nobody else sees. Pure.

- An order that takes, takes from the book of its moment level by level, one fill a level, as a taker.
- What rests (`gtc`, `post_only`) joins behind the amount that the book shows at its price. Trades at that price eat
  this queue first, then fill the order; trades beyond the price fill it at once. It is filled at its own price, as a
  maker, and all orders together get no more of a trade than was traded. The queue gets no shorter by cancellations of
  others, which no exchange tells order by order: paper is rather too slow than too fast.
- Latency: an intent is acted upon by the book as it is `latency_ns` after it was decided, or later if it came later.
- What is taken on paper is still in the book afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, localcontext

from msgspec.structs import replace

from consumers.book import Book, Level
from consumers.services.accounting import AVERAGE_PLACES, EXACT, ZERO, divided, plain, quote_of, rounded
from consumers.services.fees import OTHERS, TABLE, Fees
from consumers.services.venue import Desk, Step, Ticket, Working, state, told
from ingest.contract.events import Body, Event, Fill, Intent, Side, Trade
from ingest.contract.keys import StreamKey

FEE_PLACES = 30
"""The most that a number of the bus has: a fee of real prices, amounts and rates is exact."""
MOST_WORKING = 200
"""Orders of one symbol that may work at a time: the desk is written whole with each change of it."""


class Paper:
    """A venue for every symbol of every exchange."""

    channels: tuple[str, ...] = ("trades",)

    def __init__(self, fees: Mapping[str, Fees] = TABLE, latency_ns: int = 0) -> None:
        self._fees = fees
        self._latency_ns = latency_ns

    def acts_ns(self, intent: Intent) -> int:
        """When what was decided reaches the exchange."""
        return intent.decided_ns + self._latency_ns

    def place(self, desk: Desk, ticket: Ticket, book: Book | None) -> Step:
        """Act upon an intent."""
        intent = ticket.intent
        if ticket.now_ns > intent.valid_until_ns:
            late_ms = (ticket.now_ns - intent.valid_until_ns) // 1_000_000
            return Step(desk, (ticket.refused(f"came {late_ms} ms after its valid_until_ns", expired=True),))
        if desk.of_intent(intent.intent_id):
            return Step(desk)
        if intent.order_type == "cancel":
            return _cancel(desk, ticket)
        objection = _objection(desk, intent, book)
        if objection or book is None:
            return Step(desk, (ticket.refused(objection or "no live book"),))
        with localcontext(EXACT):
            return self._open(desk, ticket, book)

    def hear(self, desk: Desk, key: StreamKey, event: Body, now_ns: int) -> Step:
        """Let a trade fill what waits for it."""
        if not isinstance(event, Trade) or not desk.working:
            return Step(desk)
        with localcontext(EXACT):
            return self._traded(desk, key, event, now_ns)

    def end_all(self, desk: Desk, exchange: str, symbol: str, now_ns: int, why: str) -> Step:
        """Cancel whatever works."""
        pen = _Pen(exchange, symbol, OTHERS, now_ns)
        for working in desk.working:
            pen.end(working, why)
        return Step(Desk(), pen.events)

    def _open(self, desk: Desk, ticket: Ticket, book: Book) -> Step:
        intent = ticket.intent
        taken = list(_take(intent, book))
        if taken and intent.time_in_force == "post_only":
            return Step(desk, (ticket.refused("post_only, but it would take"),))
        pen = _Pen(ticket.exchange, ticket.symbol, self._fees.get(ticket.exchange, OTHERS), ticket.now_ns)
        working = Working(order=ticket.order, revision=0, since_ns=ticket.now_ns)
        working = pen.tell(working)
        working = pen.fill(working, taken, "taker")
        if working.order.status != "filled":
            if intent.order_type == "market" or intent.time_in_force == "ioc":
                why = "the book has no more" if intent.order_type == "market" else "immediate or cancel"
                working = pen.end(working, why)
            else:
                working = replace(working, ahead=_shown(intent, book))
                working = working if taken else pen.tell(working, status="open")
        return Step(desk.put(working), pen.events)

    def _traded(self, desk: Desk, key: StreamKey, trade: Trade, now_ns: int) -> Step:
        price, amount = Decimal(trade.price), Decimal(trade.amount)
        at_ns = (trade.exchange_ns or 0) if trade.backfilled else trade.received_ns
        left, after = amount, desk
        pen = _Pen(key.exchange, key.symbol, self._fees.get(key.exchange, OTHERS), now_ns)
        for working in _by_turn(desk, price, trade.side):
            if at_ns < working.since_ns:
                continue
            beyond = price != _limit(working)
            # Behind the queue is what orders before this one have left of it.
            reaches = left if beyond else max(ZERO, left - working.ahead)
            got = min(reaches, _open_amount(working))
            left -= got
            changed = replace(working, ahead=ZERO if beyond else max(ZERO, working.ahead - amount))
            if got:
                changed = pen.fill(changed, [Level(_limit(working), got)], "maker")
            after = after.put(changed)
        return Step(after, pen.events)


class _Pen:
    """Writes down what becomes of orders at one moment."""

    def __init__(self, exchange: str, symbol: str, fees: Fees, now_ns: int) -> None:
        self._exchange = exchange
        self._symbol = symbol
        self._fees = fees
        self._now_ns = now_ns
        self._events: list[Event] = []

    @property
    def events(self) -> tuple[Event, ...]:
        """In the order in which they happened."""
        return tuple(self._events)

    def tell(self, working: Working, **changes: str) -> Working:
        """The order's next state."""
        order = replace(working.order, **changes, updated_ns=self._now_ns)
        self._events.append(state(self._exchange, self._symbol, order, working.revision + 1))
        return replace(working, order=order, revision=working.revision + 1)

    def end(self, working: Working, why: str) -> Working:
        """Canceled."""
        return self.tell(working, status="canceled", reason=why)

    def fill(self, working: Working, levels: Sequence[Level], liquidity: str) -> Working:
        """A fill for each level, and then the order's state."""
        if not levels:
            return working
        fills = [self._fill(working, index, level, liquidity) for index, level in enumerate(levels, working.fills + 1)]
        self._events += told(self._exchange, self._symbol, fills)
        filled = Decimal(working.order.filled) + sum((level.amount for level in levels), start=ZERO)
        cost = working.cost + sum((level.price * level.amount for level in levels), start=ZERO)
        working = replace(working, fills=working.fills + len(levels), cost=cost)
        return self.tell(
            working,
            status="filled" if filled == Decimal(working.order.amount) else "partially_filled",
            filled=plain(filled),
            average=plain(divided(cost, filled, AVERAGE_PLACES)),
        )

    def _fill(self, working: Working, index: int, level: Level, liquidity: str) -> Fill:
        order = working.order
        rate = self._fees.maker if liquidity == "maker" else self._fees.taker
        return Fill(
            fill_id=f"{order.order_id}.{index}",
            order_id=order.order_id,
            intent_id=order.intent_id,
            account=order.account,
            side=order.side,
            price=plain(level.price),
            amount=plain(level.amount),
            fees=((quote_of(self._symbol), plain(rounded(level.price * level.amount * rate, FEE_PLACES))),),
            liquidity="maker" if liquidity == "maker" else "taker",
            exchange_ns=self._now_ns,
            received_ns=self._now_ns,
        )


def _cancel(desk: Desk, ticket: Ticket) -> Step:
    intent = ticket.intent
    working = desk.of_intent(intent.cancels or "")
    if working is None or working.order.account != intent.account:
        return Step(desk, (ticket.refused(f"nothing to cancel: no open order of {intent.cancels!r:.150}"),))
    pen = _Pen(ticket.exchange, ticket.symbol, OTHERS, ticket.now_ns)
    return Step(desk.put(pen.end(working, f"canceled by {intent.intent_id:.200}")), pen.events)


def _objection(desk: Desk, intent: Intent, book: Book | None) -> str | None:
    if not Decimal(intent.amount):
        return "the amount is not above 0"
    if intent.order_type == "limit" and not Decimal(intent.price or 0):
        return "a limit order without a price above 0"
    if intent.order_type == "market" and intent.time_in_force == "post_only":
        return "post_only, but a market order takes"
    if len(desk.working) >= MOST_WORKING:
        return f"{MOST_WORKING} orders work already"
    return "no live book: it is crossed" if book is not None and book.crossed else None


def _take(intent: Intent, book: Book) -> Iterator[Level]:
    """What it can have at once, level by level."""
    buys, wanted = intent.side == "buy", Decimal(intent.amount)
    limit = None if intent.price is None or intent.order_type == "market" else Decimal(intent.price)
    for price, amount in book.asks() if buys else book.bids():
        if not wanted or (limit is not None and (price > limit if buys else price < limit)):
            return
        taken = min(wanted, amount)
        wanted -= taken
        yield Level(price, taken)


def _shown(intent: Intent, book: Book) -> Decimal:
    """What others want at its price."""
    price = Decimal(intent.price or 0)
    return next(
        (each.amount for each in (book.bids() if intent.side == "buy" else book.asks()) if each.price == price), ZERO
    )


def _by_turn(desk: Desk, price: Decimal, taker: Side) -> list[Working]:
    """The orders that a trade at this price can fill: the best price first, then the oldest."""
    reached = [each for each in desk.working if _is_reached(each, price, taker)]
    return sorted(reached, key=lambda each: _limit(each) if each.order.side == "sell" else -_limit(each))


def _is_reached(working: Working, price: Decimal, taker: Side) -> bool:
    limit = _limit(working)
    if price == limit:
        return working.order.side != taker
    return price < limit if working.order.side == "buy" else price > limit


def _limit(working: Working) -> Decimal:
    return Decimal(working.order.price or 0)


def _open_amount(working: Working) -> Decimal:
    return Decimal(working.order.amount) - Decimal(working.order.filled)
