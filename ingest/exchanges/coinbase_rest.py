"""What Coinbase answers by REST.

https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducts
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from math import inf
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ingest.contract.events import Candle, Trade
from ingest.contract.numbers import check, plain
from ingest.exchanges.best_audit import Best
from ingest.exchanges.built_candles import SETTLED_MS
from ingest.exchanges.candles import Interval, flat
from ingest.exchanges.coinbase_frames import Id, Side, made
from ingest.exchanges.exchange import Instrument
from ingest.exchanges.intervals import INTERVALS, begin_of
from ingest.exchanges.symbols import by_symbol

_GRANULARITIES_MS: Final = (60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000)
_MOST_BUCKETS: Final = 300
"""Of one request."""


class Product(Struct):
    """A row of `GET /products`."""

    id: str
    base_currency: str
    quote_currency: str
    quote_increment: str
    base_increment: str
    status: str
    min_market_funds: str | None = None
    trading_disabled: bool = False
    cancel_only: bool = False


class PastTrade(Struct):
    """A row of `GET /products/{id}/trades`. The side is the maker's."""

    trade_id: Id
    side: Side
    size: str
    price: str
    time: str


class Bucket(Struct, array_like=True):
    """A row of `GET /products/{id}/candles`: low and high come before open and close."""

    begin_s: Annotated[int, Meta(ge=0, le=1 << 40)]
    low: Any
    high: Any
    open: Any
    close: Any
    volume: Any


class Top(Struct):
    """`GET /products/{id}/book?level=1`: [price, size, orders] of the best prices, if there are any."""

    bids: list[tuple[str, str, Any]]
    asks: list[tuple[str, str, Any]]


_top = msgspec.json.Decoder(Top).decode
_products = msgspec.json.Decoder(list[Product]).decode
_past_trades = msgspec.json.Decoder(list[PastTrade]).decode
_buckets = msgspec.json.Decoder(list[Bucket], float_hook=str).decode


def instruments(body: bytes) -> dict[str, Instrument]:
    """What is traded, by symbol. Raises msgspec.MsgspecError."""
    return by_symbol(map(_instrument, _products(body)))


def past_trades(body: bytes, now_ns: int) -> list[tuple[int, Trade]]:
    """Oldest first. Raises ValueError, msgspec.MsgspecError."""
    rows = sorted(_past_trades(body), key=lambda row: row.trade_id)
    return [(row.trade_id, made(row.price, row.size, row.side, row.time, now_ns)) for row in rows]


def bucket_of(interval: str) -> int | None:
    """The length in ms of the shortest candles of REST of which one request has a whole interval; None for none."""
    length_ms = INTERVALS[interval]
    fit = (ms for ms in _GRANULARITIES_MS if length_ms % ms == 0 and length_ms // ms <= _MOST_BUCKETS)
    return next(fit, None)


def best(body: bytes) -> Best:
    """The best prices. Raises ValueError, msgspec.MsgspecError."""
    top = _top(body)
    check(price for price, *_ in (*top.bids, *top.asks))
    return Best(float(top.bids[0][0]) if top.bids else -inf, float(top.asks[0][0]) if top.asks else inf)


class CandlePage(Struct, frozen=True):
    """One request for what was traded in [begin_ms, end_ms), in buckets of a granularity."""

    interval: str
    begin_ms: int
    end_ms: int
    bucket_ms: int

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        """Both times are always named: else the answer may be minutes old. Both are included."""
        times = (("start", _written(self.begin_ms)), ("end", _written(self.end_ms - self.bucket_ms)))
        return (("granularity", str(self.bucket_ms // 1000)), *times)

    def closed(self, body: bytes, now_ns: int) -> list[Interval]:
        """The intervals that have closed, oldest first; flat without trades. Raises as `past_trades`."""
        until_ms = min(self.end_ms, now_ns // 1_000_000 - SETTLED_MS)
        groups = groupby(self._rows(body), lambda row: begin_of(self.interval, row.begin_s * 1000))
        whole = {open_ms: list(group) for open_ms, group in groups}
        length_ms = INTERVALS[self.interval]
        said: list[Interval] = []
        for open_ms in range(self.begin_ms, until_ms - length_ms + 1, length_ms):
            if open_ms in whole:
                said.append(Interval(_candle(open_ms, whole[open_ms], now_ns), open_ms + length_ms - 1, "closed"))
            elif said:
                said.append(flat(open_ms, length_ms, said[-1].candle.close, now_ns))
        return said

    def part(self, body: bytes, now_ns: int) -> Candle | None:
        """All of it, put together; None without trades. Raises as `past_trades`."""
        rows = self._rows(body)
        return _candle(self.begin_ms, rows, now_ns) if rows else None

    def _rows(self, body: bytes) -> list[Bucket]:
        """Oldest first. The answer may begin before what was asked for."""
        rows = sorted(_buckets(body), key=lambda row: row.begin_s)
        return [row for row in rows if self.begin_ms <= row.begin_s * 1000 < self.end_ms]


def page_from(interval: str, from_ms: int) -> CandlePage | None:
    """As many intervals as one request can have, and one more before them for its price; None where REST has none."""
    length_ms = INTERVALS[interval]
    bucket_ms = next((ms for ms in reversed(_GRANULARITIES_MS) if length_ms % ms == 0), None)
    if bucket_ms is None:
        return None
    begin_ms = begin_of(interval, from_ms) - length_ms
    most = _MOST_BUCKETS // (length_ms // bucket_ms)
    return CandlePage(interval, begin_ms, begin_ms + most * length_ms, bucket_ms)


def _candle(open_ms: int, rows: Sequence[Bucket], now_ns: int) -> Candle:
    texts: Mapping[str, list[str]] = {
        name: [plain(getattr(row, name)) for row in rows] for name in ("open", "high", "low", "close", "volume")
    }
    for each in texts.values():
        check(each)
    return Candle(
        open_ns=open_ms * 1_000_000,
        open=texts["open"][0],
        high=max(texts["high"], key=Decimal),
        low=min(texts["low"], key=Decimal),
        close=texts["close"][-1],
        volume=format(sum(map(Decimal, texts["volume"])), "f"),
        closed=True,
        received_ns=now_ns,
    )


def _written(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _instrument(product: Product) -> Instrument:
    """Of what is delisted nothing comes any more; of what is halted there is a book still."""
    flags = {"trading_disabled": product.trading_disabled, "cancel_only": product.cancel_only}
    halts = [flag for flag, on in flags.items() if on]
    return Instrument(
        symbol=f"{product.base_currency}/{product.quote_currency}",
        native=product.id,
        trading=product.status == "online",
        status=halts[0] if halts and product.status == "online" else product.status,
        tick_size=product.quote_increment,
        lot_size=product.base_increment,
        min_notional=product.min_market_funds,
        halted=bool(halts),
    )
