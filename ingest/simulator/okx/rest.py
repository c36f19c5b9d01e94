"""OKX's public REST: answers from the market, newest first, and errors in its words.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ingest.simulator.allowance import Window
from ingest.simulator.bars import SECOND_NS, Bar
from ingest.simulator.market import KEPT_TRADES
from ingest.simulator.okx.frames import BARS, Listed, encode, step
from ingest.simulator.texts import MS
from ingest.simulator.venue import Answer

NO_SUCH_PATH: Final = b'{"code":"50000","msg":"no such path","data":[]}'
_WITHIN_NS: Final = 2 * SECOND_NS
_RECENT_BARS: Final = 1440
_TOO_MANY: Final = ("50011", "Too Many Requests")
_TROUBLES: Final = {
    418: _TOO_MANY,
    429: _TOO_MANY,
    500: ("50026", "System error. Try again later."),
    503: ("50001", "Service temporarily unavailable. Please try again later."),
}
_INTEGER: Final = re.compile(r"[0-9]{1,20}\Z")
Params = Mapping[str, str]


class _Refused(Exception):
    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.body = _body(code, words)


class _Route(NamedTuple):
    answer: Callable[[Params, int], list[Any]]
    allowed: Window


class Rest:
    """All requests of one address."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        self._listed = {each.native: each for each in listed}
        self._bars = {bar: interval for interval, bar in BARS.items()}
        self._routes: dict[str, _Route] = {
            "/api/v5/public/time": _Route(lambda _, now_ns: [{"ts": str(now_ns // MS)}], Window(10, _WITHIN_NS)),
            "/api/v5/public/instruments": _Route(self._instruments, Window(20, _WITHIN_NS)),
            "/api/v5/market/books": _Route(self._books, Window(40, _WITHIN_NS)),
            "/api/v5/market/history-trades": _Route(self._history_trades, Window(20, _WITHIN_NS)),
            "/api/v5/market/candles": _Route(self._candles, Window(40, _WITHIN_NS)),
            "/api/v5/market/history-candles": _Route(self._history_candles, Window(20, _WITHIN_NS)),
        }

    def get(self, target: str, now_ns: int) -> Answer:
        """The answer; what is beyond the allowance gets 429."""
        url = urlsplit(target)
        route = self._routes.get(url.path)
        if route is None:
            return Answer(404, NO_SUCH_PATH)
        if not route.allowed.take(now_ns):
            return self.in_trouble(429, 2)
        try:
            return Answer(200, _body("0", "", route.answer(dict(parse_qsl(url.query)), now_ns)))
        except _Refused as refused:
            return Answer(200, refused.body)

    def in_trouble(self, status: int, retry_after_s: int) -> Answer:
        """Whatever the status says, of which the first two say when to come again."""
        headers = (("Retry-After", str(retry_after_s)),) if status in (418, 429) else ()
        return Answer(status, _body(*_TROUBLES[status]), headers)

    def asks_for(self, target: str) -> str | None:
        """The stream of ours that a request is about."""
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        channel = {
            "/api/v5/market/books": "books",
            "/api/v5/market/history-trades": "trades-all",
            "/api/v5/market/candles": f"candle{params.get('bar', '1m')}",
            "/api/v5/market/history-candles": f"candle{params.get('bar', '1m')}",
        }.get(url.path)
        listed = self._listed.get(params.get("instId", ""))
        return listed.streams.get(channel) if channel and listed else None

    def _find(self, params: Params) -> Listed:
        native = params.get("instId")
        if not native:
            raise _Refused("50014", "Parameter instId can not be empty.")
        if native not in self._listed:
            raise _Refused("51001", "Instrument ID doesn't exist.")
        return self._listed[native]

    def _instruments(self, params: Params, _: int) -> list[Any]:
        if params.get("instType") != "SPOT":
            raise _Refused("51000", "Parameter instType error.")
        return [_instrument(listed) for listed in self._listed.values()]

    def _books(self, params: Params, now_ns: int) -> list[Any]:
        listed, most = self._find(params), _number(params, "sz", 1, 400)
        data = listed.book_data(now_ns)
        return [{**data, "asks": data["asks"][:most], "bids": data["bids"][:most]}]

    def _history_trades(self, params: Params, _: int) -> list[Any]:
        """Those older than an id, without it the newest. `before` alone brings the newest as well."""
        listed, most = self._find(params), _number(params, "limit", 100, 100)
        after, before = _number(params, "after", 1 << 60, 1 << 60), _number(params, "before", 0, 1 << 60)
        kept = [each for each in listed.pair.trades(None, KEPT_TRADES) if before < each.id < after]
        return [listed.trade(each) for each in reversed(kept[-most:])]

    def _candles(self, params: Params, now_ns: int) -> list[Any]:
        return self._rows(params, _RECENT_BARS)

    def _history_candles(self, params: Params, now_ns: int) -> list[Any]:
        return self._rows(params, 1 << 60)

    def _rows(self, params: Params, recent: int) -> list[Any]:
        """Those that open between the two times, both left out."""
        listed, most = self._find(params), _number(params, "limit", 100, 300)
        interval = self._bars.get(params.get("bar", "1m"))
        if interval is None:
            raise _Refused("51000", "Parameter bar error.")
        after, before = _number(params, "after", 1 << 60, 1 << 60), _number(params, "before", 0, 1 << 60)
        bars = listed.pair.bars
        known: list[tuple[Bar, bool]] = [(bar, True) for bar in bars.closed(interval)]
        known = [*known, (bars.current(interval), False)][-recent:]
        rows = [listed.candle(bar, closed=closed) for bar, closed in known if before < bar.open_ns // MS < after]
        return rows[: -most - 1 : -1]


def _body(code: str, words: str, data: list[Any] | None = None) -> bytes:
    return encode({"code": code, "msg": words, "data": data or []})


def _number(params: Params, name: str, default: int, most: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not _INTEGER.match(text):
        raise _Refused("51000", f"Parameter {name} error.")
    return min(int(text), most)


def _instrument(listed: Listed) -> dict[str, Any]:
    listing = listed.pair.listing
    return {
        "instType": "SPOT",
        "instId": listed.native,
        "instIdCode": 2000,
        "baseCcy": listing.base,
        "quoteCcy": listing.quote,
        "settleCcy": "",
        "ctVal": "",
        "tickSz": step(listing.tick),
        "lotSz": step(listing.lot),
        "minSz": step(listing.lot),
        "state": "suspend" if listed.pair.halted else "live",
        "ruleType": "normal",
        "listTime": "1611907686000",
        "expTime": "",
        "tradeQuoteCcyList": [listing.quote],
        "upcChg": [],
    }
