"""Bybit: what its frames mean. The frames are of the shapes of its documentation."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import Candle, Delta, Event, Gap, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.bybit import Bybit
from ingest.exchanges.exchange import Fetch, FetchFailed, Instrument, Locate, Notice, Send, SkipFrame, Standing
from ingest.exchanges.pushed import LATE_NS, QUIET_NS
from ingest.exchanges.topic import HOLD_NS
from ingest.exchanges.unflagged import GRACE_NS
from tests.ingest.exchanges.waited import tickers

NOW = 1_795_305_600_300_000_000
S = 1_000_000_000
SYMBOLS = {
    "BTC/USDT": Instrument("BTC/USDT", "BTCUSDT", True, "Trading", "0.1", "0.000001", "5"),
    "ETH/USDT": Instrument("ETH/USDT", "ETHUSDT", True, "Trading", "0.01", "0.00001", "5"),
}
TRADES, TICKER, BOOK, CANDLES = (
    StreamKey("bybit", channel, "BTC/USDT") for channel in ("trades", "ticker", "orderbook", "candles-1m")
)
TRADE = (
    b'{"topic":"publicTrade.BTCUSDT","ts":1795305600231,"type":"snapshot","data":[{"i":"2290000001258834101",'
    b'"T":1795305600229,"p":"83805.2","v":"0.001466","S":"Buy","seq":118058640184,"s":"BTCUSDT","BT":false,'
    b'"RPI":false},{"i":"2290000001258834102","T":1795305600229,"p":"83805.3","v":"0.02","S":"Sell",'
    b'"seq":118058640184,"s":"BTCUSDT","BT":false,"RPI":false}]}'
)
DAY = (
    b'{"topic":"tickers.BTCUSDT","ts":1795305600126,"type":"snapshot","cs":118058640100,"data":{"symbol":"BTCUSDT",'
    b'"lastPrice":"83805.2","highPrice24h":"84911.7","lowPrice24h":"82950","prevPrice24h":"84120.5",'
    b'"volume24h":"7654.575275","turnover24h":"641624551.61837538","price24hPcnt":"-0.0037",'
    b'"usdIndexPrice":"83790.956977"}}'
)
BEST = (
    b'{"topic":"orderbook.1.BTCUSDT","ts":1795305600150,"type":"snapshot","data":{"s":"BTCUSDT",'
    b'"b":[["83805.1","0.52"]],"a":[["83805.2","0.1"]],"u":77,"seq":118058640170},"cts":1795305600147}'
)
WHOLE = (
    b'{"topic":"orderbook.1000.BTCUSDT","ts":1795305600150,"type":"snapshot","data":{"s":"BTCUSDT",'
    b'"b":[["83805.1","0.52"],["83805","1.2"],["83804.9","0.007"]],"a":[["83805.2","0.1"],["83806","2.5"]],'
    b'"u":59438060,"seq":118058640170},"cts":1795305600147}'
)
DELTA = (
    b'{"topic":"orderbook.1000.BTCUSDT","ts":1795305600170,"type":"delta","data":{"s":"BTCUSDT",'
    b'"b":[["83805","1.25"],["83804.8","0.3"]],"a":[["83805.2","0"],["83805.8","0.4"]],'
    b'"u":59438061,"seq":118058640184},"cts":1795305600168}'
)
KLINE = (
    b'{"topic":"kline.1.BTCUSDT","ts":1795305600202,"type":"snapshot","data":[{"start":1795305600000,'
    b'"end":1795305659999,"interval":"1","open":"83790","close":"83805.2","high":"83812.4","low":"83788.1",'
    b'"volume":"12.304511","turnover":"1031148.02213","confirm":false,"timestamp":1795305600187}]}'
)
PAST = (
    b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"execId":"2290000001258834102",'
    b'"symbol":"BTCUSDT","price":"83805.3","size":"0.02","side":"Sell","time":"1795305600229","isBlockTrade":false,'
    b'"isRPITrade":false,"seq":"118058640184"},{"execId":"2290000001258834101","symbol":"BTCUSDT","price":"83805.2",'
    b'"size":"0.001466","side":"Buy","time":"1795305600229","isBlockTrade":false,"isRPITrade":false,'
    b'"seq":"118058640184"},{"execId":"2290000001258834100","symbol":"BTCUSDT","price":"83805",'
    b'"size":"1","side":"Buy","time":"1795305600100","isBlockTrade":false,"isRPITrade":false,"seq":"1"}]},'
    b'"retExtInfo":{},"time":1795305600301}'
)
FRAMES = (TRADE, DAY, BEST, WHOLE, DELTA, KLINE)
MINUTE_NS = 1_795_305_600_000_000_000


def answer(req_id, op="subscribe", words=None, success=True):
    said = {"success": success, "ret_msg": op if words is None else words, "conn_id": "x", "req_id": str(req_id)}
    return json.dumps({**said, "op": op}).encode()


def conversation(*keys, positions=None):
    talk = Bybit().converse(keys or (TRADES, TICKER, BOOK, CANDLES), SYMBOLS, positions or {}, "x")
    talk.greet(NOW)
    return talk


def subscribed(*keys, positions=None):
    talk = conversation(*keys, positions=positions)
    talk.receive(answer(1), NOW)
    return talk


def requests(outputs):
    return [(r["op"], r.get("args")) for send in outputs if isinstance(send, Send) for r in [json.loads(send.text)]]


def trade(
    trade_id="2290000001258834101",
    price="83805.2",
    amount="0.001466",
    side="buy",
    ms=1795305600229,
    before_ms=1795305600100,
    **more,
):
    body = Trade(price=price, amount=amount, side=side, received_ns=NOW, exchange_ns=ms * 1_000_000, **more)
    return Event(TRADES, trade_id, body, "opaque", f"{ms} {before_ms}")


SECOND_TRADE = trade("2290000001258834102", "83805.3", "0.02", "sell", before_ms=1795305600229)


def test_live_trades_wait_for_the_newest_of_rest_and_those_before_them_come_first():
    talk = subscribed(TRADES, positions={TRADES: "1795305600100"})
    asked = talk.tick(NOW)
    waits = talk.receive(TRADE, NOW)
    said = talk.fetched("trades BTC/USDT", PAST, NOW)
    assert (asked, waits, said) == (
        [
            Fetch(
                "/v5/market/recent-trade",
                (("category", "spot"), ("symbol", "BTCUSDT"), ("limit", "60")),
                1,
                "trades BTC/USDT",
            )
        ],
        [],
        [trade("2290000001258834100", "83805", "1", ms=1795305600100, backfilled=True), trade(), SECOND_TRADE],
    )


def test_where_rest_does_not_reach_back_the_time_is_registered_as_unverifiable():
    talk = subscribed(TRADES, positions={TRADES: "1795305500000"})
    talk.tick(NOW)
    talk.receive(TRADE, NOW)
    row = json.loads(PAST)["result"]["list"][2]
    rows = [{**row, "execId": str(i), "time": str(1795305600000 + i)} for i in range(200, 260)]
    body = json.dumps({"retCode": 0, "result": {"list": rows}}).encode()
    looked = talk.fetched("trades BTC/USDT", body, NOW)
    gap, *_ = talk.located(TRADES, Standing("g", 7, "1795305500000"), NOW)
    assert (looked, gap.body) == (
        [Locate(TRADES)],
        Gap(reason="unverifiable", from_ns=1795305500000_000000, to_ns=1795305600200_999999),
    )


def test_a_trade_of_an_impossible_time_stands_where_it_was_heard():
    talk = conversation(TRADES)
    talk.receive(TRADE.replace(b"1795305600229", b"99"), NOW)
    first, _ = talk.closed("cut")
    assert (first.body.exchange_ns, first.first) == (None, str(NOW // 1_000_000))


def test_a_ticker_is_joined_with_the_best_prices_and_lacks_them_until_they_come():
    talk = conversation(TICKER)
    day = {
        "last": "83805.2",
        "open": "84120.5",
        "high": "84911.7",
        "low": "82950",
        "volume": "7654.575275",
        "quote_volume": "641624551.61837538",
    }
    best = {"bid": "83805.1", "bid_amount": "0.52", "ask": "83805.2", "ask_amount": "0.1"}
    at_ns = 1795305600126_000000
    assert tickers(talk, DAY, BEST, BEST, now_ns=NOW) == [
        Event(TICKER, f"24hr.{at_ns}", Ticker(received_ns=NOW, exchange_ns=at_ns, **day), "ticker"),
        Event(
            TICKER,
            "book.77",
            Ticker(received_ns=NOW, exchange_ns=1795305600147_000000, **day, **best),
            "ticker",
        ),
    ]


def test_a_side_without_orders_has_no_price():
    talk = conversation(TICKER)
    (event,) = tickers(talk, BEST.replace(b'[["83805.2","0.1"]]', b"[]"), now_ns=NOW)
    assert event.body == Ticker(received_ns=NOW, exchange_ns=1795305600147_000000, bid="83805.1", bid_amount="0.52")


@pytest.mark.parametrize(
    ("flag", "closed", "mark"), [(b"false", False, "1795305600202000000"), (b"true", True, "closed")]
)
def test_a_candle_says_whether_it_is_closed(flag, closed, mark):
    (event,) = conversation(CANDLES).receive(KLINE.replace(b"false", flag), NOW)
    candle = Candle(
        open_ns=MINUTE_NS,
        open="83790",
        high="83812.4",
        low="83788.1",
        close="83805.2",
        volume="12.304511",
        closed=closed,
        received_ns=NOW,
        quote_volume="1031148.02213",
        exchange_ns=1795305600202_000000,
    )
    assert event == Event(CANDLES, f"{MINUTE_NS}.{mark}", candle, "candle", "1795305600000-1795305659999")


def candle_page(rows):
    return json.dumps({"retCode": 0, "result": {"list": rows}, "time": NOW // 1_000_000}).encode()


def test_missed_candles_are_fetched_and_come_in_order():
    talk = subscribed(CANDLES, positions={CANDLES: "1795305479999"})
    talk.receive(KLINE, NOW)
    looks = [talk.tick(NOW), talk.located(CANDLES, Standing("g", 7, "1795305479999"), NOW), talk.tick(NOW + HOLD_NS)]
    asked = talk.located(CANDLES, Standing("g", 7, "1795305479999"), NOW + HOLD_NS)
    rows = [[str(1795305600000 - i * 60_000), "1", "3", "1", "2", "7", "14"] for i in range(3)]
    said = talk.fetched(
        "candles-1m BTC/USDT",
        json.dumps({"retCode": 0, "result": {"list": rows}, "time": NOW // 10**6}).encode(),
        NOW + S,
    )
    about = {"category": "spot", "symbol": "BTCUSDT", "interval": "1", "start": "1795305480000", "limit": "1000"}
    assert (looks, asked) == (
        [[Locate(CANDLES)], [], [Locate(CANDLES)]],
        [Fetch("/v5/market/kline", tuple(about.items()), 1, "candles-1m BTC/USDT")],
    )
    assert [(event.first, event.body.closed, event.body.volume) for event in said] == [
        ("1795305480000-1795305539999", True, "7"),
        ("1795305540000-1795305599999", True, "7"),
        ("1795305600000-1795305659999", False, "12.304511"),
    ]


def test_of_an_interval_that_is_not_said_to_be_closed_rest_says_so_by_its_own_time():
    talk = subscribed(CANDLES)
    talk.receive(KLINE, NOW)
    ends_ns = MINUTE_NS + 60 * S
    asked = [output for output in talk.tick(ends_ns + GRACE_NS) if isinstance(output, Fetch)]
    rows = [[str(1795305600000 + i * 60_000), "1", "3", "1", "2", "7", "14"] for i in (1, 0)]
    page = json.dumps({"retCode": 0, "result": {"list": rows}, "time": ends_ns // 1_000_000}).encode()
    (event,) = talk.fetched("candles-1m BTC/USDT", page, ends_ns + GRACE_NS)
    assert (len(asked), event.s, event.body.volume) == (1, f"{MINUTE_NS}.closed", "7")


def test_a_month_is_as_long_as_it_is():
    key = StreamKey("bybit", "candles-1M", "BTC/USDT")
    talk = subscribed(key, positions={key: "1788220799999"})  # up to the end of August 2026
    november = KLINE.replace(b"kline.1.", b"kline.M.").replace(b'"interval":"1"', b'"interval":"M"')
    november = november.replace(b"1795305600000", b"1793491200000").replace(b"1795305659999", b"1796083199999")
    talk.receive(november, NOW)
    for i in range(2):
        talk.tick(NOW + i * HOLD_NS)
        talk.located(key, Standing("g", 7, "1788220799999"), NOW + i * HOLD_NS)
    rows = [[str(ms), "1", "3", "1", "2", "7", "14"] for ms in (1793491200000, 1790812800000, 1788220800000)]
    said = talk.fetched(
        "candles-1M BTC/USDT",
        json.dumps({"retCode": 0, "result": {"list": rows}, "time": NOW // 10**6}).encode(),
        NOW + S,
    )
    assert [event.first for event in said] == [
        "1788220800000-1790812799999",
        "1790812800000-1793491199999",
        "1793491200000-1796083199999",
    ]


def test_a_book_is_whole_at_first_and_then_said_by_its_changes():
    talk = subscribed(BOOK)
    bids = (("83805.1", "0.52"), ("83805", "1.2"), ("83804.9", "0.007"))
    asks = (("83805.2", "0.1"), ("83806", "2.5"))
    whole = Snapshot(bids=bids, asks=asks, received_ns=NOW, exchange_ns=1795305600147_000000)
    delta = Delta(
        bids=(("83805", "1.25"), ("83804.8", "0.3")),
        asks=(("83805.2", "0"), ("83805.8", "0.4")),
        received_ns=NOW,
        exchange_ns=1795305600168_000000,
    )
    assert [talk.receive(frame, NOW) for frame in (WHOLE, DELTA)] == [
        [
            Event(BOOK, "59438060", whole, "snapshot"),
            Event(BOOK, "x.2", Status(state="live", reason="start"), "state", "live"),
        ],
        [Event(BOOK, "59438061", delta, "range", "59438061")],
    ]


def test_a_hole_in_a_book_subscribes_to_it_anew():
    talk = subscribed(BOOK)
    talk.receive(WHOLE, NOW)
    (suspect,) = talk.receive(DELTA.replace(b"59438061", b"59438063"), NOW)
    said = [output for i in range(1, 4) for output in talk.tick(NOW + i * 100_000_000)]
    assert (suspect.body.state, requests(said)) == (
        "suspect",
        [("unsubscribe", ["orderbook.1000.BTCUSDT"]), ("subscribe", ["orderbook.1000.BTCUSDT"])],
    )


def test_a_book_number_1_is_of_a_new_series():
    talk = subscribed(BOOK)
    talk.receive(WHOLE, NOW)
    talk.receive(WHOLE.replace(b"59438060", b"1"), NOW)
    talk.tick(NOW)
    restart, whole, _ = talk.located(BOOK, Standing("g", 7, "59438060"), NOW)
    assert (restart.body.reason, restart.first, whole.s) == ("series_restart", "59438060 0", "1")


@pytest.mark.parametrize(("stands_at", "silent"), [(59438060, False), (59438061, True)])
def test_a_quiet_book_is_compared_and_one_that_is_behind_the_exchanges_is_deaf(stands_at, silent):
    talk = subscribed(BOOK)
    talk.receive(WHOLE, NOW)
    later = NOW + QUIET_NS
    asked = [output for output in talk.tick(later) if isinstance(output, Fetch)]
    result = {"s": "BTCUSDT", "b": [], "a": [], "u": stands_at}
    talk.fetched("orderbook BTC/USDT", json.dumps({"retCode": 0, "result": result}).encode(), later)
    talk.receive(answer(2, "ping", "pong"), later)
    told = [output for output in talk.tick(later + LATE_NS) if isinstance(output, Notice)]
    about = (("category", "spot"), ("symbol", "BTCUSDT"), ("limit", "1"))
    assert (asked, told) == (
        [Fetch("/v5/market/orderbook", about, 1, "orderbook BTC/USDT")],
        [Notice(BOOK, "silent", "nothing comes of orderbook.1000.BTCUSDT")] if silent else [],
    )


def test_positions_are_where_the_next_connection_goes_on():
    talk = subscribed()
    for frame in FRAMES:
        talk.receive(frame, NOW)
    talk.fetched("trades BTC/USDT", PAST, NOW)
    talk.located(TRADES, Standing("-", 0), NOW)
    assert talk.positions() == {
        TRADES: "1795305600229",
        TICKER: "24hr.1795305600126000000 book.77",
        BOOK: "59438061",
        CANDLES: "1795305599999",
    }


def test_data_is_understood_whatever_the_order_of_its_keys():
    for frame in FRAMES:
        turned = json.dumps(dict(reversed(json.loads(frame).items()))).encode()
        assert conversation().receive(turned, NOW) == conversation().receive(frame, NOW)


def test_a_request_that_came_too_early_is_made_again_later():
    talk = subscribed(TRADES)
    talk.tick(NOW)
    talk.fetched("trades BTC/USDT", b'{"retCode":10006,"retMsg":"Too many visits!"}', NOW)
    assert ([type(o) for o in talk.tick(NOW + 9 * S)], [type(o) for o in talk.tick(NOW + 10 * S)]) == ([], [Fetch])


BAD = [
    b"",
    b"{",
    TRADE[:-20],
    TRADE.replace(b'"83805.3"', b'"NaN"'),
    TRADE.replace(b'"83805.3"', b"83805.3"),
    TRADE.replace(b'"83805.3"', b'"83805.3\\n"'),
    TRADE.replace(b'"Sell"', b'"sell"'),
    TRADE.replace(b'"2290000001258834102"', b'""'),
    TRADE.replace(b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'),
    TRADE.replace(b"publicTrade.BTCUSDT", b"publicTrade.DOGEUSDT"),
    DAY.replace(b"1795305600126", b"9"),
    DAY.replace(b'"82950"', b'"-82950"'),
    BEST.replace(b'"83805.2"', b'"1e5"'),
    DELTA.replace(b'"delta"', b'"other"'),
    DELTA.replace(b"59438061", b"-1"),
    KLINE.replace(b'"interval":"1"', b'"interval":"3"'),
    KLINE.replace(b"1795305600000", b"9999999999999999"),
    b'{"topic":"liquidation.BTCUSDT","data":{}}',
    b'{"success":true,"ret_msg":"subscribe","req_id":"77","op":"subscribe"}',
    b'{"success":true,"ret_msg":"subscribe","req_id":"%b","op":"subscribe"}' % (b"1" * 5_000),
    b"\x00\xff\xfe binary",
    b"[" * 100_000,
]


@pytest.mark.parametrize("frame", BAD, ids=lambda frame: repr(frame[:40]))
def test_a_bad_frame_is_skipped_keeps_its_bytes_and_changes_nothing(frame):
    talk = conversation()
    with pytest.raises(SkipFrame) as skipped:
        talk.receive(frame, NOW)
    assert (skipped.value.frame, talk.positions(), talk.closed("cut")[0].body.reason) == (frame, {}, "cut")


@settings(max_examples=500, derandomize=True, deadline=None)
@given(
    st.builds(
        lambda body, cut, junk, keep: body[:cut] + junk + body[cut + keep :],
        st.just(PAST),
        st.integers(0, 300),
        st.binary(max_size=6),
        st.integers(0, 20),
    )
    | st.binary(max_size=100),
    st.sampled_from((TRADES, CANDLES, BOOK)),
)
def test_no_answer_of_rest_raises_anything(body, key):
    talk = subscribed(positions={TRADES: "1", CANDLES: "1"})
    for frame in FRAMES:
        talk.receive(frame, NOW)
    talk.fetched(f"{key.channel} {key.symbol}", body, NOW)


def test_instruments_have_their_steps_and_those_that_do_not_trade_say_so():
    row = {
        "symbol": "BTCUSDT",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "status": "Trading",
        "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.0000001", "minOrderAmt": "5"},
        "priceFilter": {"tickSize": "0.1"},
    }
    listed = [row, {**row, "symbol": "XYZMNT", "baseCoin": "XYZ", "quoteCoin": "MNT", "status": "PreLaunch"}]
    body = json.dumps({"retCode": 0, "result": {"list": listed}}).encode()
    assert Bybit().instruments(body) == {
        "BTC/USDT": SYMBOLS["BTC/USDT"],
        "XYZ/MNT": Instrument("XYZ/MNT", "XYZMNT", False, "PreLaunch", "0.1", "0.000001", "5"),
    }


@pytest.mark.parametrize("body", [b"", b"{}", b'{"retCode":10016,"retMsg":"?"}', b'{"retCode":0,"result":{}}'])
def test_a_list_of_instruments_that_makes_no_sense_is_skipped(body):
    with pytest.raises(SkipFrame):
        Bybit().instruments(body)


def test_rest_that_fails_is_asked_again_and_in_the_end_the_time_is_registered():
    talk = subscribed(TRADES, positions={TRADES: "1795305600000"})
    talk.receive(TRADE, NOW)
    said = []
    for i in range(4):
        talk.tick(NOW + i * S)
        said += talk.fetched("trades BTC/USDT", FetchFailed(500, "?"), NOW + i * S)
    assert [type(event.body) for event in said] == [Gap, Trade, Trade]
