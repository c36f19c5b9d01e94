"""What OKX says on its sockets, and the events that it means. Almost every number is a text.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ingest.contract.events import Candle, Delta, Trade
from ingest.contract.numbers import Number, check, exchange_time
from ingest.exchanges.book import Level
from ingest.exchanges.candles import Interval
from ingest.exchanges.okx_feeds import ends_ms

Digits = Annotated[str, Meta(pattern=r"\A[0-9]{1,15}\Z")]
"""An id, or a time in ms."""
Perhaps = Annotated[str, Meta(pattern=r"\A(?:[0-9]{1,30}(?:\.[0-9]{1,30})?)?\Z")]
"""A number, or nothing, as of a side without orders."""
SeqId = Annotated[int, Meta(ge=-1, le=1 << 53)]

_MS = 1_000_000
_VOLUME_PLACES = 18


class Arg(Struct, frozen=True):
    """What a frame is of."""

    channel: str
    instId: str  # noqa: N815 - the exchange's name

    @property
    def name(self) -> str:
        """As one text."""
        return f"{self.channel}:{self.instId}"


class OkxTrade(Struct):
    """`trades-all`: one match. `trades` merges so many as `count` says, the last of which is `tradeId`."""

    instId: str  # noqa: N815 - the exchange's name
    tradeId: Digits  # noqa: N815 - the exchange's name
    px: Number
    sz: Number
    side: Literal["buy", "sell"]
    ts: Digits
    count: Digits = "1"


class OkxTicker(Struct):
    """`tickers`: a rolling window of 24 hours. Of a spot pair `vol24h` is in the base and `volCcy24h` in the quote."""

    instId: str  # noqa: N815 - the exchange's name
    last: Perhaps
    lastSz: Perhaps  # noqa: N815 - the exchange's name
    askPx: Perhaps  # noqa: N815 - the exchange's name
    askSz: Perhaps  # noqa: N815 - the exchange's name
    bidPx: Perhaps  # noqa: N815 - the exchange's name
    bidSz: Perhaps  # noqa: N815 - the exchange's name
    open24h: Perhaps
    high24h: Perhaps
    low24h: Perhaps
    volCcy24h: Perhaps  # noqa: N815 - the exchange's name
    vol24h: Perhaps
    ts: Digits


class OkxLevel(Struct, array_like=True):
    """A price and what is there; a text that is of no use any more and the number of orders follow."""

    px: str
    sz: str


class OkxBook(Struct):
    """`books`, and `GET /api/v5/market/books`, which has no `prevSeqId`; the checksum is 0 since June 2026."""

    asks: list[OkxLevel]
    bids: list[OkxLevel]
    ts: Digits
    seqId: SeqId  # noqa: N815 - the exchange's name
    prevSeqId: SeqId = -1  # noqa: N815 - the exchange's name


class OkxCandle(Struct, array_like=True):
    """`candle…`, and a row of `GET /api/v5/market/candles`."""

    open_ms: Digits
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    volume_of_quote_or_base: Number
    quote_volume: Number
    confirm: Literal["0", "1"]


class TradeFrame(Struct):
    """Of `trades-all`."""

    arg: Arg
    data: list[OkxTrade]


class TickerFrame(Struct):
    """Of `tickers`."""

    arg: Arg
    data: list[OkxTicker]


class BookFrame(Struct):
    """Of `books`."""

    arg: Arg
    action: Literal["snapshot", "update"]
    data: list[OkxBook]


class CandleFrame(Struct):
    """Of `candle…`."""

    arg: Arg
    data: list[OkxCandle]


class Head(Struct):
    """Of any frame: the answer to a request, a notice, or data. An error has no `arg`."""

    event: str = ""
    arg: Arg | None = None
    id: str = ""
    code: str = ""
    msg: str = ""


read_head = msgspec.json.Decoder(Head).decode
read_trades = msgspec.json.Decoder(TradeFrame).decode
read_tickers = msgspec.json.Decoder(TickerFrame).decode
read_books = msgspec.json.Decoder(BookFrame).decode
read_candles = msgspec.json.Decoder(CandleFrame).decode


def same(heard: str, name: str) -> None:
    """Raises ValueError if data is not of the channel and symbol that it came as."""
    if heard != name:
        raise ValueError(f"data of {heard[:80]!r} as that of {name!r}")


def trade(row: OkxTrade, now_ns: int) -> tuple[int, Trade]:
    """Its id, and what it says; the side is the taker's."""
    body = Trade(
        price=row.px,
        amount=row.sz,
        side=row.side,
        received_ns=now_ns,
        exchange_ns=exchange_time(int(row.ts) * _MS, now_ns),
    )
    return int(row.tradeId), body


def ticker(row: OkxTicker) -> dict[str, str | None]:
    """All of it."""
    bid, ask, last = _known(row.bidPx), _known(row.askPx), _known(row.last)
    return {
        "bid": bid,
        "bid_amount": (bid and row.bidSz) or None,
        "ask": ask,
        "ask_amount": (ask and row.askSz) or None,
        "last": last,
        "last_amount": (last and row.lastSz) or None,
        "open": _known(row.open24h),
        "high": _known(row.high24h),
        "low": _known(row.low24h),
        "volume": row.vol24h or None,
        "quote_volume": row.volCcy24h or None,
    }


def levels(row: OkxBook) -> tuple[Sequence[Level], Sequence[Level]]:
    """Bids and asks. Raises BadNumber."""
    bids, asks = _levels(row.bids), _levels(row.asks)
    check(chain.from_iterable(chain(bids, asks)))
    return bids, asks


def delta(row: OkxBook, now_ns: int) -> Delta:
    """What has changed. Raises BadNumber."""
    bids, asks = levels(row)
    exchange_ns = exchange_time(int(row.ts) * _MS, now_ns)
    return Delta(bids=tuple(bids), asks=tuple(asks), received_ns=now_ns, exchange_ns=exchange_ns)


def candle(row: OkxCandle, interval: str, now_ns: int) -> Interval:
    """An interval as it grows, and when it is closed. Raises ValueError for one of no time."""
    open_ms = int(row.open_ms)
    if exchange_time(open_ms * _MS, now_ns) is None:
        raise ValueError(f"an interval that begins at {open_ms} ms")
    closed = row.confirm == "1"
    body = Candle(
        open_ns=open_ms * _MS,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        closed=closed,
        received_ns=now_ns,
        quote_volume=row.quote_volume,
    )
    # The frame has no time; but one that grew has a greater volume, whoever heard it.
    return Interval(body, ends_ms(interval, open_ms), "closed" if closed else _mark(row.volume))


def _mark(volume: str) -> str:
    whole, _, part = volume.partition(".")
    return str(int(whole + part[:_VOLUME_PLACES].ljust(_VOLUME_PLACES, "0")))


def _levels(rows: Iterable[OkxLevel]) -> tuple[Level, ...]:
    return tuple([(row.px, row.sz) for row in rows])


def _known(price: str) -> str | None:
    """A price that is empty or zero says that there is none."""
    return price if price.strip("0.") else None
