"""REST as Coinbase's documents show it: https://docs.cdp.coinbase.com/exchange/reference"""

import json
from typing import Any

import pytest

from ingest.simulator.coinbase.exchange import Coinbase
from ingest.simulator.coinbase.rest import CALLS_AT_ONCE
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

SECOND = 1_000_000_000
START_NS = 1_795_335_300 * SECOND
TRADES = "/products/BTC-USD/trades"
CANDLES = "/products/BTC-USD/candles?granularity=60"


def exchange(seconds: int = 200, rate: int = 20) -> Coinbase:
    live = Coinbase(Market([listing("BTC/USD")], rate=rate, seed=1, start_ns=START_NS), START_NS)
    live.advance(START_NS + seconds * SECOND)
    return live


def got(live: Coinbase, target: str, at_s: float = 200) -> Any:
    answer = live.rest.get(target, START_NS + int(at_s * SECOND))
    return answer.status, json.loads(answer.body)


def rows(live: Coinbase, target: str, at_s: float = 200) -> Any:
    status, body = got(live, target, at_s)
    assert status == 200
    return body


def ids(live: Coinbase, target: str, at_s: float = 200) -> list[int]:
    return [row["trade_id"] for row in rows(live, target, at_s)]


def newest(live: Coinbase) -> int:
    (pair,) = live.market.pairs
    return pair.last.id


def test_a_page_of_trades_is_newest_first_and_below_its_cursor():
    live = exchange()
    last = newest(live)
    answer = live.rest.get(f"{TRADES}?limit=3&after={last}", START_NS + 200 * SECOND)
    page = [row["trade_id"] for row in json.loads(answer.body)]
    ends = (("CB-BEFORE", str(last - 1)), ("CB-AFTER", str(last - 3)))
    assert (page, answer.headers) == ([last - 1, last - 2, last - 3], ends)


def test_of_those_above_a_cursor_the_newest_come_and_not_the_next_ones():
    live = exchange()
    assert ids(live, f"{TRADES}?limit=2&before={newest(live) - 9}") == [newest(live), newest(live) - 1]


def test_below_all_and_above_all_there_is_nothing():
    live = exchange()
    (pair,) = live.market.pairs
    oldest = pair.trades(None, 1 << 20)[0].id
    assert (ids(live, f"{TRADES}?after={oldest}"), ids(live, f"{TRADES}?before={newest(live)}")) == ([], [])


def test_a_page_without_a_cursor_is_six_seconds_old_at_worst():
    live = exchange()
    first = ids(live, f"{TRADES}?limit=1")
    live.advance(START_NS + 230 * SECOND)
    kept, fresh = ids(live, f"{TRADES}?limit=1", 205), ids(live, f"{TRADES}?limit=1", 206)
    assert (kept, fresh) == (first, [newest(live)])


def test_rows_of_candles_are_seconds_low_high_open_close_and_volume_newest_first():
    live = exchange()
    (pair,) = live.market.pairs
    bars = pair.bars.closed("1m")
    both = rows(live, f"{CANDLES}&start=2026-11-22T08:16:00Z&end=2026-11-22T08:17:00Z")
    price, amount = live._listed[pair].price, live._listed[pair].amount
    expected = [
        [b.open_ns // SECOND, *map(float, (*map(price, (b.low, b.high, b.open, b.close)), amount(b.lots)))]
        for b in (bars[2], bars[1])
    ]
    assert both == expected


def test_without_a_range_candles_are_minutes_old():
    live = exchange()
    first = rows(live, CANDLES)
    live.advance(START_NS + 400 * SECOND)
    assert (rows(live, CANDLES, 499) == first, rows(live, CANDLES, 500) == first) == (True, False)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        (f"{CANDLES}0", (400, {"message": "Unsupported granularity"})),
        (
            f"{CANDLES}&start=2026-11-22T03:00:00Z&end=2026-11-22T08:15:00Z",
            (400, {"message": "granularity too small for the requested time range. Count of aggregations > 300"}),
        ),
        ("/products/FOO-USD/trades", (404, {"message": "NotFound"})),
        ("/products/BTC-USD/foo", (404, {"message": "NotFound"})),
        (f"{TRADES}?after=x", (400, {"message": "Invalid after"})),
    ],
)
def test_what_is_not_there_is_refused(target: str, answer: Any):
    assert got(exchange(), target) == answer


def test_the_best_of_a_book_and_all_of_it():
    live = exchange()
    best, whole = rows(live, "/products/BTC-USD/book"), rows(live, "/products/BTC-USD/book?level=2")
    assert (best["bids"], best["asks"]) == (whole["bids"][:1], whole["asks"][:1])
    assert (len(whole["bids"]) > 10, best["sequence"] == whole["sequence"]) == (True, True)


def test_ten_requests_a_second_are_answered_and_one_too_many_is_not_told_when_to_come_again():
    live = exchange()
    answers = [live.rest.get("/time", START_NS) for _ in range(CALLS_AT_ONCE + 1)]
    later = [live.rest.get("/time", START_NS + SECOND).status for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * CALLS_AT_ONCE + [429]
    assert (answers[-1].headers, later) == ((), [200] * 10 + [429])


def test_what_a_request_is_about():
    live = exchange()
    targets = (f"{TRADES}?limit=1", "/products/BTC-USD/book?level=1", "/products", "/products/FOO-USD/book")
    assert [live.rest.asks_for(target) for target in targets] == [
        "md:{coinbase}:trades:BTC-USD",
        "md:{coinbase}:orderbook:BTC-USD",
        None,
        None,
    ]
