"""What OKX answers by REST: rows newest first, and errors that may come with status 200.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
"""

import msgspec
from msgspec import Raw, Struct

from ingest.contract.events import Trade
from ingest.exchanges.candles import Interval
from ingest.exchanges.exchange import Instrument
from ingest.exchanges.okx_frames import OkxBook, OkxCandle, OkxTrade, Perhaps, candle, trade
from ingest.exchanges.symbols import by_symbol
from ingest.exchanges.talk import Passing

_PASSING = frozenset({"50001", "50004", "50011", "50013", "50026"})
"""Unavailable, too late, too often, busy, broken."""


class OkxInstrument(Struct):
    """A row of `GET /api/v5/public/instruments`; the steps may be empty until shortly before it is listed."""

    instId: str  # noqa: N815 - the exchange's name
    baseCcy: str  # noqa: N815 - the exchange's name
    quoteCcy: str  # noqa: N815 - the exchange's name
    state: str
    tickSz: Perhaps = ""  # noqa: N815 - the exchange's name
    lotSz: Perhaps = ""  # noqa: N815 - the exchange's name


class Rest(Struct):
    """Whatever REST answers; errors, too, may come with the status 200."""

    code: str
    msg: str = ""
    data: Raw = Raw(b"[]")


_rest = msgspec.json.Decoder(Rest).decode
_instruments = msgspec.json.Decoder(list[OkxInstrument]).decode
_trades = msgspec.json.Decoder(list[OkxTrade]).decode
_books = msgspec.json.Decoder(list[OkxBook]).decode
_candles = msgspec.json.Decoder(list[OkxCandle]).decode


def instruments(body: bytes) -> dict[str, Instrument]:
    """What is traded, by symbol. Raises what UNREADABLE names."""
    return by_symbol(map(_instrument, _instruments(_data(body))))


def past_trades(body: bytes, now_ns: int) -> list[tuple[int, Trade]]:
    """Id and trade, newest first. Raises what UNREADABLE names, Passing among it."""
    return [trade(row, now_ns) for row in _trades(_data(body))]


def past_candles(body: bytes, interval: str, now_ns: int) -> tuple[list[Interval], int]:
    """Oldest first, and the ms at which the newest closed one opens; -1 if none is. Raises as `past_trades`."""
    rows = _candles(_data(body))
    said = sorted((candle(row, interval, now_ns) for row in rows), key=lambda each: each.open_ms)
    return said, max((each.open_ms for each in said if each.candle.closed), default=-1)


def book(body: bytes) -> OkxBook:
    """The whole of it, as far as was asked for. Raises as `past_trades`."""
    rows = _books(_data(body))
    if len(rows) != 1:
        raise ValueError(f"one book was expected, not {len(rows)}")
    return rows[0]


def _data(body: bytes) -> Raw:
    answer = _rest(body)
    if answer.code != "0":
        said = f"{answer.code} {answer.msg[:200]}"
        raise Passing(said) if answer.code in _PASSING else ValueError(said)
    return answer.data


def _instrument(row: OkxInstrument) -> Instrument:
    return Instrument(
        symbol=f"{row.baseCcy}/{row.quoteCcy}",
        native=row.instId,
        trading=row.state == "live",
        status=row.state,
        tick_size=row.tickSz or None,
        lot_size=row.lotSz or None,
    )
