"""OKX's feeds: what a stream is called there, on which path it is told, and how one subscribes to it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from ingest.contract.keys import StreamKey
from ingest.exchanges.requests import Request

PUBLIC: Final = "/ws/v5/public"
BUSINESS: Final = "/ws/v5/business"
DEPTH: Final = 400
"""Levels a side that a book has; what enters and what leaves them is told."""

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
BARS: Final[Mapping[str, tuple[str, int]]] = {
    "1s": ("1s", _SECOND),
    "1m": ("1m", _MINUTE),
    "3m": ("3m", 3 * _MINUTE),
    "5m": ("5m", 5 * _MINUTE),
    "15m": ("15m", 15 * _MINUTE),
    "30m": ("30m", 30 * _MINUTE),
    "1h": ("1H", _HOUR),
    "2h": ("2H", 2 * _HOUR),
    "4h": ("4H", 4 * _HOUR),
    # Without `utc` these open at 16:00 UTC, midnight in Hong Kong.
    "6h": ("6Hutc", 6 * _HOUR),
    "12h": ("12Hutc", 12 * _HOUR),
    "1d": ("1Dutc", _DAY),
    "3d": ("3Dutc", 3 * _DAY),
    "1w": ("1Wutc", 7 * _DAY),
    "1M": ("1Mutc", 31 * _DAY),
}
"""By interval the exchange's name of it, and the most ms that it lasts."""


def name_of(key: StreamKey, native: str) -> str:
    """The exchange's channel and its name of the symbol, with a colon between."""
    return f"{_channel(key)}:{native}"


def path_of(key: StreamKey) -> str:
    """Where it is told. Of the trades on /public several may be merged; on /business each has its id."""
    return BUSINESS if key.channel == "trades" or key.interval else PUBLIC


def bar_of(key: StreamKey) -> str:
    """The exchange's name of a candle stream's interval."""
    return BARS[key.interval or ""][0]


def ends_ms(interval: str, open_ms: int) -> int:
    """The last millisecond of the interval that opens then."""
    if interval != "1M":
        return open_ms + BARS[interval][1] - 1
    opened = datetime.fromtimestamp(open_ms // 1000, UTC)
    year, month = divmod(opened.year * 12 + opened.month, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000 - 1


def message(request: Request) -> str:
    """A request whose method is `subscribe` or `unsubscribe`, and whose names are those of `name_of`."""
    args = [dict(zip(("channel", "instId"), name.split(":", 1), strict=True)) for name in request.names]
    return msgspec.json.encode({"id": str(request.id), "op": request.method, "args": args}).decode()


def _channel(key: StreamKey) -> str:
    match key.channel:
        case "orderbook":
            return "books"
        case "trades":
            return "trades-all"
        case "ticker":
            return "tickers"
    return f"candle{bar_of(key)}"
