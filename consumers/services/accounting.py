"""What an account holds after each fill, by average cost, exact to the last digit.

All sums and products are exact. The one division is the cost of the part that a fill closes: it is rounded to 18
places, half to even, and what it takes from the cost it gives to the realized side. So the rounding moves profit
between realized and unrealized by less than 1e-18 and never makes or loses any: at every moment

    realized + unrealized = cash flow + quantity × mark - fees in the quote currency

holds exactly, and the same fills in the same order give the same digits on every machine.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext

from msgspec import Struct
from msgspec.structs import replace

from ingest.contract.events import Fill

ZERO = Decimal(0)

# A number of the bus has at most 60 digits and a product of two 120: 200 leave room for sums of them.
_ROUNDED = Context(prec=200, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, InvalidOperation, Overflow])
EXACT = Context(prec=200, traps=[DivisionByZero, InvalidOperation, Overflow, Inexact])
"""Arithmetic that raises rather than lose a digit."""

_COST_PLACES = 18
AVERAGE_PLACES = 12


class Position(Struct, frozen=True):
    """What one account holds of one symbol; negative quantity and cost are a short position."""

    quote: str
    """The currency that prices and profits are in."""
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    """What the quantity was bought for; of a short position, minus what it was sold for."""
    realized: Decimal = ZERO
    """Profit of what was closed, less the fees paid in the quote currency."""
    fees: tuple[tuple[str, Decimal], ...] = ()
    """Fees by currency, in the order of their first payment. Only those in the quote currency reduce `realized`."""
    fills: int = 0

    @property
    def average_price(self) -> Decimal:
        """What one unit of the quantity cost, rounded to 12 places for display; 0 if there is none."""
        return divided(self.cost, self.quantity, AVERAGE_PLACES) if self.quantity else ZERO

    def unrealized(self, mark: Decimal) -> Decimal:
        """The profit that closing at the price `mark` would realize, before fees."""
        with localcontext(EXACT):
            return self.quantity * mark - self.cost


def after(position: Position, fill: Fill) -> Position:
    """The position with `fill` in it."""
    with localcontext(EXACT):
        held, price, amount = abs(position.quantity), Decimal(fill.price), Decimal(fill.amount)
        sign = 1 if fill.side == "buy" else -1
        closed = min(held, amount) if position.quantity * sign < 0 else ZERO
        # Closing all of it releases all of its cost: nothing to round, nothing left over.
        released = position.cost if closed == held else divided(position.cost * closed, held, _COST_PLACES)
        paid = [(currency, Decimal(fee)) for currency, fee in fill.fees]
        return replace(
            position,
            quantity=position.quantity + sign * amount,
            cost=position.cost - released + sign * (amount - closed) * price,
            realized=position.realized - sign * closed * price - released - _total(paid, position.quote),
            fees=_with(position.fees, paid),
            fills=position.fills + 1,
        )


def quote_of(symbol: str) -> str:
    """The currency that `BASE/QUOTE` is priced in."""
    return symbol.partition("/")[2]


def divided(dividend: Decimal, divisor: Decimal, places: int) -> Decimal:
    """The quotient, rounded."""
    return rounded(_ROUNDED.divide(dividend, divisor), places)


def rounded(value: Decimal, places: int) -> Decimal:
    """The value with so many decimal places, half to even."""
    return value.quantize(Decimal(1).scaleb(-places), context=_ROUNDED)


def plain(value: Decimal) -> str:
    """A number as text of the bus: all its digits, never an exponent (`str` says 0E-8), no zeros at the end."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _total(fees: Sequence[tuple[str, Decimal]], currency: str) -> Decimal:
    return sum((fee for paid_in, fee in fees if paid_in == currency), start=ZERO)


def _with(
    fees: tuple[tuple[str, Decimal], ...], paid: Sequence[tuple[str, Decimal]]
) -> tuple[tuple[str, Decimal], ...]:
    sums = dict(fees)
    for currency, fee in paid:
        sums[currency] = sums.get(currency, ZERO) + fee
    return tuple(sums.items())
