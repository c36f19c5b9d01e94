"""What clients hear, set against what the market did. Shapes are those of Bybit's documents:
https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
"""

import json
from typing import Any

import pytest

from ingest.simulator import ledger
from ingest.simulator.bars import SECOND_NS
from ingest.simulator.bybit.exchange import Bybit
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import parse
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

START_NS = 1_795_335_330 * SECOND_NS  # 8:15:30


def exchange(rate: int = 200) -> Bybit:
    return Bybit(Market([listing("BTC/USDT"), listing("ETH/USDT")], rate=rate, seed=1, start_ns=START_NS), START_NS)


def hear(topic: str, seconds: int = 10, rate: int = 200) -> tuple[list[Any], list[Any], Any]:
    """The frames of a topic, the ledger, and the exchange."""
    live = exchange(rate)
    session = live.connect("/v5/public/spot")
    session.receive(json.dumps({"op": "subscribe", "args": [topic]}), START_NS)
    records = [*live.advance(START_NS)]
    records += live.advance(START_NS + seconds * SECOND_NS)
    frames = [json.loads(frame.text) for frame in session.outgoing]
    assert [set(frame) >= {"topic", "ts", "type", "data"} for frame in frames[1:]] == [True] * (len(frames) - 1)
    return frames[1:], records, live


def test_trades_are_told_in_the_documented_shape_and_several_to_a_frame():
    frames, records, _ = hear("publicTrade.BTCUSDT")
    trades = [trade for frame in frames for trade in frame["data"]]
    assert {" ".join(trade) for trade in trades} == {"i T p v S seq s BT RPI"}
    assert ({frame["type"] for frame in frames}, max(len(frame["data"]) for frame in frames) > 1) == (
        {"snapshot"},
        True,
    )
    assert [(t["i"], t["p"], t["v"], t["S"].lower(), t["T"] * 10**6) for t in trades] == [
        (record.s, record.price, record.amount, record.side, record.exchange_ns) for record in records
    ]
    assert min(int(trade["i"]) for trade in trades) > 1 << 53


def test_a_ticker_has_the_last_24_hours_and_no_best_prices():
    frames, records, _ = hear("tickers.BTCUSDT")
    assert [(f["ts"], f["data"]["lastPrice"], f["data"]["volume24h"]) for f in frames] == [
        (int(record.s.partition(".")[2]) // 10**6, record.last, record.volume) for record in records
    ]
    assert {" ".join(frame["data"]) for frame in frames} == {
        "symbol lastPrice highPrice24h lowPrice24h prevPrice24h volume24h turnover24h price24hPcnt usdIndexPrice"
    }
    assert len({record.s for record in records}) == len(records) > 10


def test_best_prices_are_snapshots_that_are_told_again_after_three_seconds():
    frames, records, _ = hear("orderbook.1.BTCUSDT")
    still, unchanged, _ = hear("orderbook.1.BTCUSDT", rate=0)
    assert [(f"book.{f['data']['u']}", *f["data"]["b"][0], *f["data"]["a"][0]) for f in frames] == [
        (record.s, record.bid, record.bid_amount, record.ask, record.ask_amount) for record in records
    ]
    assert [(frame["data"]["u"], frame["type"]) for frame in still] == [(still[0]["data"]["u"], "snapshot")] * len(
        still
    )
    assert (len(still), len(unchanged), len(records) > 20) == (4, 1, True)


@pytest.mark.parametrize("depth", [50, 200, 1000])
def test_a_book_is_told_whole_and_then_by_its_changes_one_by_one(depth: int):
    (whole, *changes), records, live = hear(f"orderbook.{depth}.BTCUSDT", seconds=60)
    book = [dict(whole["data"]["b"]), dict(whole["data"]["a"])]
    for change in changes:
        for side, levels in zip(book, (change["data"]["b"], change["data"]["a"]), strict=True):
            for price, amount in levels:
                if amount == "0":
                    del side[price]
                else:
                    side[price] = amount
    listed = next(iter(live._listed.values()))
    sides = listed.pair.book.bids, listed.pair.book.asks
    assert book == [dict(listed.levels(side.levels(depth))) for side in sides]
    assert (whole["type"], {change["type"] for change in changes}) == ("snapshot", {"delta"})
    ids = [frame["data"]["u"] for frame in (whole, *changes)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert [record.s for record in records] == ([str(u) for u in ids[1:]] if depth == 1000 else [])


def test_candles_grow_and_say_when_they_close():
    frames, records, live = hear("kline.1.BTCUSDT", seconds=200)
    candles = [candle for frame in frames for candle in frame["data"]]
    assert {" ".join(candle) for candle in candles} == {
        "start end interval open close high low volume turnover confirm timestamp"
    }
    assert [(c["start"] * 10**6, c["open"], c["volume"], c["confirm"]) for c in candles] == [
        (record.open_ns, record.open, record.volume, record.closed) for record in records
    ]
    answer = live.rest.get("/v5/market/kline?category=spot&symbol=BTCUSDT&interval=1", START_NS)
    rows = json.loads(answer.body)["result"]
    closed = [
        [str(c["start"]), c["open"], c["high"], c["low"], c["close"], c["volume"]] for c in candles if c["confirm"]
    ]
    assert closed == [row[:6] for row in rows["list"][:0:-1]]


def test_when_the_service_starts_again_books_are_number_1():
    live = Disturbed(exchange(), START_NS)
    live.strike(parse("series@5s"))
    session = live.connect("/v5/public/spot")
    session.receive('{"op":"subscribe","args":["orderbook.1.BTCUSDT","orderbook.1000.BTCUSDT"]}', START_NS)
    records = [*live.advance(START_NS), *live.advance(START_NS + 10 * SECOND_NS)]
    frames = [json.loads(frame.text) for frame in session.outgoing][1:]
    begun = [(f["topic"], f["type"]) for f in frames if f["data"]["u"] == 1]
    assert begun == [("orderbook.1.BTCUSDT", "snapshot"), ("orderbook.1000.BTCUSDT", "snapshot")]
    assert [record.s for record in records if isinstance(record, ledger.Ticker)].count("book.1") == 1


def test_a_crossed_frame_has_a_bid_above_the_best_ask():
    def told(*faults: str) -> list[Any]:
        live = Disturbed(exchange(), START_NS)
        for fault in faults:
            live.strike(parse(fault))
        session = live.connect("/v5/public/spot")
        session.receive('{"op":"subscribe","args":["orderbook.1000.BTCUSDT"]}', START_NS)
        live.advance(START_NS)
        live.advance(START_NS + 5 * SECOND_NS)
        return [json.loads(frame.text) for frame in session.outgoing]

    ((right, crossed),) = [pair for pair in zip(told(), told("crossed@1s"), strict=True) if pair[0] != pair[1]]
    *bids, added = crossed["data"]["b"]
    assert ({**crossed, "data": {**crossed["data"], "b": bids}}, float(added[0]) > 61_000) == (right, True)


def test_the_same_seed_says_the_same_bytes():
    assert hear("orderbook.50.BTCUSDT")[:2] == hear("orderbook.50.BTCUSDT")[:2]
