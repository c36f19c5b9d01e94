"""What the simulated exchange answers when asked directly: the truth that books and candles are held against."""

from typing import Any
from urllib.request import urlopen

import msgspec
from msgspec import Struct

from ingest.contract.keys import StreamKey
from ingest.simulator.ledger import Candle

_MS = 1_000_000
Side = dict[str, str]


class Depth(Struct, frozen=True):
    """A whole book as of an update id: price → amount."""

    last_id: int
    bids: Side
    asks: Side


class _Depth(Struct):
    lastUpdateId: int  # noqa: N815 - the exchange's name
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


def depth(port: int, symbol: str) -> Depth:
    """`GET /api/v3/depth`, deeper than any book there is."""
    said = msgspec.json.decode(_get(port, f"depth?symbol={symbol.replace('/', '')}&limit=5000"), type=_Depth)
    return Depth(said.lastUpdateId, dict(said.bids), dict(said.asks))


def closed_candles(port: int, key: StreamKey) -> list[Candle]:
    """`GET /api/v3/klines`, without the one that is forming."""
    assert key.interval is not None
    answer = _get(port, f"klines?symbol={key.symbol.replace('/', '')}&interval={key.interval}&limit=1000")
    rows: list[list[Any]] = msgspec.json.decode(answer)
    return [_candle(key, *row[:6]) for row in rows[:-1]]


def _candle(key: StreamKey, open_ms: int, *values: str) -> Candle:
    s = f"{open_ms * _MS}.closed"
    prices = dict(zip(("open", "high", "low", "close", "volume"), values, strict=True))
    return Candle(key=str(key), s=s, first=s, open_ns=open_ms * _MS, closed=True, **prices)


def _get(port: int, target: str) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}/api/v3/{target}", timeout=10) as answer:
        body: bytes = answer.read()
        return body
