"""A position as it stands in Redis: marked, and with the fill that it has come to."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import Struct

from consumers.services.accounting import Position, plain, quote_of, rounded
from ingest.contract.events import Event
from ingest.contract.events import Position as Told
from ingest.contract.keys import StreamKey

_MOST_FEES = 16
_PLACES = 30

SCRIPT = (Path(__file__).parent / "position.lua").read_text(encoding="utf-8")


class Held(Struct, frozen=True):
    """One account's position in one symbol; `fills_g`, `fills_n` and `fills_id` are of the last fill in it."""

    position: Position
    mark: Decimal
    """The price of the latest ticker, or of the latest fill until one is seen."""
    fills_g: str
    fills_n: int
    fills_id: str
    fill: str
    """The identity of that fill."""
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
        "fill": held.fill,
    }


def told(held: Held, fills: StreamKey, account: str, updated_ns: int) -> Event:
    """The same as an event, which is of the fill: whenever it is told, it is told once."""
    position = held.position
    body = Told(
        account=account,
        quantity=_short(position.quantity),
        average=_short(position.average_price),
        realized=_short(position.realized),
        fees=tuple((currency, _short(fee)) for currency, fee in position.fees[:_MOST_FEES]),
        fills=position.fills,
        updated_ns=updated_ns,
        mark=_short(held.mark),
        unrealized=_short(position.unrealized(held.mark)),
    )
    return Event(StreamKey(fills.exchange, "positions", fills.symbol), f"{account}/{held.fill}", body, "window")


def _short(value: Decimal) -> str:
    """As it may be on the bus; only products of numbers longer than any exchange's have more places."""
    places = value.as_tuple().exponent
    return plain(rounded(value, _PLACES) if isinstance(places, int) and places < -_PLACES else value)


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
        fill=text.get("fill", ""),  # not there in those that were written before it was kept
        missing=int(text["missing"]),
    )
