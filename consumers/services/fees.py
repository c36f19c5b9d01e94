"""What venues charge for a fill, as a share of its cost: the first tier of their public spot tables.

Maker / taker, as of 2026:

- binance: regular user, 0.1 / 0.1 %; https://www.binance.com/en/fee/schedule
- bybit: non-VIP, all spot pairs, 0.1 / 0.1 %; https://www.bybit.com/en/help-center/article/Trading-Fee-Structure
- coinbase: 0 to 10,000 USD in 30 days, 0.4 / 0.6 %, pairs of stable coins less;
  https://help.coinbase.com/en/exchange/trading-and-funding/exchange-fees
- kraken: 0 to 10,000 USD in 30 days, 0.25 / 0.4 %, pairs of stable coins or fiat less;
  https://www.kraken.com/features/fee-schedule
- okx: regular user, level 1, 0.08 / 0.1 %; https://www.okx.com/fees

They differ by country and kind of pair, and change: before a result hangs on them, say your own with CONSUMER_FEES.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from types import MappingProxyType

from msgspec import Struct


class BadFees(ValueError):
    """A text that says no fees; says why."""


class Fees(Struct, frozen=True):
    """Shares of the cost, 0.001 is 0.1 %; negative where the venue pays."""

    maker: Decimal
    taker: Decimal


def _fees(maker: str, taker: str) -> Fees:
    return Fees(Decimal(maker), Decimal(taker))


TABLE: Mapping[str, Fees] = MappingProxyType(
    {
        "binance": _fees("0.001", "0.001"),
        "bybit": _fees("0.001", "0.001"),
        "coinbase": _fees("0.004", "0.006"),
        "kraken": _fees("0.0025", "0.004"),
        "okx": _fees("0.0008", "0.001"),
    }
)
OTHERS = _fees("0.001", "0.001")
"""Of a venue that is not in the table."""


def fees(said: Sequence[str]) -> Mapping[str, Fees]:
    """The table, with what texts such as `binance:0.0002:0.0004` (maker, taker) say instead. Raises BadFees."""
    return {**TABLE, **dict(map(_parsed, said))}


def _parsed(text: str) -> tuple[str, Fees]:
    try:
        exchange, maker, taker = text.split(":")
        fees = _fees(maker, taker)
    except (ValueError, InvalidOperation):
        raise BadFees(f"{text!r} says no fees; expected EXCHANGE:MAKER:TAKER, as in binance:0.0002:0.0004") from None
    if not all(share.is_finite() and -1 < share < 1 for share in (fees.maker, fees.taker)):
        raise BadFees(f"{text!r}: a fee is a share of the cost, 0.001 is 0.1 %")
    return exchange, fees
