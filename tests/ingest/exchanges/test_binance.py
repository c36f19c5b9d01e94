"""Binance: what its frames mean. The frames are of the shapes of its documentation."""

import msgspec
import pytest

from ingest.contract.events import Candle, Delta, Event, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.binance import Binance
from ingest.exchanges.exchange import Fetch, FetchFailed, Instrument, Locate, Notice, Send, SkipFrame, Standing
from ingest.exchanges.ranged import LATE_NS, QUIET_NS
from ingest.exchanges.topic import HOLD_NS
from tests.ingest.exchanges.waited import tickers

NOW = 1_795_335_330_200_000_000
SYMBOLS = {
    "BTC/USDT": Instrument("BTC/USDT", "BTCUSDT", True, "TRADING"),
    "ETH/USDT": Instrument("ETH/USDT", "ETHUSDT", True, "TRADING"),
}
TRADES, TICKER, BOOK, CANDLES = (
    StreamKey("binance", channel, "BTC/USDT") for channel in ("trades", "ticker", "orderbook", "candles-1m")
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1795335330125,"s":"BTCUSDT","t":6123456789,'
    b'"p":"61250.10000000","q":"0.00420000","T":1795335330123,"m":true,"M":true}}'
)
BOOK_TICKER = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":81234567890,"s":"BTCUSDT","b":"61250.09000000","B":"1.84000000",'
    b'"a":"61250.10000000","A":"0.92000000"}}'
)
DAY = (
    b'{"stream":"btcusdt@ticker","data":{"e":"24hrTicker","E":1795335330500,"s":"BTCUSDT","p":"812.40000000",'
    b'"P":"1.344","w":"60988.71000000","x":"60437.70000000","c":"61250.10000000","Q":"0.00420000",'
    b'"b":"61250.00000000","B":"1.00000000","a":"61250.20000000","A":"2.00000000","o":"60437.70000000",'
    b'"h":"61500.00000000","l":"60110.00000000","v":"18456.21000000","q":"1125600412.88000000",'
    b'"O":1795248930500,"C":1795335330500,"F":6121000001,"L":6123456789,"n":2456789}}'
)
KLINE = (
    b'{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1795335332010,"s":"BTCUSDT","k":{"t":1795335300000,'
    b'"T":1795335359999,"s":"BTCUSDT","i":"1m","f":6123455900,"L":6123456789,"o":"61240.00000000",'
    b'"c":"61250.10000000","h":"61262.20000000","l":"61238.00000000","v":"12.48000000","n":890,"x":false,'
    b'"q":"764321.10000000","V":"7.02000000","Q":"429950.70000000","B":"0"}}}'
)
DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1795335330130,"s":"BTCUSDT","U":81234567891,'
    b'"u":81234567897,"b":[["61250.09000000","1.84000000"],["61240.00000000","0.00000000"]],'
    b'"a":[["61250.10000000","0.92000000"]]}}'
)
FRAMES = (TRADE, BOOK_TICKER, DAY, KLINE, DEPTH)
REST_BOOK = (
    b'{"lastUpdateId":81234567890,"bids":[["61240.00000000","2.00000000"]],"asks":[["61251.00000000","1.00000000"]]}'
)


def conversation(*keys, positions=None):
    talk = Binance().converse(keys or (TRADES, TICKER, BOOK, CANDLES), SYMBOLS, positions or {}, "x")
    talk.greet(NOW)
    return talk


def test_a_trade_names_the_taker():
    trade = Trade(
        price="61250.10000000",
        amount="0.00420000",
        side="sell",
        received_ns=NOW,
        exchange_ns=1_795_335_330_123_000_000,
    )
    assert conversation().receive(TRADE, NOW) == [Event(TRADES, "6123456789", trade, "dense", "6123456789")]


def test_a_ticker_is_always_all_that_is_known():
    talk = conversation()
    best = {"bid": "61250.09000000", "bid_amount": "1.84000000", "ask": "61250.10000000", "ask_amount": "0.92000000"}
    day = {
        "last": "61250.10000000",
        "last_amount": "0.00420000",
        "open": "60437.70000000",
        "high": "61500.00000000",
        "low": "60110.00000000",
        "volume": "18456.21000000",
        "quote_volume": "1125600412.88000000",
    }
    day_ns = 1_795_335_330_500_000_000
    old_best = {
        "bid": "61250.00000000",
        "bid_amount": "1.00000000",
        "ask": "61250.20000000",
        "ask_amount": "2.00000000",
    }
    later = DAY.replace(b'"E":1795335330500', b'"E":1795335331500')
    assert tickers(talk, DAY, BOOK_TICKER, later, now_ns=NOW) == [
        Event(TICKER, f"24hr.{day_ns}", Ticker(received_ns=NOW, exchange_ns=day_ns, **old_best, **day), "ticker"),
        Event(TICKER, "book.81234567890", Ticker(received_ns=NOW, **best, **day), "ticker"),
        Event(
            TICKER,
            f"24hr.{day_ns + 1_000_000_000}",
            Ticker(received_ns=NOW, exchange_ns=day_ns + 1_000_000_000, **best, **day),
            "ticker",
        ),
    ]


def test_a_price_of_zero_is_no_price():
    frame = BOOK_TICKER.replace(b"61250.09000000", b"0.00000000").replace(b"1.84000000", b"0.00000000")
    known = Ticker(received_ns=NOW, ask="61250.10000000", ask_amount="0.92000000")
    assert tickers(conversation(), frame, now_ns=NOW) == [Event(TICKER, "book.81234567890", known, "ticker")]


@pytest.mark.parametrize(
    ("flag", "closed", "mark"), [(b"false", False, "1795335332010000000"), (b"true", True, "closed")]
)
def test_a_candle_says_whether_it_is_closed(flag, closed, mark):
    candle = Candle(
        open_ns=1_795_335_300_000_000_000,
        open="61240.00000000",
        high="61262.20000000",
        low="61238.00000000",
        close="61250.10000000",
        volume="12.48000000",
        closed=closed,
        received_ns=NOW,
        quote_volume="764321.10000000",
        trades=890,
        exchange_ns=1_795_335_332_010_000_000,
    )
    heard = conversation().receive(KLINE.replace(b'"x":false', b'"x":' + flag), NOW)
    assert heard == [Event(CANDLES, f"1795335300000000000.{mark}", candle, "candle", "1795335300000-1795335359999")]


def test_a_book_is_fetched_once_subscribed_and_said_once_joined():
    talk = conversation(BOOK)
    opened = [*talk.receive(b'{"result":null,"id":1}', NOW), *talk.tick(NOW)]
    joined = talk.fetched("orderbook BTC/USDT", REST_BOOK, NOW)
    first = talk.receive(DEPTH, NOW)
    bids, asks = (("61240.00000000", "2.00000000"),), (("61251.00000000", "1.00000000"),)
    delta = Delta(
        bids=(("61250.09000000", "1.84000000"), ("61240.00000000", "0.00000000")),
        asks=(("61250.10000000", "0.92000000"),),
        received_ns=NOW,
        exchange_ns=1_795_335_330_130_000_000,
    )
    assert [*opened, *joined, *first] == [
        Event(BOOK, "x.1", Status(state="syncing", reason="start"), "state", "syncing"),
        Fetch("/api/v3/depth", (("symbol", "BTCUSDT"), ("limit", "1000")), 50, "orderbook BTC/USDT"),
        Event(BOOK, "81234567890", Snapshot(bids=bids, asks=asks, received_ns=NOW), "snapshot"),
        Event(BOOK, "x.2", Status(state="live", reason="start"), "state", "live"),
        Event(BOOK, "81234567897", delta, "range", "81234567891"),
    ]


@pytest.mark.parametrize(
    ("answer", "again_ns"),
    [
        (b"{", 1_000_000_000),
        (b'{"lastUpdateId":1,"bids":[["NaN","1"]],"asks":[]}', 1_000_000_000),
        (FetchFailed(500, "no"), 1_000_000_000),
        (FetchFailed(429, "slower"), 10_000_000_000),
    ],
)
def test_a_book_that_makes_no_sense_is_fetched_again(answer, again_ns):
    talk = conversation(BOOK)
    talk.receive(b'{"result":null,"id":1}', NOW)
    asked = talk.tick(NOW)
    said = talk.fetched("orderbook BTC/USDT", answer, NOW)
    assert (said, talk.tick(NOW + again_ns - 1), talk.tick(NOW + again_ns)) == ([], [], asked)


def alone(talk, key, position):
    """Nobody else fills the hole; what is asked for then."""
    looks = [*talk.tick(NOW), *talk.located(key, Standing("g", 7, position), NOW), *talk.tick(NOW + HOLD_NS)]
    assert looks == [Locate(key), Locate(key)]
    return talk.located(key, Standing("g", 7, position), NOW + HOLD_NS)


def test_missed_trades_are_fetched_and_come_in_order():
    talk = conversation(TRADES, positions={TRADES: "6123456787"})
    held = talk.receive(TRADE, NOW)
    asked = alone(talk, TRADES, "6123456787")
    row = b'[{"id":6123456788,"price":"1.10","qty":"2","time":1795335330100,"isBuyerMaker":false}]'
    filled = talk.fetched("trades BTC/USDT", row, NOW)
    fields = (("symbol", "BTCUSDT"), ("fromId", "6123456788"), ("limit", "1000"))
    assert (held, asked, [(event.s, event.body.side, event.body.backfilled) for event in filled]) == (
        [],
        [Fetch("/api/v3/historicalTrades", fields, 25, "trades BTC/USDT")],
        [("6123456788", "buy", True), ("6123456789", "sell", None)],
    )


def test_missed_candles_are_fetched_and_come_in_order():
    talk = conversation(CANDLES, positions={CANDLES: "1795335239999"})
    held = talk.receive(KLINE, NOW)
    asked = alone(talk, CANDLES, "1795335239999")
    row = (
        b'[[1795335240000,"1.0","2.0","0.5","1.5","7.0",1795335299999,"9.0",12,"3.0","4.0","0"],'
        b'[1795335300000,"1.5","2.0","1.5","1.5","1.0",1795335359999,"1.5",1,"1.0","1.5","0"]]'
    )
    filled = talk.fetched("candles-1m BTC/USDT", row, NOW)
    about = (("symbol", "BTCUSDT"), ("interval", "1m"), ("startTime", "1795335240000"), ("limit", "1000"))
    assert (held, asked, [(event.s, event.body.close, event.body.backfilled) for event in filled]) == (
        [],
        [Fetch("/api/v3/klines", about, 2, "candles-1m BTC/USDT")],
        [
            ("1795335240000000000.closed", "1.5", True),
            ("1795335300000000000.1795335332010000000", "61250.10000000", None),
        ],
    )


def test_when_a_connection_ends_what_has_no_ids_grows_old():
    talk = conversation()
    tickers(talk, *FRAMES, now_ns=NOW)
    assert [(event.key, event.body.state, event.first) for event in talk.closed("cut")] == [
        (TICKER, "stale", "stale 24hr.1795335330500000000 book.81234567890"),
        (BOOK, "stale", "stale"),
    ]


def test_positions_are_where_the_next_connection_goes_on():
    talk = conversation()
    talk.receive(TRADE, NOW)
    talk.fetched("orderbook BTC/USDT", REST_BOOK, NOW)
    assert talk.positions() == {TRADES: "6123456789", BOOK: "81234567890"}


@pytest.mark.parametrize(("stands_at", "silent"), [(81234567897, False), (81234567898, True)])
def test_a_quiet_book_is_compared_and_one_that_is_behind_the_exchanges_is_deaf(stands_at, silent):
    talk = conversation(BOOK)
    talk.receive(b'{"result":null,"id":1}', NOW)
    talk.fetched("orderbook BTC/USDT", REST_BOOK, NOW)
    talk.receive(DEPTH, NOW)
    later = NOW + QUIET_NS
    talk.receive(b'{"result":[],"id":2}', NOW) if talk.tick(later - 1) else None
    asked = [output for output in talk.tick(later) if isinstance(output, Fetch)]
    talk.fetched("orderbook BTC/USDT comparison", b'{"lastUpdateId":%d,"bids":[],"asks":[]}' % stands_at, later)
    told = [output for output in talk.tick(later + LATE_NS) if isinstance(output, Notice)]
    assert (asked, told) == (
        [Fetch("/api/v3/depth", (("symbol", "BTCUSDT"), ("limit", "1")), 5, "orderbook BTC/USDT comparison")],
        [Notice(BOOK, "silent", "nothing comes of btcusdt@depth@100ms")] if silent else [],
    )


def test_a_book_that_has_other_best_prices_than_the_exchange_starts_anew():
    talk = conversation(BOOK)
    talk.receive(b'{"result":null,"id":1}', NOW)
    talk.fetched("orderbook BTC/USDT", REST_BOOK, NOW)
    best = b'{"symbol":"BTCUSDT","bidPrice":"1.00000000","bidQty":"1","askPrice":"0.00000000","askQty":"0"}'
    asked, told, now_ns = [], [], NOW
    while not told:
        now_ns = max(now_ns + 1, talk.due())
        for output in _without_requests(talk, now_ns):
            if isinstance(output, Fetch) and output.weight == 2:
                asked.append(output)
                talk.fetched(output.tag, best, now_ns)
            elif isinstance(output, Event):
                told.append(output.body)
    reason = "REST has 1 and inf for the best prices, and had others than ours before"
    fetch = Fetch("/api/v3/ticker/bookTicker", (("symbol", "BTCUSDT"),), 2, "orderbook BTC/USDT best")
    assert (asked, told) == ([fetch] * 3, [Status(state="suspect", reason=reason)])


def _without_requests(talk, now_ns):
    """What is said but for requests, which are answered."""
    for output in talk.tick(now_ns):
        if isinstance(output, Send):
            talk.receive(b'{"result":[],"id":%d}' % msgspec.json.decode(output.text)["id"], now_ns)
        else:
            yield output


BAD = [
    b"",
    b"{",
    TRADE[:-20],
    TRADE.replace(b'"61250.10000000"', b'"NaN"'),
    TRADE.replace(b'"61250.10000000"', b'"1e309"'),
    TRADE.replace(b'"61250.10000000"', b"61250.1"),
    TRADE.replace(b'"61250.10000000"', b'"61250.1\\n"'),
    TRADE.replace(b"6123456789", b'"6123456789"'),
    TRADE.replace(b'"BTCUSDT"', b'"ETHUSDT"'),
    TRADE.replace(b"btcusdt@trade", b"dogeusdt@trade"),
    DEPTH.replace(b'"0.92000000"', b'"-0.92000000"'),
    DEPTH.replace(b'"0.92000000"', b"null"),
    b'{"e":"somethingNew"}',
    b'{"result":null,"id":77}',
    b"\x00\xff\xfe binary",
    b"[" * 100_000,
]


@pytest.mark.parametrize("frame", BAD, ids=lambda frame: repr(frame[:40]))
def test_a_bad_frame_is_skipped_and_keeps_its_bytes(frame):
    with pytest.raises(SkipFrame) as skipped:
        conversation().receive(frame, NOW)
    assert skipped.value.frame == frame


def test_data_is_understood_whatever_the_order_of_its_keys():
    frame = b'{ "data" : ' + msgspec.json.encode(msgspec.json.decode(TRADE)["data"]) + b', "stream" : "btcusdt@trade" }'
    assert conversation().receive(frame, NOW) == conversation().receive(TRADE, NOW)


@pytest.mark.parametrize(("old", "new"), [(b"1795335300000", b"0"), (b"1795335359999", b"9007199254740991")])
def test_a_candle_of_a_wild_time_is_skipped(old, new):
    with pytest.raises(SkipFrame, match="an interval from"):
        conversation().receive(KLINE.replace(old, new), NOW)


def test_instruments_come_by_base_and_quote_with_their_steps():
    body = (
        b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":['
        b'{"filterType":"NOTIONAL","minNotional":"5.0"},{"filterType":"LOT_SIZE","stepSize":"0.00001"},'
        b'{"filterType":"PRICE_FILTER","tickSize":"0.01"}]},'
        b'{"symbol":"OLDBTC","status":"BREAK","baseAsset":"OLD","quoteAsset":"BTC","filters":[]}]}'
    )
    assert Binance().instruments(body) == {
        "BTC/USDT": Instrument("BTC/USDT", "BTCUSDT", True, "TRADING", "0.01", "0.00001", "5.0"),
        "OLD/BTC": Instrument("OLD/BTC", "OLDBTC", False, "BREAK"),
    }
