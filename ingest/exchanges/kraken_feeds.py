"""Kraken's feeds: what a stream is called there, and how one subscribes to it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from ingest.contract.keys import StreamKey
from ingest.exchanges.requests import Request

INTERVALS: Final[Mapping[str, int]] = {
    "1m": 1,
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "1h": 60,
    "4h": 240,
    "1d": 1440,
    "1w": 10080,
    "15d": 21600,
}
"""In minutes."""
DEPTHS: Final = (10, 25, 100, 500, 1000)
"""Levels a side that can be had."""
DEPTH = 10
"""Those that we have. The checksum is of ten: what is deeper, nobody could tell from what it should be."""


def feed_of(key: StreamKey) -> str:
    """The exchange's name of a channel, with what tells its frames apart."""
    match key.channel:
        case "orderbook":
            return "book"
        case "trades":
            return "trade"
        case "ticker":
            return "ticker"
    return f"ohlc-{INTERVALS[key.interval or '']}"


def message(request: Request) -> str:
    """A request to `subscribe` or `unsubscribe`, whose names are each a feed and a symbol; the feed is the same."""
    feed = request.names[0].partition(" ")[0]
    channel, _, minutes = feed.partition("-")
    params: dict[str, object] = {"channel": channel, "symbol": [name.partition(" ")[2] for name in request.names]}
    match channel:
        case "book":
            params["depth"] = DEPTH
        case "ticker":
            # Unless told so it speaks of trades only, and the best prices would be as old as the newest of them.
            params["event_trigger"] = "bbo"
        case "ohlc":
            params["interval"] = int(minutes)
    if request.method == "subscribe":
        params["snapshot"] = True
    return msgspec.json.encode({"method": request.method, "params": params, "req_id": request.id}).decode()
