"""What Bybit answers by REST: most errors come with the status 200.

https://bybit-exchange.github.io/docs/v5/market/recent-trade
"""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from ingest.contract.events import Candle
from ingest.contract.numbers import Number
from ingest.exchanges.bybit_frames import BybitBook, BybitSide, Milliseconds, TradeId, sound, told
from ingest.exchanges.candles import Interval
from ingest.exchanges.exchange import Instrument
from ingest.exchanges.steps import Told
from ingest.exchanges.talk import Passing

Digits = Annotated[str, Meta(pattern=r"\A[0-9]{1,16}\Z")]
_MS = 1_000_000
_PASSING = (10006, 10429)
"""Asked too often."""
_DAYS_MS: Final = {"D": 86_400_000, "W": 604_800_000}


class Rest(Struct):
    """Whatever REST answers."""

    retCode: int  # noqa: N815 - the exchange's name
    retMsg: str = ""  # noqa: N815 - the exchange's name
    result: Raw = Raw(b"{}")
    time: Milliseconds = 0


class BybitPastTrade(Struct):
    """A row of `GET /v5/market/recent-trade`."""

    execId: TradeId  # noqa: N815 - the exchange's name
    price: Number
    size: Number
    side: BybitSide
    time: Digits


class _PastTrades(Struct):
    list: list[BybitPastTrade]


class BybitPastKline(Struct, array_like=True):
    """A row of `GET /v5/market/kline`."""

    start: Digits
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    turnover: Number


class _PastKlines(Struct):
    list: list[BybitPastKline]


class BybitLotSize(Struct, frozen=True):
    """Steps and limits of amounts. `basePrecision` is a step and no number of digits."""

    basePrecision: str | None = None  # noqa: N815 - the exchange's name
    minOrderAmt: str | None = None  # noqa: N815 - the exchange's name


class BybitPriceFilter(Struct, frozen=True):
    """The step of prices."""

    tickSize: str | None = None  # noqa: N815 - the exchange's name


class BybitInstrument(Struct):
    """A row of `GET /v5/market/instruments-info`. What was delisted is not in it any more."""

    symbol: str
    baseCoin: str  # noqa: N815 - the exchange's name
    quoteCoin: str  # noqa: N815 - the exchange's name
    status: str
    lotSizeFilter: BybitLotSize = BybitLotSize()  # noqa: N815 - the exchange's name
    priceFilter: BybitPriceFilter = BybitPriceFilter()  # noqa: N815 - the exchange's name


class _Instruments(Struct):
    list: list[BybitInstrument]


_rest = msgspec.json.Decoder(Rest).decode
_past_trades = msgspec.json.Decoder(_PastTrades).decode
_past_klines = msgspec.json.Decoder(_PastKlines).decode
_instruments = msgspec.json.Decoder(_Instruments).decode
_book = msgspec.json.Decoder(BybitBook).decode


def past_trades(answer: bytes, now_ns: int) -> list[Told]:
    """The newest trades, oldest first. Raises Passing, ValueError, msgspec.MsgspecError."""
    rows = _past_trades(_result(answer)).list
    said = [told(row.execId, int(row.time), row.price, row.size, row.side, now_ns) for row in rows]
    # They come newest first, but nobody promises that; of one millisecond the ids may tell.
    return sorted(said, key=lambda each: (each.ms, len(each.id), each.id))


def past_candles(answer: bytes, interval: str, now_ns: int) -> tuple[list[Interval], int]:
    """Oldest first, and the ms at which the newest closed one opens; -1 if none is. Raises as `past_trades`."""
    said = _said(answer)
    rows = sorted(_past_klines(said.result).list, key=lambda row: int(row.start))
    intervals = [_interval(row, interval, now_ns) for row in rows]
    # Nothing but the exchange's own time says whether the newest one still grows.
    return intervals, max((each.open_ms for each in intervals if each.end_ms < said.time), default=-1)


def book_id(answer: bytes) -> int:
    """At which update the deepest book stands. Raises as `past_trades`."""
    return _book(_result(answer)).u


def instruments(body: bytes) -> list[Instrument]:
    """What is traded. Raises as `past_trades`."""
    return [_instrument(row) for row in _instruments(_result(body)).list]


def _result(answer: bytes) -> Raw:
    return _said(answer).result


def _said(answer: bytes) -> Rest:
    said = _rest(answer)
    if said.retCode:
        error = Passing if said.retCode in _PASSING else ValueError
        raise error(f"answered {said.retCode}: {said.retMsg[:200]}")
    return said


def _interval(row: BybitPastKline, interval: str, now_ns: int) -> Interval:
    open_ms = int(row.start)
    body = Candle(
        open_ns=sound(open_ms * _MS, now_ns),
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        closed=False,
        received_ns=now_ns,
        quote_volume=row.turnover,
    )
    return Interval(body, _next_ms(open_ms, interval) - 1, "")


def _next_ms(open_ms: int, interval: str) -> int:
    """Where the next one begins, by the exchange's name of the interval. Months are as long as they are."""
    if interval != "M":
        return open_ms + (_DAYS_MS.get(interval) or int(interval) * 60_000)
    begun = datetime.fromtimestamp(open_ms / 1000, UTC)
    years, month = divmod(begun.month, 12)
    return round(datetime(begun.year + years, month + 1, 1, tzinfo=UTC).timestamp() * 1000)


def _instrument(row: BybitInstrument) -> Instrument:
    return Instrument(
        symbol=f"{row.baseCoin}/{row.quoteCoin}",
        native=row.symbol,
        trading=row.status == "Trading",
        status=row.status,
        tick_size=row.priceFilter.tickSize,
        lot_size=row.lotSizeFilter.basePrecision,
        min_notional=row.lotSizeFilter.minOrderAmt,
    )
