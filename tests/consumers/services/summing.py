"""Positions against the sums of their fills, to the last digit. Pure."""

from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

from consumers.services.accounting import quote_of


class Sums(NamedTuple):
    """Of the fills of one account."""

    quantity: Decimal = Decimal(0)
    cash: Decimal = Decimal(0)
    fees: tuple[tuple[str, Decimal], ...] = ()
    fills: int = 0
    newest: str = ""

    def after(self, s, fill):
        amount, fees = Decimal(fill.amount), dict(self.fees)
        signed = amount if fill.side == "buy" else -amount
        for currency, fee in fill.fees:
            fees[currency] = fees.get(currency, Decimal(0)) + Decimal(fee)
        cash = self.cash - signed * Decimal(fill.price)
        return Sums(self.quantity + signed, cash, tuple(fees.items()), self.fills + 1, s)

    def profit(self, quote):
        """Realized and unrealized, but for what the quantity is worth: however costs are averaged, it is that."""
        return self.cash - dict(self.fees).get(quote, Decimal(0))


def not_the_sums(seen, symbol, held, *, settled):
    """What is told after each fill, and what is kept, and is not what fills add up to."""
    quote, sums, due = quote_of(symbol), defaultdict(Sums), {}
    for each in seen:
        if each.channel == "fills":
            account = each.body.account
            due[f"{account}/{each.s}"] = sums[account] = sums[account].after(each.s, each.body)
    told = {each.s: each.body for each in seen if each.channel == "positions"}
    yield from (f"positions {s} is of no fill" for s in told.keys() - due.keys())
    for s, ours in due.items():
        if (s in told and not _says(told[s], ours, quote)) or (settled and s not in told):
            yield f"fills add up to {ours}, told is {told.get(s)}"
    if settled:
        yield from _kept_wrongly(sums, held, quote)


def _says(told, ours, quote):
    worth = Decimal(told.realized) + Decimal(told.unrealized) - ours.quantity * Decimal(told.mark)
    fees = tuple((currency, Decimal(fee)) for currency, fee in told.fees)
    said = Decimal(told.quantity), worth, fees, told.fills
    return said == (ours.quantity, ours.profit(quote), ours.fees, ours.fills)


def _kept_wrongly(sums, held, quote):
    for account in sums.keys() | held.keys():
        ours, kept = sums.get(account), held.get(account)
        if ours is None or kept is None:
            yield f"fills add up to {ours}, kept is {kept}"
            continue
        its = kept.position
        said = its.quantity, its.realized - its.cost, its.fees, its.fills, kept.fill, kept.missing
        if said != (ours.quantity, ours.profit(quote), ours.fees, ours.fills, ours.newest, 0):
            yield f"{account}: fills add up to {ours}, kept is {kept}"
