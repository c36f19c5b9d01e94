"""Requests and answers as in https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md"""

import json
from typing import Any

import pytest

from ingest.simulator.bars import SECOND_NS
from ingest.simulator.binance.exchange import Binance
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import Answer

START_NS = 1_795_335_330 * SECOND_NS


@pytest.fixture
def exchange() -> Binance:
    market = Market([listing("BTC/USDT"), listing("ETH/BTC")], rate=100, seed=1, start_ns=START_NS)
    exchange = Binance(market, START_NS)
    exchange.advance(START_NS + 40 * SECOND_NS)
    return exchange


def get(exchange: Binance, target: str) -> Any:
    answer = exchange.rest.get(target, START_NS + 40 * SECOND_NS)
    assert answer.status == 200
    return json.loads(answer.body)


def test_time_and_ping(exchange: Binance):
    assert (get(exchange, "/api/v3/time"), get(exchange, "/api/v3/ping")) == ({"serverTime": 1795335370000}, {})


def test_exchange_info_lists_what_is_traded(exchange: Binance):
    info = get(exchange, "/api/v3/exchangeInfo?showPermissionSets=false")
    filters = {each["filterType"]: each for each in info["symbols"][1]["filters"]}
    assert [(each["symbol"], each["baseAsset"], each["quoteAsset"], each["status"]) for each in info["symbols"]] == [
        ("BTCUSDT", "BTC", "USDT", "TRADING"),
        ("ETHBTC", "ETH", "BTC", "TRADING"),
    ]
    assert (filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"], info["serverTime"]) == (
        "0.00001000",
        "0.00100000",
        1795335370000,
    )
    assert get(exchange, "/api/v3/exchangeInfo?symbol=ETHBTC")["symbols"] == info["symbols"][1:]


def test_the_best_prices_are_those_of_the_book(exchange: Binance):
    whole = get(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=1")
    best = get(exchange, "/api/v3/ticker/bookTicker?symbol=BTCUSDT")
    bids, asks = [[best["bidPrice"], best["bidQty"]]], [[best["askPrice"], best["askQty"]]]
    assert (bids, asks, best["symbol"]) == (whole["bids"], whole["asks"], "BTCUSDT")


def test_depth_is_best_first_and_as_deep_as_asked(exchange: Binance):
    whole = get(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
    cut = get(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=5")
    prices = [[float(price) for price, _ in whole[side]] for side in ("bids", "asks")]
    assert prices == [sorted(prices[0], reverse=True), sorted(prices[1])]
    assert prices[0][0] < prices[1][0]
    assert cut == {
        "lastUpdateId": whole["lastUpdateId"],
        "bids": whole["bids"][:5],
        "asks": whole["asks"][:5],
    }
    assert len(whole["bids"]) > 100 == len(get(exchange, "/api/v3/depth?symbol=BTCUSDT")["bids"])


def test_historical_trades_begin_with_the_id_asked_for(exchange: Binance):
    newest = get(exchange, "/api/v3/historicalTrades?symbol=BTCUSDT&limit=5000")
    last = newest[-1]["id"]
    assert [row["id"] for row in newest] == list(range(last - len(newest) + 1, last + 1))
    assert get(exchange, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={last - 9}&limit=4") == newest[-10:-6]
    assert get(exchange, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={last + 1}") == []
    assert get(exchange, "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=5&limit=2") == newest[:2]
    assert list(newest[0]) == ["id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"]


def test_klines_are_taken_from_the_end_that_is_named(exchange: Binance):
    def opened(query: str) -> list[int]:
        rows = get(exchange, f"/api/v3/klines?symbol=BTCUSDT&interval=1s&{query}")
        return [row[0] // 1000 - 1_795_335_330 for row in rows]

    assert opened("") == list(range(41))
    assert opened("limit=2") == [39, 40]
    assert opened("startTime=1795335335000&limit=3") == [5, 6, 7]
    assert opened("endTime=1795335335999&limit=3") == [3, 4, 5]
    assert opened("startTime=1795335332001&endTime=1795335335000") == [3, 4, 5]


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("depth", 400, -1102),
        ("depth?symbol=", 400, -1102),
        ("depth?symbol=btcusdt", 400, -1121),
        ("exchangeInfo?symbol=NOSUCH", 400, -1121),
        ("historicalTrades?symbol=BTCUSDT&fromId=-5", 400, -1100),
        ("depth?symbol=BTCUSDT&limit=many", 400, -1100),
        ("klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("nothing", 404, -1),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(exchange: Binance, target: str, status: int, code: int):
    answer = exchange.rest.get(f"/api/v3/{target}", START_NS)
    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)


def test_an_invalid_symbol_is_answered_in_binances_own_words(exchange: Binance):
    assert exchange.rest.get("/api/v3/depth?symbol=NOSUCH", START_NS) == Answer(
        400, b'{"code":-1121,"msg":"Invalid symbol."}'
    )


@pytest.mark.parametrize(
    ("target", "weight"),
    [
        ("ping", 1),
        ("exchangeInfo", 20),
        ("depth?symbol=BTCUSDT", 5),
        ("depth?symbol=BTCUSDT&limit=101", 25),
        ("depth?symbol=BTCUSDT&limit=1000", 50),
        ("depth?symbol=BTCUSDT&limit=9999", 250),
        ("historicalTrades?symbol=BTCUSDT", 25),
        ("klines?symbol=BTCUSDT&interval=1m", 2),
    ],
)
def test_each_request_has_its_weight(exchange: Binance, target: str, weight: int):
    answers = [exchange.rest.get(f"/api/v3/{target}", START_NS) for _ in range(2)]
    assert [dict(answer.headers)["X-MBX-USED-WEIGHT-1M"] for answer in answers] == [str(weight), str(2 * weight)]


def test_6000_a_minute_are_allowed(exchange: Binance):
    begun = START_NS + 15 * SECOND_NS + 1  # 15 s before the minute ends
    answers = [exchange.rest.get("/api/v3/depth?symbol=BTCUSDT&limit=5000", begun) for _ in range(25)]
    later = exchange.rest.get("/api/v3/ping", begun + 15 * SECOND_NS)
    assert [answer.status for answer in answers] == [200] * 24 + [429]
    assert answers[24].headers == (("X-MBX-USED-WEIGHT-1M", "6250"), ("Retry-After", "15"))
    assert (later.status, later.headers) == (200, (("X-MBX-USED-WEIGHT-1M", "1"),))
