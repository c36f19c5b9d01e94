"""Answers as OKX's documents show them: https://www.okx.com/docs-v5/en/#order-book-trading-market-data"""

import json
from typing import Any

import pytest

from ingest.simulator.bars import SECOND_NS
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.okx.exchange import Okx

START_NS = 1_795_335_330 * SECOND_NS


@pytest.fixture
def live() -> Okx:
    market = Market([listing("BTC/USDT"), listing("DOGE/USDT")], rate=200, seed=1, start_ns=START_NS)
    live = Okx(market, START_NS)
    live.advance(START_NS + 130 * SECOND_NS)
    return live


def get(live: Okx, target: str, at_s: int = 130) -> Any:
    answer = live.rest.get(f"/api/v5/{target}", START_NS + at_s * SECOND_NS)
    assert answer.status == 200
    body = json.loads(answer.body)
    return body["data"] if body["code"] == "0" else (body["code"], body["msg"])


def test_instruments_name_base_and_quote_and_their_steps(live: Okx):
    rows = get(live, "public/instruments?instType=SPOT")
    assert [[row[name] for name in ("instId", "baseCcy", "quoteCcy", "tickSz", "lotSz", "state")] for row in rows] == [
        ["BTC-USDT", "BTC", "USDT", "0.01", "0.00001", "live"],
        ["DOGE-USDT", "DOGE", "USDT", "0.00001", "1", "live"],
    ]


def test_pages_of_trades_go_back_from_an_id_newest_first_and_are_all_trades(live: Okx):
    newest = get(live, "market/history-trades?instId=BTC-USDT&limit=3")
    ids = [int(row["tradeId"]) for row in newest]
    assert ids == [ids[0], ids[0] - 1, ids[0] - 2]
    before, at_s = [], 131
    page = get(live, f"market/history-trades?instId=BTC-USDT&after={ids[-1]}&limit=100")
    while page:
        before += [int(row["tradeId"]) for row in page]
        at_s += 1
        page = get(live, f"market/history-trades?instId=BTC-USDT&after={before[-1]}", at_s)
    assert (before[0], len(before)) == (ids[-1] - 1, before[0] - before[-1] + 1)


def test_newer_than_an_id_alone_brings_the_newest_page(live: Okx):
    newest = get(live, "market/history-trades?instId=BTC-USDT&limit=100")
    before = int(newest[-1]["tradeId"]) - 500
    assert get(live, f"market/history-trades?instId=BTC-USDT&before={before}") == newest


def test_a_book_has_one_level_unless_more_are_asked_for(live: Okx):
    sizes = [
        (len(book["asks"]), len(book["bids"]))
        for query in ("", "&sz=7")
        for book in get(live, f"market/books?instId=BTC-USDT{query}")
    ]
    assert sizes == [(1, 1), (7, 7)]


def test_candles_are_newest_first_and_both_bounds_are_left_out(live: Okx):
    rows = get(live, "market/candles?instId=BTC-USDT&bar=1m")
    opens = [int(row[0]) for row in rows]
    inner = get(live, f"market/history-candles?instId=BTC-USDT&bar=1m&before={opens[-1]}&after={opens[0]}")
    assert (len(rows), [row[8] for row in rows], inner) == (3, ["0", "1", "1"], rows[1:-1])


def test_a_candle_without_trades_is_there_and_flat():
    market = Market([listing("BTC/USDT")], rate=0, seed=1, start_ns=START_NS)
    live = Okx(market, START_NS)
    live.advance(START_NS + 10 * SECOND_NS)
    rows = get(live, "market/candles?instId=BTC-USDT&bar=1s&limit=2", 10)
    assert [row[1:] for row in rows] == [[*4 * ["61250.1"], "0", "0", "0", "0"], [*4 * ["61250.1"], "0", "0", "0", "1"]]


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("market/books?instId=FOO-USDT", "51001"),
        ("market/books", "50014"),
        ("market/candles?instId=BTC-USDT&bar=7m", "51000"),
        ("market/history-trades?instId=BTC-USDT&after=x", "51000"),
        ("public/instruments?instType=MOON", "51000"),
    ],
)
def test_errors_come_with_status_200(live: Okx, target: str, code: str):
    assert get(live, target)[0] == code


def test_what_is_not_there_is_not_found(live: Okx):
    assert live.rest.get("/api/v4/market/books", START_NS).status == 404


def test_each_path_has_an_allowance_for_two_seconds(live: Okx):
    target, at_ns = "/api/v5/market/history-trades?instId=BTC-USDT", START_NS + 200 * SECOND_NS
    statuses = [live.rest.get(target, at_ns).status for _ in range(21)]
    other = live.rest.get("/api/v5/market/books?instId=BTC-USDT", at_ns).status
    later = live.rest.get(target, at_ns + 2 * SECOND_NS).status
    assert (statuses, other, later) == ([200] * 20 + [429], 200, 200)


def test_the_stream_that_a_request_is_about(live: Okx):
    targets = ("market/books", "market/history-trades", "market/candles", "public/time")
    about = [live.rest.asks_for(f"/api/v5/{target}?instId=BTC-USDT") for target in targets]
    assert about == [
        "md:{okx}:orderbook:BTC-USDT",
        "md:{okx}:trades:BTC-USDT",
        "md:{okx}:candles-1m:BTC-USDT",
        None,
    ]
