"""What clients hear, set against what the market did. Shapes are those of Kraken's documents:
https://docs.kraken.com/api/docs/websocket-v2/trade
"""

import json
import re
from typing import Any

import pytest

from ingest.simulator import ledger
from ingest.simulator.bars import SECOND_NS
from ingest.simulator.kraken.exchange import Kraken
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

START_NS = 1_795_335_330 * SECOND_NS  # 8:15:30


def exchange(rate: int = 200) -> Kraken:
    return Kraken(Market([listing("BTC/USD"), listing("ETH/USD")], rate=rate, seed=1, start_ns=START_NS), START_NS)


def hear(seconds: int = 10, rate: int = 200, **params: Any) -> tuple[list[bytes], list[Any], Kraken]:
    """The frames of a channel, the ledger, and the exchange."""
    live = exchange(rate)
    session = live.connect("/v2")
    session.receive(json.dumps({"method": "subscribe", "params": {"symbol": ["BTC/USD"], **params}}), START_NS)
    records = [*live.advance(START_NS)]
    records += live.advance(START_NS + seconds * SECOND_NS)
    begin = f'{{"channel":"{params["channel"]}"'.encode()
    return [frame.text for frame in session.outgoing if frame.text.startswith(begin)], records, live


def data(frames: list[bytes]) -> list[dict[str, Any]]:
    """All entries of all frames, numbers as they are written."""
    return [each for frame in frames for each in json.loads(frame, parse_float=str)["data"]]


def test_trades_are_told_in_the_documented_shape_with_all_digits_and_several_to_a_frame():
    frames, records, _ = hear(channel="trade")
    trades = data(frames)
    assert {" ".join(trade) for trade in trades} == {"symbol side price qty ord_type trade_id timestamp"}
    assert re.search(rb'"price":\d+\.\d,"qty":\d+\.\d{8},', frames[0]) is not None
    assert max(len(json.loads(frame)["data"]) for frame in frames) > 1
    assert [(str(t["trade_id"]), t["price"], t["qty"], t["side"]) for t in trades] == [
        (record.s, record.price, record.amount, record.side) for record in records
    ]
    ids = [trade["trade_id"] for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_who_asks_for_a_snapshot_gets_the_last_fifty_trades_first():
    live = exchange()
    live.advance(START_NS + 60 * SECOND_NS)
    session = live.connect("/v2")
    params = {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True}
    session.receive(json.dumps({"method": "subscribe", "params": params}), START_NS)
    live.advance(START_NS + 70 * SECOND_NS)
    live.advance(START_NS + 80 * SECOND_NS)
    frames = [json.loads(frame.text) for frame in session.outgoing if b'"trade"' in frame.text][1:]
    ids = [trade["trade_id"] for frame in frames for trade in frame["data"]]
    assert (frames[0]["type"], len(frames[0]["data"]), frames[1]["type"]) == ("snapshot", 50, "update")
    assert ids == list(range(ids[0], ids[0] + len(ids)))


@pytest.mark.parametrize("trigger", ["trades", "bbo"])
def test_tickers_come_with_trades_or_with_the_best_prices(trigger: str):
    frames, records, _ = hear(channel="ticker", event_trigger=trigger)
    tickers = data(frames)
    assert json.loads(frames[0])["type"] == "snapshot"
    assert {" ".join(ticker) for ticker in tickers} == {
        "symbol bid bid_qty ask ask_qty last volume vwap low high change change_pct trades timestamp"
    }
    assert [(t["bid"], t["ask_qty"], t["last"], t["volume"]) for t in tickers] == [
        (record.bid, record.ask_amount, record.last, record.volume) for record in records
    ]
    counts = [ticker["trades"] for ticker in tickers]
    assert (len(counts), len(set(counts)) == len(counts)) == (len(records), trigger == "trades")
    assert len({record.s for record in records}) == len(records)


def test_candles_come_with_trades_only_and_the_ledger_knows_when_they_close():
    frames, records, live = hear(seconds=200, rate=2, channel="ohlc", interval=1)
    candles = [each for each in data(frames) if each["symbol"] == "BTC/USD"]
    assert {" ".join(candle) for candle in candles} == {
        "symbol open high low close trades volume vwap interval_begin interval timestamp"
    }
    assert candles[0]["interval_begin"] == "2026-11-22T08:15:00.000000000Z"
    closed = [record for record in records if isinstance(record, ledger.Candle) and record.closed]
    rows = json.loads(live.rest.get("/0/public/OHLC?pair=XBTUSD", START_NS).body)["result"]["XXBTZUSD"][:-1]
    assert [(r.open_ns // SECOND_NS, r.open, r.high, r.low, r.close, r.volume) for r in closed] == [
        (row[0], *row[1:5], row[6] if row[7] else "0") for row in rows
    ]
    told = {json.loads(frame)["data"][-1]["trades"] for frame in frames}
    assert 0 not in told


def test_the_ledger_tells_of_each_change_of_a_book_however_deep():
    _, records, _ = hear(channel="book", depth=10)
    changes = [record for record in records if isinstance(record, ledger.Change)]
    numbers = [(int(change.first), int(change.s)) for change in changes]
    assert [first for first, _ in numbers[1:]] == [last + 1 for _, last in numbers[:-1]]
    assert len(changes) == len(records)


def test_instruments_are_told_as_one_object():
    live = exchange()
    session = live.connect("/v2")
    session.receive('{"method":"subscribe","params":{"channel":"instrument"},"req_id":1}', START_NS)
    live.advance(START_NS)
    _, answer, snapshot = (json.loads(frame.text) for frame in session.outgoing)
    assert (answer["success"], snapshot["type"]) == (True, "snapshot")
    pairs = {pair["symbol"]: (pair["price_precision"], pair["qty_precision"]) for pair in snapshot["data"]["pairs"]}
    assert pairs == {"BTC/USD": (1, 8), "ETH/USD": (2, 8)}


def test_the_same_seed_says_the_same_bytes():
    assert hear(channel="book", depth=25)[:2] == hear(channel="book", depth=25)[:2]
