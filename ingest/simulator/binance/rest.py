"""Binance's public REST: answers from the market, weights counted a minute, errors in its words.

https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ingest.contract.keys import StreamKey
from ingest.simulator.bars import INTERVALS, MINUTE_NS, Bar
from ingest.simulator.binance.frames import Listed
from ingest.simulator.listings import decimal
from ingest.simulator.market import Trade
from ingest.simulator.texts import MS
from ingest.simulator.venue import Answer

WEIGHT_A_MINUTE = 6000
NO_SUCH_PATH = b'{"code":-1,"msg":"no such path"}'
_TROUBLES = {
    418: b'{"code":-1003,"msg":"Way too much request weight used; IP banned."}',
    429: b'{"code":-1003,"msg":"Too much request weight used."}',
    500: b'{"code":-1000,"msg":"An unknown error occurred while processing the request."}',
    503: b'{"code":-1016,"msg":"This service is no longer available."}',
}
_NUMBER = re.compile(r"[0-9]{1,20}\Z")
Params = Mapping[str, str]


class _Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.body = msgspec.json.encode({"code": code, "msg": message})


class Rest:
    """All requests of one address."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        self._listed = {each.native: each for each in listed}
        self._minute = 0
        self._used = 0
        self._routes: dict[str, tuple[Callable[[Params], int], Callable[[Params, int], Any]]] = {
            "/api/v3/ping": (lambda _: 1, lambda _, __: {}),
            "/api/v3/time": (lambda _: 1, lambda _, now_ns: {"serverTime": now_ns // MS}),
            "/api/v3/exchangeInfo": (lambda _: 20, self._exchange_info),
            "/api/v3/depth": (_depth_weight, self._depth),
            "/api/v3/ticker/bookTicker": (lambda _: 2, self._book_ticker),
            "/api/v3/historicalTrades": (lambda _: 25, self._historical_trades),
            "/api/v3/klines": (lambda _: 2, self._klines),
        }

    def get(self, target: str, now_ns: int) -> Answer:
        """The answer; what is beyond the allowance gets 429 and the seconds until it is renewed."""
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        route = self._routes.get(url.path)
        if route is None:
            return Answer(404, NO_SUCH_PATH)
        weigh, answer = route
        try:
            used = self._count(weigh(params), now_ns)
            headers = (("X-MBX-USED-WEIGHT-1M", str(used)),)
            if used > WEIGHT_A_MINUTE:
                wait_s = -(-(MINUTE_NS - now_ns % MINUTE_NS) // (1000 * MS))
                return Answer(429, _TROUBLES[429], (*headers, *retry_after(wait_s)))
            return Answer(200, msgspec.json.encode(answer(params, now_ns)), headers)
        except _Refused as refused:
            return Answer(400, refused.body)

    def in_trouble(self, status: int, retry_after_s: int) -> Answer:
        """429, 418, 500 or 503, of which the first two say when to come again."""
        return Answer(status, _TROUBLES[status], retry_after(retry_after_s) if status in (418, 429) else ())

    def asks_for(self, target: str) -> str | None:
        """The stream of ours that a request is about."""
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        channel = {
            "/api/v3/depth": "orderbook",
            "/api/v3/historicalTrades": "trades",
            "/api/v3/klines": f"candles-{params.get('interval')}",
        }.get(url.path)
        listed = self._listed.get(params.get("symbol", ""))
        return str(StreamKey("binance", channel, listed.pair.listing.symbol)) if channel and listed else None

    def _count(self, weight: int, now_ns: int) -> int:
        minute = now_ns // MINUTE_NS
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += weight
        return self._used

    def _find(self, params: Params) -> Listed:
        symbol = params.get("symbol")
        if not symbol:
            raise _Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in self._listed:
            raise _Refused(-1121, "Invalid symbol.")
        return self._listed[symbol]

    def _exchange_info(self, params: Params, now_ns: int) -> Any:
        chosen = [self._find(params)] if "symbol" in params else self._listed.values()
        return {
            "timezone": "UTC",
            "serverTime": now_ns // MS,
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": WEIGHT_A_MINUTE,
                }
            ],
            "symbols": [_symbol(listed) for listed in chosen],
        }

    def _depth(self, params: Params, _: int) -> Any:
        listed, limit = self._find(params), _limit(params, 100, 5000)
        book = listed.pair.book
        return {
            "lastUpdateId": book.update_id,
            "bids": listed.levels(book.bids.levels(limit)),
            "asks": listed.levels(book.asks.levels(limit)),
        }

    def _book_ticker(self, params: Params, _: int) -> Any:
        listed = self._find(params)
        top = listed.pair.book.top()
        (bid, bid_amount), (ask, ask_amount) = listed.levels([(top.bid, top.bid_lots), (top.ask, top.ask_lots)])
        best = {"bidPrice": bid, "bidQty": bid_amount, "askPrice": ask, "askQty": ask_amount}
        return {"symbol": listed.native, **best}

    def _historical_trades(self, params: Params, _: int) -> Any:
        listed, limit = self._find(params), _limit(params, 500, 1000)
        first_id = _number(params, "fromId")
        return [_trade(listed, trade) for trade in listed.pair.trades(first_id, limit)]

    def _klines(self, params: Params, _: int) -> Any:
        listed, limit = self._find(params), _limit(params, 500, 1000)
        interval = params.get("interval", "")
        if interval not in INTERVALS:
            raise _Refused(-1120, "Invalid interval.")
        start, end = _number(params, "startTime"), _number(params, "endTime")
        bars = [
            bar
            for bar in (*listed.pair.bars.closed(interval), listed.pair.bars.current(interval))
            if (start is None or bar.open_ns >= start * MS) and (end is None or bar.open_ns <= end * MS)
        ]
        chosen = bars[-limit:] if start is None else bars[:limit]
        return [_kline(listed, bar) for bar in chosen]


def retry_after(seconds: int) -> tuple[tuple[str, str], ...]:
    """The header that says when to come again."""
    return (("Retry-After", str(seconds)),)


def _depth_weight(params: Params) -> int:
    limit = _limit(params, 100, 5000)
    return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (5000, 250)) if limit <= most)


def _number(params: Params, name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not _NUMBER.match(text):
        raise _Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def _limit(params: Params, default: int, most: int) -> int:
    return min(_number(params, "limit") or default, most)


def _symbol(listed: Listed) -> Any:
    listing = listed.pair.listing
    return {
        "symbol": listed.native,
        "status": "HALT" if listed.pair.halted else "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": decimal(listing.tick),
                "maxPrice": "1000000.00000000",
                "tickSize": decimal(listing.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": decimal(listing.lot),
                "maxQty": "9000000.00000000",
                "stepSize": decimal(listing.lot),
            },
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _trade(listed: Listed, trade: Trade) -> Any:
    listing = listed.pair.listing
    return {
        "id": trade.id,
        "price": listing.price(trade.price),
        "qty": listing.amount(trade.lots),
        "quoteQty": listing.value(trade.price * trade.lots),
        "time": trade.time_ns // MS,
        "isBuyerMaker": trade.taker_sells,
        "isBestMatch": True,
    }


def _kline(listed: Listed, bar: Bar) -> Any:
    listing = listed.pair.listing
    return [
        bar.open_ns // MS,
        listing.price(bar.open),
        listing.price(bar.high),
        listing.price(bar.low),
        listing.price(bar.close),
        listing.amount(bar.lots),
        bar.end_ns // MS - 1,
        listing.value(bar.value),
        bar.trades,
        listing.amount(bar.bought_lots),
        listing.value(bar.bought_value),
        "0",
    ]
