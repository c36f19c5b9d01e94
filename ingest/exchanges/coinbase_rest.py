"""What Coinbase answers by REST.

https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducts
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from ingest.contract.events import Candle, Trade
from ingest.contract.numbers import check, plain
from ingest.exchanges.built_candles import INTERVALS, begin_of
from ingest.exchanges.candles import Interval, flat
from ingest.exchanges.coinbase_frames import Id, Side, made
from ingest.exchanges.exchange import Instrument
from ingest.exchanges.symbols import by_symbol

_GRANULARITIES_S: Final = (86_400, 21_600, 3_600, 900, 300, 60)
_MOST_BUCKETS: Final = 300
SETTLED_MS: Final = 5_000
"""So long after its end a candle may still change."""


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


class CandlePage(Struct, frozen=True):
    """The candles of one request: those that begin in [begin_ms, end_ms), one more before them for its price."""

    interval: str
    begin_ms: int
    end_ms: int
    granularity_s: int

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        """Both times are always named: else the answer may be minutes old."""
        # Both are included.
        last_ms = self.end_ms - self.granularity_s * 1000
        return (
            ("granularity", str(self.granularity_s)),
            ("start", _written(self.begin_ms)),
            ("end", _written(last_ms)),
        )

    def read(self, body: bytes, now_ns: int) -> list[Interval]:
        """Those that have closed, oldest first; an interval without trades is flat. Raises as `past_trades`."""
        until_ms = min(self.end_ms, now_ns // 1_000_000 - SETTLED_MS)
        # Rows may begin before what was asked for.
        rows = sorted(_buckets(body), key=lambda row: row.begin_s)
        whole = {
            open_ms: list(group)
            for open_ms, group in groupby(rows, lambda row: begin_of(self.interval, row.begin_s * 1000))
            if open_ms >= self.begin_ms
        }
        length_ms = INTERVALS[self.interval]
        said: list[Interval] = []
        for open_ms in range(self.begin_ms, until_ms - length_ms + 1, length_ms):
            if open_ms in whole:
                said.append(Interval(_candle(open_ms, whole[open_ms], now_ns), open_ms + length_ms - 1, "closed"))
            elif said:
                said.append(flat(open_ms, length_ms, said[-1].candle.close, now_ns))
        return said


def candle_page(interval: str, from_ms: int) -> CandlePage | None:
    """As many candles as one request may have, from that time on; None where REST has none to make them of."""
    length_ms = INTERVALS[interval]
    granularity_s = next((s for s in _GRANULARITIES_S if length_ms % (s * 1000) == 0), None)
    if granularity_s is None:
        return None
    begin_ms = begin_of(interval, from_ms) - length_ms
    buckets = length_ms // (granularity_s * 1000)
    return CandlePage(interval, begin_ms, begin_ms + _MOST_BUCKETS // buckets * length_ms, granularity_s)


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
