"""Answers as Kraken's documents show them: https://docs.kraken.com/api/docs/rest-api/get-recent-trades"""

import json
from typing import Any

import pytest

from ingest.simulator.bars import SECOND_NS
from ingest.simulator.kraken.exchange import Kraken
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

START_NS = 1_795_335_330 * SECOND_NS


@pytest.fixture
def live() -> Kraken:
    market = Market([listing("BTC/USD"), listing("SOL/USDT")], rate=200, seed=1, start_ns=START_NS)
    live = Kraken(market, START_NS)
    live.advance(START_NS + 130 * SECOND_NS)
    return live


def get(live: Kraken, target: str, at_s: int = 130) -> Any:
    answer = live.rest.get(f"/0/public/{target}", START_NS + at_s * SECOND_NS)
    assert answer.status == 200
    return json.loads(answer.body)


def test_pairs_have_names_of_many_kinds(live: Kraken):
    pairs = get(live, "AssetPairs")["result"]
    display = get(live, "AssetPairs?pair=XBTUSD&assetVersion=1")["result"]
    fields = ("altname", "wsname", "base", "quote", "pair_decimals", "lot_decimals", "tick_size", "status")
    assert {name: [pair[field] for field in fields] for name, pair in (pairs | display).items()} == {
        "XXBTZUSD": ["XBTUSD", "XBT/USD", "XXBT", "ZUSD", 1, 8, "0.1", "online"],
        "SOLUSDT": ["SOLUSDT", "SOL/USDT", "SOL", "USDT", 2, 8, "0.01", "online"],
        "BTC/USD": ["XBTUSD", "XBT/USD", "BTC", "USD", 1, 8, "0.1", "online"],
    }


def test_a_book_has_other_digits_than_the_stream(live: Kraken):
    book = get(live, "Depth?pair=XBTUSD&count=2")["result"]["XXBTZUSD"]
    price, amount, seconds = book["asks"][0]
    assert ([len(book["asks"]), len(book["bids"])], seconds) == ([2, 2], 1_795_335_460)
    assert (len(price.partition(".")[2]), len(amount.partition(".")[2])) == (5, 3)


def test_a_page_of_no_trades_is_empty(live: Kraken):
    page = get(live, f"Trades?pair=XBTUSD&since={START_NS}&count=0")["result"]
    assert page == {"XXBTZUSD": [], "last": str(START_NS)}


def test_trades_page_by_page_are_all_trades(live: Kraken):
    since, rows = START_NS - 1, []
    while True:
        result = get(live, f"Trades?pair=XXBTZUSD&since={since}&count=100", 130 + 10 * len(rows))["result"]
        if not result["XXBTZUSD"]:
            break
        rows += result["XXBTZUSD"]
        since = result["last"]
    ids = [row[6] for row in rows]
    newest = get(live, "Trades?pair=XBTUSD")["result"]["XXBTZUSD"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert (len(rows) > 300, newest) == (True, rows[-1000:])
    assert {(row[3] in "bs", row[4], row[5], len(row[0].partition(".")[2])) for row in rows} == {(True, "m", "", 5)}


def test_candles_end_with_the_one_that_grows(live: Kraken):
    result = get(live, "OHLC?pair=XBTUSD&interval=1")["result"]
    begins = [row[0] for row in result["XXBTZUSD"]]
    later = get(live, f"OHLC?pair=XBTUSD&interval=1&since={begins[1]}")["result"]["XXBTZUSD"]
    assert (begins, result["last"]) == (list(range(1_795_335_300, 1_795_335_461, 60)), begins[-2])
    assert later == result["XXBTZUSD"][1:]


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("Depth?pair=FOOUSD", "EQuery:Unknown asset pair"),
        ("Trades", "EQuery:Unknown asset pair"),
        ("Trades?pair=XBTUSD&since=x", "EGeneral:Invalid arguments"),
        ("OHLC?pair=XBTUSD&interval=7", "EGeneral:Invalid arguments"),
    ],
)
def test_errors_come_with_status_200(live: Kraken, target: str, error: str):
    assert get(live, target) == {"error": [error]}


def test_who_asks_too_often_is_told_so_and_trades_are_counted_by_pair(live: Kraken):
    answers = [get(live, "Time").get("error") for _ in range(16)]
    others = [get(live, f"Trades?pair={pair}")["error"] for pair in ("XBTUSD", "SOLUSDT")]
    later = get(live, "Time", 131)
    assert answers == [[]] * 15 + [["EGeneral:Too many requests"]]
    assert (others, later) == ([[], []], {"error": [], "result": {"unixtime": 1_795_335_461}})


def test_there_is_nothing_elsewhere(live: Kraken):
    assert live.rest.get("/0/public/Nothing", START_NS).status == 404
