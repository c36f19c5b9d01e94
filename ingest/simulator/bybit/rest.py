"""Bybit's public REST: answers from the market, requests counted, and errors that come with status 200.

https://bybit-exchange.github.io/docs/v5/market/recent-trade
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from ingest.simulator.allowance import Window
from ingest.simulator.bars import SECOND_NS, Bar
from ingest.simulator.bybit.depth import EVERY_NS, Depth
from ingest.simulator.bybit.frames import INTERVALS, Listed, encode
from ingest.simulator.listings import decimal
from ingest.simulator.market import Trade
from ingest.simulator.texts import MS, short
from ingest.simulator.venue import Answer

REQUESTS: Final = 600
REQUESTS_WITHIN_NS: Final = 5 * SECOND_NS
BANNED_NS: Final = 600 * SECOND_NS
NO_SUCH_PATH: Final = b"404 page not found"
TOO_FREQUENT: Final = Answer(403, b"403, access too frequent")
_MOST_TRADES: Final = 60
_MOST_BARS: Final = 1000
_MOST_LEVELS: Final = 1000
_NUMBER: Final = re.compile(r"[0-9]{1,16}\Z")
Params = Mapping[str, str]


class _Refused(Exception):
    """In the exchange's words, with its code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Rest:
    """All requests of one address."""

    def __init__(self, listed: Iterable[Listed], depth_of: Callable[[Listed, int], Depth]) -> None:
        self._listed = {each.native: each for each in listed}
        self._depth_of = depth_of
        self._asked = Window(REQUESTS, REQUESTS_WITHIN_NS)
        self._banned_to_ns = 0
        self._routes: dict[str, Callable[[Params, int], Any]] = {
            "/v5/market/time": _time,
            "/v5/market/instruments-info": self._instruments,
            "/v5/market/orderbook": self._orderbook,
            "/v5/market/recent-trade": self._recent_trade,
            "/v5/market/kline": self._kline,
        }

    def get(self, target: str, now_ns: int) -> Answer:
        """The answer. What is beyond the allowance bans the address for ten minutes."""
        url = urlsplit(target)
        answer = self._routes.get(url.path)
        if answer is None:
            return Answer(404, NO_SUCH_PATH)
        if self._too_many(now_ns):
            return TOO_FREQUENT
        try:
            return _said(0, "OK", answer(dict(parse_qsl(url.query)), now_ns), now_ns)
        except _Refused as refused:
            return _said(refused.code, str(refused), {}, now_ns)

    def in_trouble(self, status: int, retry_after_s: int) -> Answer:
        """A ban is a 403 here, and says no time."""
        if status == 418:
            return TOO_FREQUENT
        headers = (("Retry-After", str(retry_after_s)),) if status == 429 else ()
        words = {429: "Too many visits!", 500: "Server error.", 503: "Service unavailable."}[status]
        code = 10006 if status == 429 else 10016
        return Answer(status, encode({"retCode": code, "retMsg": words, "result": {}, "retExtInfo": {}}), headers)

    def asks_for(self, target: str) -> str | None:
        """The stream of ours that a request is about."""
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        listed = self._listed.get(params.get("symbol", ""))
        if listed is None:
            return None
        return {
            "/v5/market/orderbook": listed.book,
            "/v5/market/recent-trade": listed.trades,
            "/v5/market/kline": listed.candles.get(params.get("interval", "")),
        }.get(url.path)

    def _too_many(self, now_ns: int) -> bool:
        if now_ns < self._banned_to_ns:
            return True
        if self._asked.take(now_ns):
            return False
        self._banned_to_ns = now_ns + BANNED_NS
        return True

    def _find(self, params: Params) -> Listed:
        # Unless it is said, this is about perpetual futures, of which there are none here.
        if params.get("category", "linear") != "spot":
            raise _Refused(10001, "params error: Category is invalid")
        listed = self._listed.get(params.get("symbol", ""))
        if listed is None:
            raise _Refused(10001, "Not supported symbols")
        return listed

    def _instruments(self, params: Params, _: int) -> Any:
        chosen = [self._find(params)] if "symbol" in params else self._listed.values()
        if params.get("category") != "spot":
            raise _Refused(10001, "params error: Category is invalid")
        return {"category": "spot", "list": [_instrument(i, listed) for i, listed in enumerate(chosen, 1)]}

    def _orderbook(self, params: Params, now_ns: int) -> Any:
        listed, limit = self._find(params), _number(params, "limit", 1, _MOST_LEVELS)
        u, (bids, asks) = self._depth_of(listed, max(EVERY_NS)).whole
        times = {"ts": now_ns // MS, "cts": now_ns // MS - 3}
        return {
            "s": listed.native,
            "b": bids[:limit],
            "a": asks[:limit],
            "u": u,
            "seq": listed.pair.book.update_id,
            **times,
        }

    def _recent_trade(self, params: Params, _: int) -> Any:
        listed, limit = self._find(params), _number(params, "limit", _MOST_TRADES, _MOST_TRADES)
        rows = [_trade(listed, trade) for trade in reversed(listed.pair.trades(None, limit))]
        return {"category": "spot", "list": rows}

    def _kline(self, params: Params, _: int) -> Any:
        listed, limit = self._find(params), _number(params, "limit", 200, _MOST_BARS)
        interval = INTERVALS.get(params.get("interval", ""))
        if interval is None:
            raise _Refused(10001, "params error: Invalid period!")
        start, end = _number(params, "start", 0, 1 << 60) * MS, _number(params, "end", 1 << 60, 1 << 60) * MS
        bars = [*listed.pair.bars.closed(interval), listed.pair.bars.current(interval)]
        chosen = [bar for bar in bars if start <= bar.open_ns <= end]
        # With a start alone the oldest of them come, else the newest; newest first in any case.
        page = chosen[:limit] if "start" in params and "end" not in params else chosen[-limit:]
        return {"symbol": listed.native, "category": "spot", "list": [_bar(listed, bar) for bar in reversed(page)]}


def _said(code: int, words: str, result: Any, now_ns: int) -> Answer:
    body = {"retCode": code, "retMsg": words, "result": result, "retExtInfo": {}, "time": now_ns // MS}
    return Answer(200, encode(body))


def _time(_: Params, now_ns: int) -> Any:
    return {"timeSecond": str(now_ns // SECOND_NS), "timeNano": str(now_ns)}


def _number(params: Params, name: str, default: int, most: int) -> int:
    text = params.get(name, "")
    return min(int(text), most) if _NUMBER.match(text) and int(text) else default


def _instrument(number: int, listed: Listed) -> Any:
    listing = listed.pair.listing
    return {
        "symbolId": number,
        "symbol": listed.native,
        "baseCoin": listing.base,
        "quoteCoin": listing.quote,
        "innovation": "0",
        "symbolType": "",
        "status": "Closed" if listed.pair.halted else "Trading",
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": short(decimal(listing.lot)),
            "quotePrecision": "0.0000001",
            "minOrderQty": short(decimal(listing.lot)),
            "maxOrderQty": "83",
            "minOrderAmt": "5",
            "maxOrderAmt": "8000000",
        },
        "priceFilter": {"tickSize": short(decimal(listing.tick))},
        "riskParameters": {"priceLimitRatioX": "0.005", "priceLimitRatioY": "0.01"},
    }


def _trade(listed: Listed, trade: Trade) -> Any:
    return {
        "execId": listed.trade_id(trade),
        "symbol": listed.native,
        "price": listed.price(trade.price),
        "size": listed.amount(trade.lots),
        "side": trade.side.capitalize(),
        "time": str(trade.time_ns // MS),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(trade.id),
    }


def _bar(listed: Listed, bar: Bar) -> list[str]:
    prices = [listed.price(price) for price in (bar.open, bar.high, bar.low, bar.close)]
    return [str(bar.open_ns // MS), *prices, listed.amount(bar.lots), listed.value(bar.value)]
