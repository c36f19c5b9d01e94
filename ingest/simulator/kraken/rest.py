"""Kraken's public REST: answers from the market, calls counted, and errors that come with status 200.

https://docs.kraken.com/api/docs/rest-api/get-recent-trades
"""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from ingest.simulator.allowance import Bucket
from ingest.simulator.bars import SECOND_NS, Bar
from ingest.simulator.kraken.frames import MINUTES, Listed, encode, number
from ingest.simulator.market import KEPT_TRADES, Trade
from ingest.simulator.texts import US
from ingest.simulator.venue import Answer

CALLS_AT_ONCE: Final = 15
"""Beyond that, one a second: the exchange says no more than the latter."""
NO_SUCH_PATH: Final = b'{"error":["EGeneral:Unknown method"]}'
_TOO_MANY: Final = "EGeneral:Too many requests"
_TROUBLES: Final = {418: _TOO_MANY, 429: _TOO_MANY, 500: "EGeneral:Internal error", 503: "EService:Unavailable"}
_MOST_BARS: Final = 720
_INTEGER: Final = re.compile(r"[0-9]{1,20}\Z")
Params = Mapping[str, str]


class _Refused(Exception):
    """In the exchange's words."""


class Rest:
    """All requests of one address."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        self._listed: dict[str, Listed] = {}
        self._pairs = tuple(listed)
        for each in self._pairs:
            self._listed |= dict.fromkeys((each.altname, each.rest_name, each.wsname, each.symbol), each)
        self._counters: dict[str, Bucket] = {}
        self._routes: dict[str, Callable[[Params, int], Any]] = {
            "/0/public/Time": _time,
            "/0/public/AssetPairs": self._asset_pairs,
            "/0/public/Depth": self._depth,
            "/0/public/Trades": self._trades,
            "/0/public/OHLC": self._ohlc,
        }

    def get(self, target: str, now_ns: int) -> Answer:
        """The answer. Errors, too, have status 200."""
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        answer = self._routes.get(url.path)
        if answer is None:
            return Answer(404, NO_SUCH_PATH)
        try:
            self._count(url.path, params, now_ns)
            return Answer(200, encode({"error": [], "result": answer(params, now_ns)}))
        except _Refused as refused:
            return Answer(200, encode({"error": [str(refused)]}))

    def in_trouble(self, status: int, retry_after_s: int) -> Answer:
        """Whatever the status says, of which the first two say when to come again."""
        headers = (("Retry-After", str(retry_after_s)),) if status in (418, 429) else ()
        return Answer(status, encode({"error": [_TROUBLES[status]]}), headers)

    def asks_for(self, target: str) -> str | None:
        """The stream of ours that a request is about."""
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        listed = self._listed.get(params.get("pair", ""))
        if listed is None:
            return None
        by_minutes = {str(minutes): listed.candles[interval] for interval, minutes in MINUTES.items()}
        return {
            "/0/public/Depth": listed.book,
            "/0/public/Trades": listed.trades,
            "/0/public/OHLC": by_minutes.get(params.get("interval", "1")),
        }.get(url.path)

    def _count(self, path: str, params: Params, now_ns: int) -> None:
        """Trades and OHLC are counted by pair, all else together."""
        own = path.rpartition("/")[2] in ("Trades", "OHLC")
        counter = f"{path} {params.get('pair')}" if own else ""
        if not self._counters.setdefault(counter, Bucket(CALLS_AT_ONCE, SECOND_NS)).take(now_ns):
            raise _Refused(_TOO_MANY)

    def _find(self, params: Params) -> Listed:
        listed = self._listed.get(params.get("pair", ""))
        if listed is None:
            raise _Refused("EQuery:Unknown asset pair")
        return listed

    def _asset_pairs(self, params: Params, _: int) -> Any:
        names = params["pair"].split(",") if "pair" in params else None
        chosen = self._pairs if names is None else [self._find({"pair": name}) for name in names]
        display = params.get("assetVersion") == "1"
        return {(listed.symbol if display else listed.rest_name): _pair(listed, display=display) for listed in chosen}

    def _depth(self, params: Params, now_ns: int) -> Any:
        listed, count = self._find(params), _integer(params, "count", 100, 500)
        book, seconds = listed.pair.book, now_ns // SECOND_NS
        sides = {"asks": book.asks.levels(count), "bids": book.bids.levels(count)}
        rows = {
            name: [[_places(listed.price(ticks), 5), _places(listed.amount(lots), 3), seconds] for ticks, lots in side]
            for name, side in sides.items()
        }
        return {listed.rest_name: rows}

    def _trades(self, params: Params, _: int) -> Any:
        """A page never ends between trades of one moment: the next one would begin behind all of them."""
        listed, count = self._find(params), _integer(params, "count", 1000, 1000)
        since = _integer(params, "since", -1, 1 << 63)
        trades = listed.pair.trades(None, KEPT_TRADES)
        newer = [trade for trade in trades if trade.time_ns > since]
        page = newer[:count] if "since" in params else newer[-count:]
        if page and len(page) < len(newer) and "since" in params and newer[len(page)].time_ns == page[-1].time_ns:
            whole = [trade for trade in page if trade.time_ns < page[-1].time_ns]
            page = whole or [*takewhile(lambda trade: trade.time_ns == newer[0].time_ns, newer)]
        last = page[-1].time_ns if page else max(since, 0)
        return {listed.rest_name: [_trade(listed, trade) for trade in page], "last": str(last)}

    def _ohlc(self, params: Params, _: int) -> Any:
        listed, minutes = self._find(params), _integer(params, "interval", 1, 1 << 63)
        interval = next((interval for interval, length in MINUTES.items() if length == minutes), None)
        if interval is None:
            raise _Refused("EGeneral:Invalid arguments")
        since = _integer(params, "since", 0, 1 << 63)
        bars = [*listed.pair.bars.closed(interval)[1 - _MOST_BARS :], listed.pair.bars.current(interval)]
        rows = [_bar(listed, bar) for bar in bars if bar.open_ns // SECOND_NS >= since]
        last = bars[-2].open_ns if len(bars) > 1 else 0
        return {listed.rest_name: rows, "last": last // SECOND_NS}


def _time(_: Params, now_ns: int) -> Any:
    return {"unixtime": now_ns // SECOND_NS}


def _integer(params: Params, name: str, default: int, most: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not _INTEGER.match(text):
        raise _Refused("EGeneral:Invalid arguments")
    return min(int(text), most)


def _places(text: str, places: int) -> str:
    """As many as REST writes, whatever the stream says."""
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest[:places].ljust(places, '0')}"


def _pair(listed: Listed, *, display: bool) -> Any:
    listing = listed.pair.listing
    return {
        "altname": listed.altname,
        "wsname": listed.wsname,
        "aclass_base": "currency",
        "base": listing.base if display else listed.base,
        "aclass_quote": "currency",
        "quote": listing.quote if display else listed.quote,
        "pair_decimals": listing.price_places,
        "cost_decimals": 5,
        "lot_decimals": 8,
        "lot_multiplier": 1,
        "ordermin": "0.00005",
        "costmin": "0.5",
        "tick_size": listed.price(1),
        "status": "cancel_only" if listed.pair.halted else "online",
    }


def _trade(listed: Listed, trade: Trade) -> Any:
    seconds, rest = divmod(trade.time_ns // US, 1_000_000)
    return [
        _places(listed.price(trade.price), 5),
        listed.amount(trade.lots),
        number(f"{seconds}.{rest:06d}"),
        "s" if trade.taker_sells else "b",
        "m",
        "",
        trade.id,
    ]


def _bar(listed: Listed, bar: Bar) -> Any:
    prices = (listed.price(price) for price in (bar.open, bar.high, bar.low, bar.close))
    return [bar.open_ns // SECOND_NS, *prices, listed.vwap(bar), listed.amount(bar.lots), bar.trades]
