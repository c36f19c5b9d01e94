"""What Kraken says, and the events that it means. Its numbers are JSON numbers, and their text is kept as it came.

https://docs.kraken.com/api/docs/websocket-v2/book
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ingest.contract.events import Candle, Delta, Trade
from ingest.contract.numbers import check, exchange_time, plain
from ingest.exchanges.book import Level
from ingest.exchanges.candles import Interval
from ingest.exchanges.times import nanoseconds

Id = Annotated[int, Meta(ge=0, le=1 << 53)]
Kind = Literal["snapshot", "update"]


class KrakenTrade(Struct):
    """`trade`"""

    symbol: str
    side: Literal["buy", "sell"]
    price: Any
    qty: Any
    trade_id: Id
    timestamp: str


class KrakenTicker(Struct):
    """`ticker`: a rolling window of 24 hours. A side without orders is 0."""

    symbol: str
    bid: Any
    bid_qty: Any
    ask: Any
    ask_qty: Any
    last: Any
    volume: Any
    low: Any
    high: Any
    timestamp: str | None = None


class KrakenCandle(Struct):
    """`ohlc`; `interval` in minutes."""

    symbol: str
    open: Any
    high: Any
    low: Any
    close: Any
    trades: Id
    volume: Any
    interval_begin: str
    interval: Annotated[int, Meta(ge=1, le=100_000)]


class KrakenLevel(Struct):
    """One price of a book; the quantity 0 removes it."""

    price: Any
    qty: Any


class KrakenBook(Struct):
    """`book`"""

    symbol: str
    checksum: Annotated[int, Meta(ge=0, lt=1 << 32)]
    bids: list[KrakenLevel] = []
    asks: list[KrakenLevel] = []
    timestamp: str | None = None


class TradeFrame(Struct):
    """Several trades, of several symbols perhaps."""

    type: Kind
    data: list[KrakenTrade]


class TickerFrame(Struct):
    """Likewise."""

    type: Kind
    data: list[KrakenTicker]


class CandleFrame(Struct):
    """Likewise. `timestamp` is the time of this state."""

    type: Kind
    data: list[KrakenCandle]
    timestamp: str | None = None


class BookFrame(Struct):
    """Likewise."""

    type: Kind
    data: list[KrakenBook]


class Head(Struct):
    """What tells one frame from another."""

    channel: str = ""
    method: str = ""


class KrakenSystem(Struct):
    """`status`: the first frame of each connection, and each change."""

    system: str


class StatusFrame(Struct):
    """The state of the exchange."""

    data: list[KrakenSystem]


class KrakenResult(Struct):
    """What was subscribed to."""

    symbol: str = ""


class Answer(Struct):
    """To a request: one for each symbol. Without a symbol, the whole request was refused."""

    method: str
    success: bool = True
    error: str = ""
    symbol: str = ""
    req_id: int | None = None
    result: KrakenResult | None = None


read_head = msgspec.json.Decoder(Head).decode
read_answer = msgspec.json.Decoder(Answer).decode
read_status = msgspec.json.Decoder(StatusFrame).decode
read_trades = msgspec.json.Decoder(TradeFrame, float_hook=str).decode
read_tickers = msgspec.json.Decoder(TickerFrame, float_hook=str).decode
read_candles = msgspec.json.Decoder(CandleFrame, float_hook=str).decode
read_books = msgspec.json.Decoder(BookFrame, float_hook=str).decode


class Known(Struct, frozen=True):
    """What is known of a symbol's prices."""

    facts: dict[str, str | None]
    exchange_ns: int | None


def trade(row: KrakenTrade, now_ns: int) -> Trade:
    """A live trade; the side is the taker's."""
    price, amount = numbers(row.price, row.qty)
    exchange_ns = exchange_time(nanoseconds(row.timestamp), now_ns)
    return Trade(price=price, amount=amount, side=row.side, received_ns=now_ns, exchange_ns=exchange_ns)


def ticker(row: KrakenTicker, now_ns: int) -> Known:
    """All of a ticker. There is no opening price in it."""
    texts = numbers(row.bid, row.bid_qty, row.ask, row.ask_qty, row.last, row.low, row.high, row.volume)
    bid, ask, last, low, high = (known(texts[i]) for i in (0, 2, 4, 5, 6))
    facts = {
        "bid": bid,
        "bid_amount": bid and texts[1],
        "ask": ask,
        "ask_amount": ask and texts[3],
        "last": last,
        "low": low,
        "high": high,
        "volume": texts[7],
    }
    return Known(facts, exchange_time(nanoseconds(row.timestamp), now_ns) if row.timestamp else None)


def candle(row: KrakenCandle, timestamp: str | None, now_ns: int) -> Interval:
    """An interval as it grows."""
    at_ns = nanoseconds(timestamp) if timestamp else None
    begin_ms = nanoseconds(row.interval_begin) // 1_000_000
    texts = numbers(row.open, row.high, row.low, row.close, row.volume)
    exchange_ns = None if at_ns is None else exchange_time(at_ns, now_ns)
    return interval(begin_ms, row.interval, texts, row.trades, exchange_ns, now_ns, str(exchange_ns or now_ns))


def changes(row: KrakenBook, now_ns: int) -> Delta:
    """The levels of a book, or of a change of it."""
    bids, asks = _levels(row.bids), _levels(row.asks)
    check(chain.from_iterable(chain(bids, asks)))
    exchange_ns = exchange_time(nanoseconds(row.timestamp), now_ns) if row.timestamp else None
    return Delta(bids=bids, asks=asks, received_ns=now_ns, exchange_ns=exchange_ns)


def interval(
    begin_ms: int,
    minutes: int,
    texts: Sequence[str],
    trades: int,
    exchange_ns: int | None,
    now_ns: int,
    mark: str,
) -> Interval:
    """A candle that is not said to be closed, of open, high, low, close and volume. Raises ValueError."""
    if exchange_time(begin_ms * 1_000_000, now_ns) is None:
        raise ValueError(f"an interval that begins at {begin_ms} ms")
    opened, high, low, close, volume = texts
    body = Candle(
        open_ns=begin_ms * 1_000_000,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        closed=False,
        received_ns=now_ns,
        trades=trades,
        exchange_ns=exchange_ns,
    )
    return Interval(body, begin_ms + minutes * 60_000 - 1, mark)


def _levels(levels: Iterable[KrakenLevel]) -> tuple[Level, ...]:
    return tuple((plain(level.price), plain(level.qty)) for level in levels)


def numbers(*values: object) -> list[str]:
    """Their texts. Raises BadNumber."""
    texts = [plain(value) for value in values]
    check(texts)
    return texts


def known(price: str) -> str | None:
    """A price of zero says that there is none."""
    return price if price.strip("0.") else None
