"""What clients hear, set against what the market did. Shapes are those of OKX's documents:
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-all-trades-channel
"""

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from ingest.simulator import ledger
from ingest.simulator.bars import SECOND_NS
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.okx.exchange import Okx
from ingest.simulator.okx.session import BUSINESS, PUBLIC
from ingest.simulator.venue import Close, Frame

START_NS = 1_795_335_330 * SECOND_NS  # 8:15:30


def exchange(rate: int = 200) -> Okx:
    return Okx(Market([listing("BTC/USDT"), listing("ETH/USDT")], rate=rate, seed=1, start_ns=START_NS), START_NS)


def session(live: Okx, path: str, channel: str) -> Any:
    one = live.connect(path)
    arg = {"channel": channel, "instId": "BTC-USDT"}
    one.receive(json.dumps({"op": "subscribe", "args": [arg]}), START_NS)
    one.outgoing.clear()
    return one


def hear(path: str, channel: str, seconds: int = 10, rate: int = 200) -> tuple[list[Any], list[Any]]:
    """The frames of a channel, and the ledger."""
    live = exchange(rate)
    one = session(live, path, channel)
    records = [*live.advance(START_NS + seconds * SECOND_NS)]
    return [json.loads(frame.text) for frame in one.outgoing], records


def rows(frames: list[Any]) -> list[Any]:
    return [row for frame in frames for row in frame["data"]]


def test_each_match_is_told_by_itself_with_consecutive_ids_and_the_newest_one_first():
    frames, records = hear(BUSINESS, "trades-all")
    trades = rows(frames)
    assert (frames[0]["arg"], {" ".join(trade) for trade in trades}) == (
        {"channel": "trades-all", "instId": "BTC-USDT"},
        {"instId tradeId px sz side source ts"},
    )
    assert [(t["tradeId"], t["px"], t["sz"], t["side"], int(t["ts"]) * 1_000_000) for t in trades] == [
        (r.s, r.price, r.amount, r.side, r.exchange_ns) for r in records
    ]
    assert [int(t["tradeId"]) for t in trades] == list(
        range(int(trades[0]["tradeId"]), int(trades[0]["tradeId"]) + len(trades))
    )


def test_a_subscription_begins_with_a_trade_that_was_told_before():
    live = exchange()
    first = session(live, BUSINESS, "trades-all")
    live.advance(START_NS + 5 * SECOND_NS)
    second = session(live, BUSINESS, "trades-all")
    records = live.advance(START_NS + 5 * SECOND_NS + 100_000_000)
    told = [[frame.text for frame in each.outgoing] for each in (first, second)]
    assert (told[1][0] in told[0], len({record.s for record in records}) == len(records)) == (True, True)


def test_the_updates_of_a_book_are_a_chain_from_its_snapshot_to_what_rest_has():
    live = exchange()
    one = session(live, PUBLIC, "books")
    live.advance(START_NS + 10 * SECOND_NS)
    whole, *updates = [json.loads(frame.text) for frame in one.outgoing]
    assert (whole["action"], whole["data"][0]["prevSeqId"], {each["action"] for each in updates}) == (
        "snapshot",
        -1,
        {"update"},
    )
    book: dict[str, dict[str, str]] = {"asks": {}, "bids": {}}
    last = -1
    for data in rows([whole, *updates]):
        assert (data["prevSeqId"], data["checksum"]) == (last, 0)
        last = data["seqId"]
        for name, side in book.items():
            side.update((row[0], row[1]) for row in data[name])
    answer = live.rest.get("/api/v5/market/books?instId=BTC-USDT&sz=400", START_NS + 10 * SECOND_NS)
    (rest,) = json.loads(answer.body)["data"]
    assert (last, {name: {p: a for p, a in side.items() if a != "0"} for name, side in book.items()}) == (
        rest["seqId"],
        {name: {row[0]: row[1] for row in rest[name]} for name in book},
    )


def test_a_book_that_rests_says_so_each_minute():
    frames, _ = hear(PUBLIC, "books", seconds=130, rate=0)
    whole, *quiet = rows(frames)
    newest = {"prevSeqId": whole["seqId"], "seqId": whole["seqId"]}
    assert [{**each, "ts": ""} for each in quiet] == 2 * [{"asks": [], "bids": [], "ts": "", **newest, "checksum": 0}]


def test_a_book_that_counts_anew_names_the_update_before_it():
    live = exchange()
    one = session(live, PUBLIC, "books")
    live.advance(START_NS + SECOND_NS)
    live.begin_anew()
    late = session(live, PUBLIC, "books")
    live.advance(START_NS + 2 * SECOND_NS)
    ids = [(data["prevSeqId"], data["seqId"]) for data in rows([json.loads(frame.text) for frame in one.outgoing])]
    heard = [(data["prevSeqId"], data["seqId"]) for data in rows([json.loads(frame.text) for frame in late.outgoing])]
    assert [before for before, _ in ids[1:]] == [after for _, after in ids[:-1]]
    assert (sum(after < before for before, after in ids), heard[1:]) == (1, ids[-len(heard) + 1 :])


def test_a_ticker_is_told_when_it_changes_ten_times_a_second_at_most():
    frames, records = hear(PUBLIC, "tickers")
    tickers = rows(frames)
    assert [(t["bidPx"], t["askPx"], t["last"], t["volCcy24h"], f"ticker.{t['ts']}000000") for t in tickers] == [
        (r.bid, r.ask, r.last, r.quote_volume, r.s) for r in records
    ]
    times = [int(t["ts"]) for t in tickers]
    assert (min(b - a for a, b in pairwise(times)) >= 100, len(times) > 20) == (True, True)


def test_an_empty_side_is_an_empty_text():
    live = exchange(rate=0)
    book = live.market.pairs[0].book
    book.market(buying=True, lots=1 << 60)
    one = session(live, PUBLIC, "tickers")
    live.advance(START_NS + SECOND_NS)
    (ticker,) = rows([json.loads(frame.text) for frame in one.outgoing])
    assert (ticker["askPx"], ticker["askSz"], ticker["bidPx"] != "") == ("", "", True)


def test_a_candle_grows_once_a_second_and_is_confirmed_at_its_end():
    frames, records = hear(BUSINESS, "candle1m", seconds=95)
    candles = rows(frames)
    assert {len(row) for row in candles} == {9}
    opens = sorted({row[0] for row in candles})
    last_words = [[row[8] for row in candles if row[0] == at][-1] for at in opens]
    assert (last_words, [r.closed for r in records if r.closed]) == (["1", "1", "0"], [True, True])
    assert len(candles) <= 100


def test_of_an_interval_without_trades_nothing_is_told_and_the_ledger_has_it():
    frames, records = hear(BUSINESS, "candle1s", seconds=10, rate=1)
    closed = [record for record in records if record.closed]
    assert (len(closed), len(frames) < 10, {record.volume for record in closed} > {"0"}) == (10, True, True)


def test_a_server_that_says_so_closes_its_connections_a_minute_later():
    live = exchange()
    one = session(live, PUBLIC, "books")
    notice = json.loads(live.notice())
    live.advance(START_NS + 59 * SECOND_NS)
    before = one.ending
    live.advance(START_NS + 61 * SECOND_NS)
    assert (notice["event"], notice["code"], before, one.ending) == (
        "notice",
        "64008",
        None,
        Close(4006, "Abnormal disconnection"),
    )


def test_only_the_two_paths_are_admitted_and_three_a_second():
    live = exchange()
    admitted = [live.admit(path, START_NS) for path in ("/ws", PUBLIC, BUSINESS, PUBLIC, PUBLIC)]
    assert [answer and answer.status for answer in admitted] == [404, None, None, None, 429]
    assert live.admit(PUBLIC, START_NS + SECOND_NS) is None


def test_a_crossed_update_has_a_bid_above_the_best_ask():
    live = exchange()
    one = session(live, PUBLIC, "books")
    live.advance(START_NS + SECOND_NS)
    whole, update = one.outgoing[0], one.outgoing[-1]
    crossed = live.crossed(update)
    assert crossed is not None
    (before,), (after,) = (json.loads(text)["data"] for text in (update.text, crossed))
    top = live.market.pairs[0].book.top()
    bid = [listing("BTC/USDT").price(top.ask + 1).rstrip("0").rstrip("."), "0.00001", "0", "1"]
    assert (live.crossed(whole), after["bids"]) == (None, [*before["bids"], bid])
    assert live.miscounted(update) is None


@pytest.mark.parametrize("step_ns", [1_000_000, 70_000_000, 3 * SECOND_NS])
def test_however_time_is_cut_the_same_is_said(step_ns: int):
    def told(step: int) -> tuple[list[Frame], list[ledger.Event]]:
        live, at_ns, records = exchange(), START_NS, []
        sessions = [session(live, PUBLIC, "books"), session(live, BUSINESS, "candle1s")]
        while at_ns < START_NS + 3 * SECOND_NS:
            at_ns = min(at_ns + step, START_NS + 3 * SECOND_NS)
            records += live.advance(at_ns)
        return [frame for one in sessions for frame in one.outgoing], records

    assert msgspec.json.encode(told(step_ns)) == msgspec.json.encode(told(10_000_000))
