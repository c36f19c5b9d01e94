"""A position as it stands in Redis: marked, and with the fill that it has come to."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import Struct

from consumers.services.accounting import Position, plain, quote_of
from ingest.contract.keys import StreamKey

SCRIPT = (Path(__file__).parent / "position.lua").read_text(encoding="utf-8")


class Held(Struct, frozen=True):
    """One account's position in one symbol; `fills_g`, `fills_n` and `fills_id` are of the last fill in it."""

    position: Position
    mark: Decimal
    """The price of the latest ticker, or of the latest fill until one is seen."""
    fills_g: str
    fills_n: int
    fills_id: str
    missing: int = 0
    """Entries of the stream of fills that were gone before they could be read: if not 0, fills may be missing here."""


def to_fields(held: Held, fills: StreamKey, account: str, updated_ns: int) -> dict[str, str]:
    """The fields of the hash."""
    position = held.position
    return {
        "exchange": fills.exchange,
        "account": account,
        "symbol": fills.symbol,
        "quantity": plain(position.quantity),
        "average_price": plain(position.average_price),
        "cost": plain(position.cost),
        "realized_pnl": plain(position.realized),
        "unrealized_pnl": plain(position.unrealized(held.mark)),
        "fees": msgspec.json.encode({currency: plain(fee) for currency, fee in position.fees}).decode(),
        "mark": plain(held.mark),
        "fills": str(position.fills),
        "missing": str(held.missing),
        "updated_ns": str(updated_ns),
        "fills_g": held.fills_g,
        "fills_n": str(held.fills_n),
        "fills_id": held.fills_id,
    }


def from_fields(fields: Mapping[bytes, bytes]) -> Held:
    """The position that the fields say."""
    text = {name.decode(): value.decode() for name, value in fields.items()}
    fees = msgspec.json.decode(text["fees"], type=dict[str, str])
    position = Position(
        quote=quote_of(text["symbol"]),
        quantity=Decimal(text["quantity"]),
        cost=Decimal(text["cost"]),
        realized=Decimal(text["realized_pnl"]),
        fees=tuple((currency, Decimal(fee)) for currency, fee in fees.items()),
        fills=int(text["fills"]),
    )
    return Held(
        position=position,
        mark=Decimal(text["mark"]),
        fills_g=text["fills_g"],
        fills_n=int(text["fills_n"]),
        fills_id=text["fills_id"],
        missing=int(text["missing"]),
    )
