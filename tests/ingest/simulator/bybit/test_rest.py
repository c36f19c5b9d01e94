"""Requests and answers as in https://bybit-exchange.github.io/docs/v5/market/instrument"""

import json
from typing import Any

import pytest

from ingest.simulator.bars import SECOND_NS
from ingest.simulator.bybit.exchange import Bybit
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import Answer

START_NS = 1_795_335_330 * SECOND_NS
NOW_NS = START_NS + 400 * SECOND_NS


@pytest.fixture
def exchange() -> Bybit:
    exchange = Bybit(Market([listing("BTC/USDT"), listing("ETH/BTC")], rate=100, seed=1, start_ns=START_NS), START_NS)
    exchange.advance(NOW_NS)
    return exchange


def get(exchange: Bybit, target: str) -> Any:
    answer = json.loads(exchange.rest.get(f"/v5/market/{target}", NOW_NS).body)
    assert (answer["retCode"], answer["retMsg"], answer["time"]) == (0, "OK", NOW_NS // 10**6)
    return answer["result"]


def test_time(exchange: Bybit):
    assert get(exchange, "time") == {"timeSecond": "1795335730", "timeNano": "1795335730000000000"}


def test_instruments_have_their_steps(exchange: Bybit):
    listed = get(exchange, "instruments-info?category=spot")["list"]
    facts = [(i["symbol"], i["baseCoin"], i["quoteCoin"], i["status"], i["priceFilter"]["tickSize"]) for i in listed]
    assert facts == [
        ("BTCUSDT", "BTC", "USDT", "Trading", "0.01"),
        ("ETHBTC", "ETH", "BTC", "Trading", "0.00001"),
    ]
    assert get(exchange, "instruments-info?category=spot&symbol=ETHBTC")["list"][0]["symbol"] == "ETHBTC"


def test_sixty_trades_come_and_no_more_newest_first(exchange: Bybit):
    rows = get(exchange, "recent-trade?category=spot&symbol=BTCUSDT&limit=1000")["list"]
    ids = [int(row["execId"]) for row in rows]
    assert ids == list(range(ids[0], ids[0] - 60, -1))
    assert get(exchange, "recent-trade?category=spot&symbol=BTCUSDT&limit=2")["list"] == rows[:2]
    assert " ".join(rows[0]) == "execId symbol price size side time isBlockTrade isRPITrade seq"


def test_a_book_has_the_ids_of_the_deepest_feed(exchange: Bybit):
    whole = get(exchange, "orderbook?category=spot&symbol=BTCUSDT&limit=1000")
    session = exchange.connect("/v5/public/spot")
    session.receive('{"op":"subscribe","args":["orderbook.1000.BTCUSDT"]}', NOW_NS)
    exchange.advance(NOW_NS)
    heard = json.loads(session.outgoing[1].text)["data"]
    assert (heard["u"], heard["b"], heard["a"]) == (whole["u"], whole["b"], whole["a"])
    assert len(get(exchange, "orderbook?category=spot&symbol=BTCUSDT")["b"]) == 1


def test_candles_come_newest_first(exchange: Bybit):
    def opened(query: str) -> list[int]:
        rows = get(exchange, f"kline?category=spot&symbol=BTCUSDT&interval=1&{query}")["list"]
        return [(int(row[0]) // 1000 - 1_795_335_300) // 60 for row in rows]

    assert opened("") == [7, 6, 5, 4, 3, 2, 1, 0]
    assert opened("limit=2") == [7, 6]
    assert opened("start=1795335420000&limit=2") == [3, 2]
    assert opened("start=1795335360000&end=1795335480000") == [3, 2, 1]


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("recent-trade?symbol=BTCUSDT", 10001),
        ("recent-trade?category=spot&symbol=btcusdt", 10001),
        ("instruments-info?category=linear", 10001),
        ("kline?category=spot&symbol=BTCUSDT&interval=7", 10001),
    ],
)
def test_a_bad_request_is_told_so_with_status_200(exchange: Bybit, target: str, code: int):
    answer = exchange.rest.get(f"/v5/market/{target}", NOW_NS)
    assert (answer.status, json.loads(answer.body)["retCode"]) == (200, code)


def test_600_requests_in_five_seconds_are_allowed_and_one_more_bans_for_ten_minutes(exchange: Bybit):
    answers = [exchange.rest.get("/v5/market/time", NOW_NS + i) for i in range(601)]
    later = [exchange.rest.get("/v5/market/time", NOW_NS + s * SECOND_NS).status for s in (599, 601)]
    assert ([answer.status for answer in answers], answers[600], later) == (
        [200] * 600 + [403],
        Answer(403, b"403, access too frequent"),
        [403, 200],
    )


def test_there_is_nothing_elsewhere(exchange: Bybit):
    assert exchange.rest.get("/v5/market/nothing", NOW_NS).status == 404


def test_which_stream_a_request_is_about(exchange: Bybit):
    targets = ("orderbook?", "recent-trade?", "kline?interval=60&", "time?")
    assert [exchange.rest.asks_for(f"/v5/market/{target}symbol=BTCUSDT") for target in targets] == [
        "md:{bybit}:orderbook:BTC-USDT",
        "md:{bybit}:trades:BTC-USDT",
        "md:{bybit}:candles-1h:BTC-USDT",
        None,
    ]
