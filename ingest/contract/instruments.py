"""What an exchange trades: the rows of `md:{EX}:instruments`, which tell in which steps orders are taken."""

from typing import Literal

import msgspec
from msgspec import Struct

from ingest.contract.events import Text
from ingest.contract.numbers import Number


class Listed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One symbol. What is absent is unknown: not every exchange says everything."""

    symbol: Text
    """`BASE/QUOTE`; also the field of the hash."""
    native: Text
    base: Text
    quote: Text
    status: Literal["trading", "halted", "delisted"]
    native_status: Text
    """The exchange's own word; of what is not on its list any more, the last one."""
    seen_ns: int
    """When the exchange was asked."""
    tick_size: Number | None = None
    lot_size: Number | None = None
    min_notional: Number | None = None


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Listed).decode


def decode(row: bytes) -> Listed:
    """What stands in the hash. Raises ValueError."""
    try:
        return _decode(row)
    except msgspec.MsgspecError as bad:
        raise ValueError(f"no instrument: {bad}") from bad
