"""What clients hear, set against what the market did. Shapes are those of Binance's documents, keys in their order:
https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
"""

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from ingest.simulator import ledger
from ingest.simulator.bars import INTERVALS, MINUTE_NS, SECOND_NS
from ingest.simulator.binance.exchange import Binance
from ingest.simulator.binance.session import Session
from ingest.simulator.ledger import Record
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

START_NS = 1_795_335_330 * SECOND_NS  # 8:15:30
MS = 1_000_000


def exchange(rate: int = 200, seed: int = 1) -> Binance:
    symbols = [listing("BTC/USDT"), listing("ETH/USDT")]
    return Binance(Market(symbols, rate=rate, seed=seed, start_ns=START_NS), START_NS)


def heard(session: Session) -> list[dict[str, Any]]:
    frames = [json.loads(frame.text) for frame in session.outgoing]
    session.outgoing.clear()
    return frames


def rest(exchange: Binance, target: str) -> Any:
    return json.loads(exchange.rest.get(target, START_NS).body)


def hear(*names: str, seconds: float = 10, rate: int = 200) -> tuple[list[dict[str, Any]], list[Record], Binance]:
    """The data of the frames, the ledger, and the exchange."""
    live = exchange(rate)
    session = live.connect(f"/stream?streams={'/'.join(names)}")
    records = live.advance(START_NS + int(seconds * SECOND_NS))
    frames = heard(session)
    assert {frame["stream"] for frame in frames} <= set(names)
    return [frame["data"] for frame in frames], records, live


def shape(data: dict[str, Any]) -> str:
    return " ".join(data)


def test_every_trade_is_told_in_the_documented_shape():
    trades, records, live = hear("btcusdt@trade")
    history = rest(live, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={trades[0]['t']}&limit=1000")
    assert {shape(trade) for trade in trades} == {"e E s t p q T m M"}
    assert {(trade["e"], trade["s"], trade["M"], trade["E"] - trade["T"]) for trade in trades} == {
        ("trade", "BTCUSDT", True, 1)
    }
    assert [(trade["t"], trade["p"], trade["q"], trade["T"], trade["m"]) for trade in trades] == [
        (row["id"], row["price"], row["qty"], row["time"], row["isBuyerMaker"]) for row in history
    ]
    assert records == [
        ledger.Trade(
            key="md:{binance}:trades:BTC-USDT",
            s=str(trade["t"]),
            first=str(trade["t"]),
            price=trade["p"],
            amount=trade["q"],
            side="sell" if trade["m"] else "buy",
            exchange_ns=trade["T"] * MS,
        )
        for trade in trades
    ]


def test_a_buyer_who_was_the_maker_was_hit_at_the_bid():
    live = exchange()
    session = live.connect("/stream?streams=btcusdt@trade/btcusdt@bookTicker")
    live.advance(START_NS + 10 * SECOND_NS)
    top, checked = None, set()
    for frame in heard(session):
        data = frame["data"]
        if "u" in data:
            top = data
        elif top:
            if data["p"] == top["b" if data["m"] else "a"]:
                checked.add(data["m"])
                continue
            # A taker who went through the first level; the levels behind it are worse.
            assert (data["p"] < top["b"]) == data["m"]
    assert checked == {True, False}


def test_book_ticker_tells_the_top_whenever_it_changes():
    live = exchange()
    session = live.connect("/stream?streams=ethusdt@bookTicker")
    tops = []
    for step in range(400):
        live.advance(START_NS + step * 5 * MS)
        tops += [frame["data"] for frame in heard(session)]
        depth = rest(live, "/api/v3/depth?symbol=ETHUSDT&limit=1")
        if tops:
            newest = tops[-1]
            assert [[newest["b"], newest["B"]], [newest["a"], newest["A"]]] == [*depth["bids"], *depth["asks"]]
            assert newest["u"] <= depth["lastUpdateId"]
    assert len(tops) > 50
    assert {shape(top) for top in tops} == {"u s b B a A"}
    assert all(earlier["u"] < later["u"] for earlier, later in pairwise(tops))
    assert all({**earlier, "u": 0} != {**later, "u": 0} for earlier, later in pairwise(tops))


def test_a_snapshot_joined_to_the_depth_stream_is_the_book():
    live = exchange(rate=1000)
    session = live.connect("/stream?streams=btcusdt@depth@100ms")
    live.advance(START_NS + 250 * MS)
    snapshot = rest(live, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
    records = live.advance(START_NS + 5 * SECOND_NS)
    events = [frame["data"] for frame in heard(session)]
    assert {shape(event) for event in events} == {"e E s U u b a"}
    assert [event["E"] * MS for event in events] == [START_NS + n * 100 * MS for n in range(1, 51)]
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(events))
    assert max(event["u"] - event["U"] for event in events) > 10
    fresh = [event for event in events if event["u"] > snapshot["lastUpdateId"]]
    assert len(fresh) < len(events)
    assert fresh[0]["U"] <= snapshot["lastUpdateId"] + 1 <= fresh[0]["u"]
    book = {side: dict(snapshot[side]) for side in ("bids", "asks")}
    for event in fresh:
        for side, levels in (("bids", event["b"]), ("asks", event["a"])):
            for price, amount in levels:
                if float(amount):
                    book[side][price] = amount
                else:
                    book[side].pop(price, None)
    now = rest(live, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
    assert (fresh[-1]["u"], book) == (now["lastUpdateId"], {side: dict(now[side]) for side in ("bids", "asks")})
    assert [msgspec.to_builtins(record) for record in records] == [
        {
            "type": "delta",
            "key": "md:{binance}:orderbook:BTC-USDT",
            "s": str(event["u"]),
            "first": str(event["U"]),
            "bids": tuple(tuple(level) for level in event["b"]),
            "asks": tuple(tuple(level) for level in event["a"]),
        }
        for event in events[2:]
    ]


def test_a_quiet_book_sends_nothing_and_a_quiet_symbol_has_flat_candles():
    data, _, _ = hear("btcusdt@depth@100ms", "btcusdt@trade", "btcusdt@kline_1s", rate=0, seconds=3.4)
    flat = {(kline["k"]["o"], kline["k"]["c"], kline["k"]["v"], kline["k"]["f"]) for kline in data[3:]}
    assert {each["e"] for each in data} == {"kline"}
    assert flat == {("61250.10000000", "61250.10000000", "0.00000000", -1)}


def test_the_24_hour_ticker_is_the_fold_of_the_trades():
    tickers, records, live = hear("btcusdt@ticker", seconds=5)
    rows = rest(live, "/api/v3/historicalTrades?symbol=BTCUSDT&limit=1000")
    rows = [row for row in rows if row["time"] < tickers[-1]["E"]]
    prices = [row["price"] for row in rows]  # of one length, so that they sort as texts
    last = tickers[-1]
    assert {shape(ticker) for ticker in tickers} == {"e E s p P w x c Q b B a A o h l v q O C F L n"}
    assert [ticker["E"] * MS for ticker in tickers] == [START_NS + n * SECOND_NS for n in range(1, 6)]
    assert {key: last[key] for key in ("e", "s", "c", "Q", "o", "h", "l", "F", "L", "n", "C", "O")} == {
        "e": "24hrTicker",
        "s": "BTCUSDT",
        "c": prices[-1],
        "Q": rows[-1]["qty"],
        "o": prices[0],
        "h": max(prices),
        "l": min(prices),
        "F": rows[0]["id"],
        "L": rows[-1]["id"],
        "n": len(rows),
        "C": last["E"],
        "O": last["E"] - 86_400_000,
    }
    units = [(int(row["qty"].replace(".", "")), int(row["quoteQty"].replace(".", ""))) for row in rows]
    assert (last["v"].replace(".", ""), last["q"].replace(".", "")) == (
        f"{sum(amount for amount, _ in units):09d}",
        f"{sum(value for _, value in units):09d}",
    )
    assert msgspec.to_builtins(records[-1]) == {
        "type": "ticker",
        "key": "md:{binance}:ticker:BTC-USDT",
        "s": f"24hr.{last['E'] * MS}",
        "first": f"24hr.{last['E'] * MS}",
        "last": last["c"],
        "last_amount": last["Q"],
        "open": last["o"],
        "high": last["h"],
        "low": last["l"],
        "volume": last["v"],
        "quote_volume": last["q"],
    }


@pytest.mark.parametrize(("interval", "period_ms"), [("1s", 1000), ("1m", 2000), ("3m", 2000)])
def test_candles_are_told_on_time_and_closed_once_each(interval: str, period_ms: int):
    klines, records, live = hear(f"btcusdt@kline_{interval}", seconds=400, rate=20)
    length = INTERVALS[interval]
    opened = START_NS // length * length
    closed = [kline for kline in klines if kline["k"]["x"]]
    assert {shape(kline) + "|" + shape(kline["k"]) for kline in klines} == {"e E s k|t T s i f L o c h l v n x q V Q B"}
    assert [(each["k"]["t"] * MS, each["k"]["T"], each["E"]) for each in closed] == [
        (at, (at + length) // MS - 1, (at + length) // MS)
        for at in range(opened, START_NS + 400 * SECOND_NS - length + 1, length)
    ]
    forming = [kline["E"] for kline in klines if not kline["k"]["x"]]
    assert {later - earlier for earlier, later in pairwise(forming)} == {period_ms}
    rows = rest(live, f"/api/v3/klines?symbol=BTCUSDT&interval={interval}&limit=1000")[:-1]
    row_keys = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    assert rows == [[each["k"][key] for key in row_keys] for each in closed]
    assert [record.s for record in records] == [
        f"{kline['k']['t'] * MS}.{'closed' if kline['k']['x'] else kline['E'] * MS}" for kline in klines
    ]
    assert [record.closed for record in records if isinstance(record, ledger.Candle)] == [
        kline["k"]["x"] for kline in klines
    ]


def test_every_interval_is_told():
    names = [f"ethusdt@kline_{interval}" for interval in INTERVALS]
    klines, _, _ = hear(*names, seconds=2)
    assert {kline["k"]["i"] for kline in klines} == set(INTERVALS)


def test_a_raw_connection_hears_the_bare_data():
    live = exchange()
    raw, combined = live.connect("/ws/btcusdt@trade"), live.connect("/stream?streams=btcusdt@trade")
    live.advance(START_NS + SECOND_NS)
    assert [{"stream": "btcusdt@trade", "data": data} for data in heard(raw)] == heard(combined) != []


def test_an_unknown_symbol_is_accepted_and_silent():
    live = exchange()
    asking = live.connect("/stream")
    asking.receive('{"method":"SUBSCRIBE","params":["nosuch@trade"],"id":1}', START_NS)
    live.advance(START_NS + 2 * SECOND_NS)
    assert heard(asking) == [{"result": None, "id": 1}]


def test_trades_deltas_and_closed_candles_are_recorded_for_ever_the_rest_only_when_heard():
    live = exchange()
    names = "btcusdt@trade/btcusdt@depth@100ms/btcusdt@ticker/btcusdt@bookTicker/btcusdt@kline_1s"
    before = live.advance(START_NS + SECOND_NS)
    session = live.connect(f"/stream?streams={names}")
    during = live.advance(START_NS + 2 * SECOND_NS)
    told = len(heard(session))
    session.leave()
    after = live.advance(START_NS + 3 * SECOND_NS)
    kinds = [{type(record).__name__ for record in records} for records in (before, during, after)]
    assert kinds == [set(), {"Trade", "Delta", "Ticker", "Candle"}, {"Trade", "Delta", "Candle"}]
    assert {record.closed for record in after if isinstance(record, ledger.Candle)} == {True}
    assert (len(during), heard(session)) == (told, [])


def test_the_same_seed_says_the_same_bytes_however_time_is_cut():
    def told(seed: int, step_ms: int) -> tuple[list[bytes], list[Record]]:
        live = exchange(seed=seed)
        session = live.connect(
            "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms/ethusdt@kline_1s/ethusdt@ticker"
        )
        records: list[Record] = []
        for until_ms in range(0, 3001, step_ms):
            records += live.advance(START_NS + until_ms * MS)
        return list(session.outgoing), records

    assert told(3, 3000) == told(3, 5) != told(4, 3000)


def test_a_minute_that_was_slept_through_is_still_told_in_full():
    klines, _, _ = hear("btcusdt@kline_1s", seconds=2 * MINUTE_NS // SECOND_NS)
    assert sum(kline["k"]["x"] for kline in klines) == 120


def test_the_three_hundred_and_first_connection_in_five_minutes_is_refused():
    live = exchange()
    answers = [live.admit("/stream", START_NS + i * SECOND_NS // 2) for i in range(301)]
    refused = answers.pop()
    assert set(answers) == {None}
    assert (refused.status, refused.headers) == (429, (("Retry-After", "150"),))
    assert live.admit("/stream", START_NS + 300 * SECOND_NS) is None
    assert live.admit("/elsewhere", START_NS).status == 404
