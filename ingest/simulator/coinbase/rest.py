"""Coinbase's public REST: answers from the market, pages by cursors, and what is older than one would think.

https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducttrades
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from msgspec import Raw

from ingest.simulator.allowance import Bucket
from ingest.simulator.bars import INTERVALS, SECOND_NS, Bar
from ingest.simulator.coinbase.frames import Listed, encode
from ingest.simulator.market import KEPT_TRADES
from ingest.simulator.texts import at
from ingest.simulator.venue import Answer

CALLS_PER_SECOND: Final = 10
CALLS_AT_ONCE: Final = 15
NO_SUCH_PATH: Final = b'{"message":"NotFound"}'
GRANULARITIES: Final = {
    str(INTERVALS[interval] // SECOND_NS): interval for interval in ("1m", "5m", "15m", "1h", "6h", "1d")
}
_TROUBLES: Final = {418: "Forbidden", 429: "Public rate limit exceeded", 500: "Internal server error"}
_MOST_TRADES: Final = 1_000
_MOST_BUCKETS: Final = 301
_UNBOUNDED_BUCKETS: Final = 350
_PAGE_KEPT_NS: Final = 6 * SECOND_NS
_BUCKETS_KEPT_NS: Final = 300 * SECOND_NS
_PATH: Final = re.compile(r"/products/(?P<product>[^/]+)(?:/(?P<what>[a-z]+))?\Z")
_INTEGER: Final = re.compile(r"[0-9]{1,18}\Z")
Params = Mapping[str, str]
Headers = tuple[tuple[str, str], ...]


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Rest:
    """All requests of one address."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        self._listed = {each.product: each for each in listed}
        self._calls = Bucket(CALLS_AT_ONCE, SECOND_NS // CALLS_PER_SECOND)
        self._kept: dict[str, tuple[int, Answer]] = {}
        self._routes: dict[str | None, Callable[[Listed, Params, int], Any]] = {
            None: lambda listed, _, __: _product(listed),
            "book": _book,
            "ticker": _ticker,
            "candles": _candles,
        }

    def get(self, target: str, now_ns: int) -> Answer:
        """The answer; 429 without a word on when to come again."""
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        if not self._calls.take(now_ns):
            return _error(429, _TROUBLES[429])
        try:
            return self._answer(url.path, params, now_ns)
        except _Refused as refused:
            return _error(refused.status, str(refused))

    def in_trouble(self, status: int, retry_after_s: int) -> Answer:
        """Whatever the status says, of which the first two say when to come again."""
        headers = (("Retry-After", str(retry_after_s)),) if status in (418, 429) else ()
        return _error(status, _TROUBLES.get(status, "Service unavailable"), headers)

    def asks_for(self, target: str) -> str | None:
        """The stream of ours that a request is about."""
        path = _PATH.match(urlsplit(target).path)
        listed = self._listed.get(path["product"]) if path else None
        if path is None or listed is None:
            return None
        return {"trades": listed.trades, "book": listed.book, "ticker": listed.ticker}.get(path["what"] or "")

    def _answer(self, path: str, params: Params, now_ns: int) -> Answer:
        if path == "/products":
            return Answer(200, encode([_product(listed) for listed in self._listed.values()]))
        if path == "/time":
            return Answer(200, encode({"iso": at(now_ns), "epoch": now_ns / SECOND_NS}))
        asked = _PATH.match(path)
        listed = self._listed.get(asked["product"]) if asked else None
        if asked is None or listed is None:
            raise _Refused(404, "NotFound")
        if asked["what"] == "trades":
            bounded = "after" in params or "before" in params
            return self._kept_for(0 if bounded else _PAGE_KEPT_NS, path, now_ns, lambda: _trades(listed, params))
        if (route := self._routes.get(asked["what"])) is None:
            raise _Refused(404, "NotFound")
        unbounded = asked["what"] == "candles" and not {"start", "end"} <= params.keys()
        name = f"{path} {params.get('granularity')}"
        keep_ns = _BUCKETS_KEPT_NS if unbounded else 0
        return self._kept_for(keep_ns, name, now_ns, lambda: Answer(200, encode(route(listed, params, now_ns))))

    def _kept_for(self, keep_ns: int, name: str, now_ns: int, make: Callable[[], Answer]) -> Answer:
        """Old if somebody has asked before; what is asked for precisely is fresh."""
        if not keep_ns:
            return make()
        kept = self._kept.get(name)
        if kept is None or now_ns - kept[0] >= keep_ns:
            kept = self._kept[name] = now_ns, make()
        return kept[1]

    def forget(self) -> None:
        """What was kept is of another time."""
        self._kept.clear()


def _error(status: int, message: str, headers: Headers = ()) -> Answer:
    return Answer(status, encode({"message": message}), headers)


def _trades(listed: Listed, params: Params) -> Answer:
    """Newest first: those below `after`, or the newest ones, of those above `before`."""
    limit = min(_integer(params, "limit", _MOST_TRADES), _MOST_TRADES)
    below = min(_integer(params, "after", 1 << 60), listed.pair.last.id + 1)
    above = _integer(params, "before", 0)
    oldest = listed.pair.trades(None, KEPT_TRADES)[0].id
    first = max(below - limit, above + 1, oldest)
    page = [t for t in listed.pair.trades(first, limit) if t.id < below] if first < below else []
    rows = [{"trade_id": trade.id, **listed.traded(trade)} for trade in reversed(page)]
    ends: Headers = (("CB-BEFORE", str(page[-1].id)), ("CB-AFTER", str(page[0].id))) if page else ()
    return Answer(200, encode(rows), ends)


def _candles(listed: Listed, params: Params, now_ns: int) -> Any:
    """Newest first, seconds and then low, high, open, close, volume; without those that had no trades."""
    interval = GRANULARITIES.get(params.get("granularity", "60"))
    if interval is None:
        raise _Refused(400, "Unsupported granularity")
    bars = listed.pair.bars
    rows = [bar for bar in (*bars.closed(interval), bars.current(interval)) if bar.trades]
    if {"start", "end"} <= params.keys():
        start_ns, end_ns = (_time(params[name]) for name in ("start", "end"))
        if (end_ns - start_ns) // INTERVALS[interval] >= _MOST_BUCKETS:
            raise _Refused(400, "granularity too small for the requested time range. Count of aggregations > 300")
        rows = [bar for bar in rows if start_ns <= bar.open_ns <= end_ns]
    return [_bucket(listed, bar) for bar in reversed(rows[-_UNBOUNDED_BUCKETS:])]


def _bucket(listed: Listed, bar: Bar) -> list[Any]:
    prices = (listed.price(price) for price in (bar.low, bar.high, bar.open, bar.close))
    numbers = (Raw(text.encode()) for text in (*prices, listed.amount(bar.lots)))
    return [bar.open_ns // SECOND_NS, *numbers]


def _book(listed: Listed, params: Params, now_ns: int) -> Any:
    """The best of both sides, or all."""
    book, level = listed.pair.book, params.get("level", "1")
    if level not in ("1", "2"):
        raise _Refused(400, "Invalid level")
    sides = {
        name: [(price, size, 1) for price, size in listed.levels(side.levels(1 if level == "1" else len(side)))]
        for name, side in (("bids", book.bids), ("asks", book.asks))
    }
    return {**sides, "sequence": listed.sequence, "time": at(now_ns), "auction_mode": False, "auction": None}


def _ticker(listed: Listed, _: Params, now_ns: int) -> Any:
    top, last = listed.pair.book.top(), listed.pair.last
    return {
        "trade_id": last.id,
        "price": listed.price(last.price),
        "size": listed.amount(last.lots),
        "bid": listed.price(top.bid),
        "ask": listed.price(top.ask),
        "volume": listed.amount(listed.pair.bars.day().lots),
        "time": at(last.time_ns),
    }


def _product(listed: Listed) -> Any:
    listing = listed.pair.listing
    return {
        "id": listed.product,
        "base_currency": listing.base,
        "quote_currency": listing.quote,
        "quote_increment": listed.price(1),
        "base_increment": listed.amount(1),
        "display_name": listed.product,
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online",
        "status_message": "",
        "trading_disabled": listed.pair.halted,
        "fx_stablecoin": False,
        "auction_mode": False,
    }


def _integer(params: Params, name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not _INTEGER.match(text):
        raise _Refused(400, f"Invalid {name}")
    return int(text)


def _time(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp()) * SECOND_NS
    except ValueError:
        raise _Refused(400, "Invalid start or end") from None
