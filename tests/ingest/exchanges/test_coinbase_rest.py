"""What Coinbase answers by REST. The rows are of the shapes of its documentation."""

import json

from ingest.contract.events import Candle, Trade
from ingest.exchanges.candles import Interval, flat
from ingest.exchanges.coinbase_rest import CandlePage, bucket_of, page_from, past_trades

NOW = 1_795_342_500_000_000_000  # 2026-11-22T10:15:00Z
HOUR_MS = 3_600_000
OPEN_MS = 1_795_327_200_000  # 2026-11-22T06:00:00Z


def candle(open_ms, opened, high, low, close, volume):
    return Candle(
        open_ns=open_ms * 1_000_000,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        closed=True,
        received_ns=NOW,
    )


def test_trades_come_oldest_first_and_name_the_taker():
    body = (
        b'[{"trade_id":987654321,"side":"buy","size":"0.01000000","price":"61250.09","time":"2026-11-22T08:15:30.5Z"},'
        b'{"trade_id":987654320,"side":"sell","size":"1","price":"61250.10","time":"2026-11-22T08:15:29Z"}]'
    )
    second = 1_795_335_329_000_000_000
    older = Trade(price="61250.10", amount="1", side="buy", received_ns=NOW, exchange_ns=second)
    newer = Trade(
        price="61250.09", amount="0.01000000", side="sell", received_ns=NOW, exchange_ns=second + 1_500_000_000
    )
    assert past_trades(body, NOW) == [(987654320, older), (987654321, newer)]


def test_candles_are_put_together_of_buckets_and_what_is_missing_in_between_is_flat():
    page = page_from("2h", OPEN_MS)
    rows = [
        [OPEN_MS // 1000 + 10_800, 61238.00, 61262.20, 61240.00, 61250.09, 12.48],
        [OPEN_MS // 1000 - 3_600, 5.10, 9.00, 6.00, 7.50, 0.25],
        [OPEN_MS // 1000 - 7_200, 4.90, 8.00, 5.00, 6.00, 0.5],
        [OPEN_MS // 1000 - 10_800, 1.00, 1.00, 1.00, 1.00, 1.00],
    ]
    before, between, last = page.closed(json.dumps(rows).encode(), NOW)
    assert (before, between, last) == (
        Interval(candle(OPEN_MS - 2 * HOUR_MS, "5.0", "9.0", "4.9", "7.5", "0.75"), OPEN_MS - 1, "closed"),
        flat(OPEN_MS, 2 * HOUR_MS, "7.5", NOW),
        Interval(
            candle(OPEN_MS + 2 * HOUR_MS, "61240.0", "61262.2", "61238.0", "61250.09", "12.48"),
            OPEN_MS + 4 * HOUR_MS - 1,
            "closed",
        ),
    )


def test_what_has_just_ended_is_not_believed_yet():
    now_ns = (OPEN_MS + 60_000 + 4_000) * 1_000_000
    rows = [[OPEN_MS // 1000, 1, 1, 1, 1, 1], [OPEN_MS // 1000 - 60, 1, 1, 1, 1, 1]]
    said = page_from("1m", OPEN_MS).closed(json.dumps(rows).encode(), now_ns)
    assert [interval.open_ms for interval in said] == [OPEN_MS - 60_000]


def test_no_request_is_for_more_buckets_than_are_allowed():
    intervals = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")
    pages = [page_from(interval, OPEN_MS) for interval in intervals]
    buckets = [(page.end_ms - page.begin_ms) // page.bucket_ms for page in pages]
    assert (max(buckets) <= 300, min(buckets) > 290, page_from("1s", OPEN_MS)) == (True, True, None)


def test_a_part_of_an_interval_is_put_together_of_its_buckets():
    rows = [[OPEN_MS // 1000 + i * 60, 1 + i, 5 + i, 2, 3, 1] for i in (2, 1, 0, -1)]
    part = CandlePage("1h", OPEN_MS, OPEN_MS + 120_000, 60_000)
    params = (("granularity", "60"), ("start", "2026-11-22T06:00:00Z"), ("end", "2026-11-22T06:01:00Z"))
    assert (part.params, part.part(json.dumps(rows).encode(), NOW), part.part(b"[]", NOW)) == (
        params,
        candle(OPEN_MS, "2", "6", "1", "3", "2"),
        None,
    )


def test_buckets_are_the_shortest_of_which_a_request_has_all():
    buckets = {each: bucket_of(each) for each in ("1s", "1m", "3m", "1h", "4h", "6h", "1d", "3d", "1w")}
    assert buckets == {
        "1s": None,
        "1m": 60_000,
        "3m": 60_000,
        "1h": 60_000,
        "4h": 60_000,
        "6h": 300_000,
        "1d": 300_000,
        "3d": 900_000,
        "1w": 3_600_000,
    }
