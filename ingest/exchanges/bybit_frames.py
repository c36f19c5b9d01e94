"""What Bybit says, and the events that it means.

https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ingest.contract.events import Candle, Delta, Trade
from ingest.contract.numbers import Number, check, exchange_time
from ingest.exchanges.candles import Interval
from ingest.exchanges.steps import Told

INTERVALS: Final[Mapping[str, str]] = {
    "1m": "1",
    "3m": "3",
    "5m": "5",
    "15m": "15",
    "30m": "30",
    "1h": "60",
    "2h": "120",
    "4h": "240",
    "6h": "360",
    "12h": "720",
    "1d": "D",
    "1w": "W",
    "1M": "M",
}
"""The exchange's names of ours."""

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Milliseconds = Annotated[int, Meta(ge=0, le=1 << 53)]
TradeId = Annotated[str, Meta(min_length=1, max_length=64)]
BybitSide = Literal["Buy", "Sell"]
"""The taker's."""
_SIDES: Final[Mapping[str, Literal["buy", "sell"]]] = {"Buy": "buy", "Sell": "sell"}
_MS = 1_000_000


class BybitTrade(Struct):
    """One of `publicTrade`. Block trades (`BT`) and those with price improvement (`RPI`) are trades like any other."""

    i: TradeId
    T: Milliseconds
    p: Number
    v: Number
    S: BybitSide
    s: str


class BybitTicker(Struct):
    """`tickers`, of spot: the last 24 hours, and no best prices."""

    symbol: str
    lastPrice: Number  # noqa: N815 - the exchange's name
    highPrice24h: Number  # noqa: N815 - the exchange's name
    lowPrice24h: Number  # noqa: N815 - the exchange's name
    prevPrice24h: Number  # noqa: N815 - the exchange's name
    volume24h: Number
    turnover24h: Number


class BybitBook(Struct):
    """`orderbook`, and `GET /v5/market/orderbook`."""

    s: str
    b: tuple[tuple[str, str], ...]
    a: tuple[tuple[str, str], ...]
    u: Count


class BybitKline(Struct):
    """One of `kline`."""

    start: Milliseconds
    end: Milliseconds
    interval: str
    open: Number
    close: Number
    high: Number
    low: Number
    volume: Number
    turnover: Number
    confirm: bool


class TradeFrame(Struct):
    """Always a `snapshot`, although each trade in it is new."""

    data: list[BybitTrade]


class TickerFrame(Struct):
    """Always a `snapshot`."""

    ts: Milliseconds
    data: BybitTicker


class BookFrame(Struct):
    """The whole book, or changes. `cts` is the time of the matching engine, the same that trades have."""

    ts: Milliseconds
    type: Literal["snapshot", "delta"]
    data: BybitBook
    cts: Milliseconds | None = None


class KlineFrame(Struct):
    """Always a `snapshot`."""

    ts: Milliseconds
    data: list[BybitKline]


class Head(Struct):
    """What tells one frame from another, and the answer to a request: `ret_msg` says of a ping that it is a pong."""

    topic: str = ""
    op: str = ""
    success: bool = True
    ret_msg: str = ""
    req_id: str = ""


read_head = msgspec.json.Decoder(Head).decode
read_trades = msgspec.json.Decoder(TradeFrame).decode
read_ticker = msgspec.json.Decoder(TickerFrame).decode
read_book = msgspec.json.Decoder(BookFrame).decode
read_klines = msgspec.json.Decoder(KlineFrame).decode


def told(trade_id: str, ms: int, price: str, amount: str, side: BybitSide, now_ns: int) -> Told:
    """A trade, live or from REST. One whose time cannot be true stands where it was heard."""
    exchange_ns = exchange_time(ms * _MS, now_ns)
    body = Trade(price=price, amount=amount, side=_SIDES[side], received_ns=now_ns, exchange_ns=exchange_ns)
    return Told(trade_id, now_ns // _MS if exchange_ns is None else ms, body)


def trades(frame: bytes, native: str, now_ns: int) -> list[Told]:
    """All trades of a frame. Raises ValueError, msgspec.MsgspecError."""
    rows = read_trades(frame).data
    _same((row.s for row in rows), native)
    return [told(row.i, row.T, row.p, row.v, row.S, now_ns) for row in rows]


def book(frame: bytes, native: str, now_ns: int) -> tuple[bool, int, Delta]:
    """Whether it is the whole book, its id, and its levels. Raises as `trades`."""
    said = read_book(frame)
    _same((said.data.s,), native)
    check(chain.from_iterable(chain(said.data.b, said.data.a)))
    exchange_ns = exchange_time((said.cts or said.ts) * _MS, now_ns)
    levels = Delta(bids=said.data.b, asks=said.data.a, received_ns=now_ns, exchange_ns=exchange_ns)
    return said.type == "snapshot", said.data.u, levels


def candles(frame: bytes, interval: str, now_ns: int) -> list[Interval]:
    """All intervals of a frame; whose they are its topic says. Raises as `trades`."""
    said = read_klines(frame)
    _same((row.interval for row in said.data), interval)
    return [_candle(row, said.ts * _MS, now_ns) for row in said.data]


def ticker(frame: bytes, native: str, now_ns: int) -> tuple[int, dict[str, str | None]]:
    """When it was said, in ns, and the last 24 hours. Raises as `trades`."""
    said = read_ticker(frame)
    row = said.data
    _same((row.symbol,), native)
    return sound(said.ts * _MS, now_ns), {
        "last": known(row.lastPrice),
        "open": known(row.prevPrice24h),
        "high": known(row.highPrice24h),
        "low": known(row.lowPrice24h),
        "volume": row.volume24h,
        "quote_volume": row.turnover24h,
    }


def best(levels: Delta) -> dict[str, str | None]:
    """The best prices of a book; None where nobody offers."""
    (bid, bid_amount), (ask, ask_amount) = (next(iter(side), (None, None)) for side in (levels.bids, levels.asks))
    return {"bid": bid, "bid_amount": bid_amount, "ask": ask, "ask_amount": ask_amount}


def known(price: str) -> str | None:
    """A price of zero says that there is none."""
    return price if price.strip("0.") else None


def _candle(row: BybitKline, said_ns: int, now_ns: int) -> Interval:
    body = Candle(
        open_ns=sound(row.start * _MS, now_ns),
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        closed=row.confirm,
        received_ns=now_ns,
        quote_volume=row.turnover,
        exchange_ns=sound(said_ns, now_ns),
    )
    if row.end < row.start:
        raise ValueError(f"an interval from {row.start} to {row.end}")
    return Interval(body, row.end, "closed" if row.confirm else str(said_ns))


def sound(ns: int, now_ns: int) -> int:
    """A time by which things are put in order must be one that can be true. Raises ValueError."""
    if exchange_time(ns, now_ns) is None:
        raise ValueError(f"a time of {ns} ns")
    return ns


def _same(heard: Iterable[str], expected: str) -> None:
    for each in heard:
        if each != expected:
            raise ValueError(f"data of {each[:40]!r} in a topic of {expected!r}")
