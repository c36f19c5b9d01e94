"""What Binance says, and the events that it means.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Protocol

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ingest.contract.events import Candle, Delta, Event, Trade
from ingest.contract.numbers import Number, check, exchange_time
from ingest.exchanges.candles import Interval
from ingest.exchanges.exchange import Instrument
from ingest.exchanges.hearing import HearsCandles, HearsTickers

_LONGEST_MS = 32 * 86_400_000
"""Beyond any interval of candles."""

Id = Annotated[int, Meta(ge=-1, le=1 << 53)]
Milliseconds = Annotated[int, Meta(ge=0, le=1 << 53)]


class BinanceTrade(Struct):
    """`<symbol>@trade`"""

    s: str
    t: Id
    p: Number
    q: Number
    T: Milliseconds
    m: bool


class BinanceDepth(Struct):
    """`<symbol>@depth@100ms`"""

    s: str
    E: Milliseconds
    U: Id
    u: Id
    b: tuple[tuple[str, str], ...]
    a: tuple[tuple[str, str], ...]


class BinanceBookTicker(Struct):
    """`<symbol>@bookTicker`: neither event type nor time."""

    s: str
    u: Id
    b: Number
    B: Number
    a: Number
    A: Number


class BinanceBest(Struct):
    """`GET /api/v3/ticker/bookTicker`: the best prices; zero where there is none."""

    bidPrice: Number  # noqa: N815 - the exchange's name
    askPrice: Number  # noqa: N815


class BinanceTicker(Struct):
    """`<symbol>@ticker`: a rolling window of 24 hours."""

    s: str
    E: Milliseconds
    c: Number
    Q: Number
    b: Number
    B: Number
    a: Number
    A: Number
    o: Number
    h: Number
    l: Number  # noqa: E741 - the exchange's name
    v: Number
    q: Number


class BinanceKline(Struct):
    """The `k` of a kline event."""

    t: Milliseconds
    T: Milliseconds
    i: str
    o: Number
    h: Number
    l: Number  # noqa: E741 - the exchange's name
    c: Number
    v: Number
    n: Id
    q: Number
    x: bool


class BinanceKlineEvent(Struct):
    """`<symbol>@kline_<interval>`"""

    s: str
    E: Milliseconds
    k: BinanceKline


class BinanceBook(Struct):
    """`GET /api/v3/depth`"""

    lastUpdateId: Id  # noqa: N815 - the exchange's name
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]


class BinanceKlineRow(Struct, array_like=True):
    """A row of `GET /api/v3/klines`, up to the fields that are of use."""

    open_ms: Milliseconds
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    end_ms: Milliseconds
    quote_volume: Number
    trades: Id


class BinanceHistoricalTrade(Struct):
    """A row of `GET /api/v3/historicalTrades`"""

    id: Id
    price: Number
    qty: Number
    time: Milliseconds
    isBuyerMaker: bool  # noqa: N815 - the exchange's name


class BinanceFilter(Struct):
    """A limit on orders; found by its type, never by its place."""

    filterType: str  # noqa: N815 - the exchange's name
    tickSize: str | None = None  # noqa: N815 - the exchange's name
    stepSize: str | None = None  # noqa: N815 - the exchange's name
    minNotional: str | None = None  # noqa: N815 - the exchange's name


class BinanceSymbol(Struct):
    """A row of `GET /api/v3/exchangeInfo`"""

    symbol: str
    status: str
    baseAsset: str  # noqa: N815 - the exchange's name
    quoteAsset: str  # noqa: N815 - the exchange's name
    filters: tuple[BinanceFilter, ...] = ()


class BinanceInstruments(Struct):
    """`GET /api/v3/exchangeInfo`"""

    symbols: list[BinanceSymbol]


class _TradeFrame(Struct):
    data: BinanceTrade


class _DepthFrame(Struct):
    data: BinanceDepth


class _BookTickerFrame(Struct):
    data: BinanceBookTicker


class _TickerFrame(Struct):
    data: BinanceTicker


class _KlineFrame(Struct):
    data: BinanceKlineEvent


class Envelope(Struct):
    """Whatever else comes: the answer to a request, or data whose keys stand in another order."""

    stream: str | None = None
    id: int | None = None
    e: str | None = None
    result: Raw | UnsetType = UNSET


_trade_frame = msgspec.json.Decoder(_TradeFrame).decode
_depth_frame = msgspec.json.Decoder(_DepthFrame).decode
_book_ticker_frame = msgspec.json.Decoder(_BookTickerFrame).decode
_ticker_frame = msgspec.json.Decoder(_TickerFrame).decode
_kline_frame = msgspec.json.Decoder(_KlineFrame).decode
read_envelope = msgspec.json.Decoder(Envelope).decode
read_book = msgspec.json.Decoder(BinanceBook).decode
read_best = msgspec.json.Decoder(BinanceBest).decode
read_historical_trades = msgspec.json.Decoder(list[BinanceHistoricalTrade]).decode
read_klines = msgspec.json.Decoder(list[BinanceKlineRow]).decode
read_instruments = msgspec.json.Decoder(BinanceInstruments).decode


class HearsTrades(Protocol):
    """DenseTrades, or what stands for it."""

    def trade(self, trade_id: int, trade: Trade, now_ns: int, /) -> Sequence[Event]:
        """A trade."""


class HearsChanges(Protocol):
    """RangedBook, or what stands for it."""

    def delta(self, first: int, last: int, delta: Delta, now_ns: int, /) -> Sequence[Event]:
        """The changes `first`…`last`."""


class Trades:
    """Reads one symbol's trades."""

    def __init__(self, native: str, trades: HearsTrades) -> None:
        self._native = native
        self._trades = trades

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """A trade."""
        data = _trade_frame(frame).data
        same(data.s, self._native)
        return self._trades.trade(data.t, trade(data.p, data.q, data.m, data.T, now_ns), now_ns)


class Depth:
    """Reads one symbol's book."""

    def __init__(self, native: str, book: HearsChanges) -> None:
        self._native = native
        self._book = book

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """A diff of 100 ms."""
        data = _depth_frame(frame).data
        same(data.s, self._native)
        check(chain.from_iterable(chain(data.b, data.a)))
        if data.u < data.U:
            raise ValueError(f"a diff of the ids {data.U} to {data.u}")
        exchange_ns = exchange_time(data.E * 1_000_000, now_ns)
        delta = Delta(bids=data.b, asks=data.a, received_ns=now_ns, exchange_ns=exchange_ns)
        return self._book.delta(data.U, data.u, delta, now_ns)


class Tickers:
    """Reads one symbol's best prices, which are of one stream, and its last 24 hours, which are of another."""

    def __init__(self, native: str, ticker: HearsTickers) -> None:
        self._native = native
        self._ticker = ticker

    def hear_book(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """New best prices."""
        data = _book_ticker_frame(frame).data
        same(data.s, self._native)
        return self._ticker.say("book", data.u, _best(data), None, now_ns)

    def hear_day(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """The last 24 hours; its best prices are up to a second old and count only until others are known."""
        data = _ticker_frame(frame).data
        same(data.s, self._native)
        event_ns = data.E * 1_000_000
        day = {
            "last": _known(data.c),
            "last_amount": _known(data.c) and data.Q,
            "open": _known(data.o),
            "high": _known(data.h),
            "low": _known(data.l),
            "volume": data.v,
            "quote_volume": data.q,
        }
        if not self._ticker.heard("book"):
            day |= _best(data)
        return self._ticker.say("24hr", event_ns, day, exchange_time(event_ns, now_ns), now_ns)


class Klines:
    """Reads one symbol's candles of one interval."""

    def __init__(self, native: str, candles: HearsCandles) -> None:
        self._native = native
        self._candles = candles

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """An interval as it grows, and when it closes."""
        data = _kline_frame(frame).data
        same(data.s, self._native)
        k, event_ns = data.k, data.E * 1_000_000
        _check_interval(k.t, k.T, now_ns)
        candle = Candle(
            open_ns=k.t * 1_000_000,
            open=k.o,
            high=k.h,
            low=k.l,
            close=k.c,
            volume=k.v,
            closed=k.x,
            received_ns=now_ns,
            quote_volume=k.q,
            trades=k.n,
            exchange_ns=exchange_time(event_ns, now_ns),
        )
        return self._candles.candle(Interval(candle, k.T, "closed" if k.x else str(event_ns)), now_ns)


def kline(row: BinanceKlineRow, now_ns: int) -> Interval:
    """A candle of REST. Raises ValueError."""
    _check_interval(row.open_ms, row.end_ms, now_ns)
    candle = Candle(
        open_ns=row.open_ms * 1_000_000,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        closed=False,
        received_ns=now_ns,
        quote_volume=row.quote_volume,
        trades=row.trades,
    )
    return Interval(candle, row.end_ms, "")


def trade(price: str, amount: str, buyer_is_maker: bool, exchange_ms: int, now_ns: int) -> Trade:
    """A trade, live or from REST."""
    return Trade(
        price=price,
        amount=amount,
        # The flag names the maker; the taker is on the other side.
        # https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#trade-streams
        side="sell" if buyer_is_maker else "buy",
        received_ns=now_ns,
        exchange_ns=exchange_time(exchange_ms * 1_000_000, now_ns),
    )


def _check_interval(open_ms: int, end_ms: int, now_ns: int) -> None:
    if exchange_time(open_ms * 1_000_000, now_ns) is None or not open_ms < end_ms < open_ms + _LONGEST_MS:
        raise ValueError(f"an interval from {open_ms} to {end_ms} ms")


def _best(data: BinanceBookTicker | BinanceTicker) -> dict[str, str | None]:
    bid, ask = _known(data.b), _known(data.a)
    return {"bid": bid, "bid_amount": bid and data.B, "ask": ask, "ask_amount": ask and data.A}


def _known(price: str) -> str | None:
    """A price of zero says that there is none."""
    return price if price.strip("0.") else None


def same(heard: str, native: str) -> None:
    """Raises ValueError if data is not of the symbol whose stream it stands in."""
    if heard != native:
        raise ValueError(f"data of {heard!r} in the stream of {native!r}")


def instrument(row: BinanceSymbol) -> Instrument:
    """What is traded under one symbol, and in which steps."""
    filters = {f.filterType: f for f in row.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    return Instrument(
        symbol=f"{row.baseAsset}/{row.quoteAsset}",
        native=row.symbol,
        trading=row.status == "TRADING",
        status=row.status,
        tick_size=price.tickSize if price else None,
        lot_size=lot.stepSize if lot else None,
        min_notional=notional.minNotional if notional else None,
    )
