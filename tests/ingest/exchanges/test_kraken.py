"""Kraken: what its frames mean. The frames are of the shapes of its documentation."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import Candle, Delta, Event, Gap, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.candles import GROWS_EVERY_NS
from ingest.exchanges.counted import SNAPSHOT_WITHIN_NS
from ingest.exchanges.exchange import Fetch, FetchFailed, Instrument, Locate, Reconnect, SkipFrame, Standing
from ingest.exchanges.kraken import Kraken
from ingest.exchanges.topic import HOLD_NS
from ingest.exchanges.unflagged import GRACE_NS
from tests.ingest.exchanges.waited import tickers

NOW = 1_795_335_330_200_000_000  # 2026-11-22T08:15:30.2Z
S = 1_000_000_000
SYMBOLS = {
    "BTC/USD": Instrument("BTC/USD", "BTC/USD", True, "online", "0.1", "0.00000001"),
    "ETH/USD": Instrument("ETH/USD", "ETH/USD", True, "online", "0.01", "0.00000001"),
    "DEMO/USD": Instrument("DEMO/USD", "DEMO/USD", True, "online", "0.01", "0.00000001"),
}
TRADES, TICKER, BOOK, CANDLES = (
    StreamKey("kraken", channel, "BTC/USD") for channel in ("trades", "ticker", "orderbook", "candles-1m")
)
DEMO = StreamKey("kraken", "orderbook", "DEMO/USD")
TRADE = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":61250.0,"qty":0.00420000,'
    b'"ord_type":"market","trade_id":98765432,"timestamp":"2026-11-22T08:15:30.123456Z"},{"symbol":"BTC/USD",'
    b'"side":"sell","price":61249.9,"qty":0.01000000,"ord_type":"market","trade_id":98765433,'
    b'"timestamp":"2026-11-22T08:15:30.123456Z"}]}'
)
DAY = (
    b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":61250.0,"bid_qty":0.75000000,'
    b'"ask":61250.1,"ask_qty":0.50000000,"last":61250.0,"volume":1842.12345678,"vwap":60988.7,"low":60110.0,'
    b'"high":61500.0,"change":812.3,"change_pct":1.34,"trades":48211,"timestamp":"2026-11-22T08:15:30.123456Z"}]}'
)
OHLC = (
    b'{"channel":"ohlc","type":"update","timestamp":"2026-11-22T08:15:30.124001Z","data":[{"symbol":"BTC/USD",'
    b'"open":61240.0,"high":61262.2,"low":61238.0,"close":61250.0,"trades":91,"volume":12.48000000,"vwap":61247.3,'
    b'"interval_begin":"2026-11-22T08:15:00.000000000Z","interval":1,"timestamp":"2026-11-22T08:16:00.000000Z"}]}'
)
DEMO_WHOLE = (
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"DEMO/USD","bids":[{"price":1.25,"qty":3.00000000}],'
    b'"asks":[{"price":1.26,"qty":7.50000000}],"checksum":1472024461,"timestamp":"2026-11-22T08:15:30.120456Z"}]}'
)
DEMO_DELTA = (
    b'{"channel":"book","type":"update","data":[{"symbol":"DEMO/USD","bids":[{"price":1.25,"qty":0.00000000},'
    b'{"price":1.24,"qty":1.00000000}],"asks":[],"checksum":2525563957,"timestamp":"2026-11-22T08:15:30.204118Z"}]}'
)
HEARTBEAT = b'{"channel":"heartbeat"}'
ONLINE = (
    b'{"channel":"status","type":"update","data":[{"api_version":"v2","connection_id":12345678901234567890,'
    b'"system":"online","version":"2.0.10"}]}'
)
FRAMES = (TRADE, DAY, OHLC, DEMO_WHOLE, DEMO_DELTA, ONLINE)
AT_NS = 1_795_335_330_123_456_000
MINUTE_NS = 1_795_335_300_000_000_000


def ack(channel, symbol, req_id, **more):
    answer = {
        "method": "subscribe",
        "result": {"channel": channel, "snapshot": True, "symbol": symbol, **more},
        "success": True,
        "time_in": "2026-11-22T08:15:30.050000Z",
        "time_out": "2026-11-22T08:15:30.050031Z",
        "req_id": req_id,
    }
    return json.dumps(answer).encode()


def conversation(*keys, positions=None):
    talk = Kraken().converse(keys or (TRADES, TICKER, DEMO, CANDLES), SYMBOLS, positions or {}, "x")
    talk.greet(NOW)
    return talk


def acked(*keys, positions=None):
    """All in one message."""
    talk = conversation(*keys, positions=positions)
    channels = {"trades": "trade", "ticker": "ticker", "orderbook": "book", "candles-1m": "ohlc"}
    for key in keys:
        talk.receive(ack(channels[key.channel], key.symbol, 1), NOW)
    return talk


def trade(trade_id=98765432, price="61250.0", amount="0.00420000", side="sell", at_ns=AT_NS, now_ns=NOW, **more):
    body = Trade(price=price, amount=amount, side=side, received_ns=now_ns, exchange_ns=at_ns, **more)
    return Event(TRADES, str(trade_id), body, "dense", str(trade_id))


def trade_frame(*ids, kind="update"):
    rows = [
        f'{{"symbol":"BTC/USD","side":"sell","price":1.0,"qty":2.0,"ord_type":"limit","trade_id":{i},'
        f'"timestamp":"2026-11-22T08:15:30.123456Z"}}'
        for i in ids
    ]
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(rows)}]}}'.encode()


def test_every_trade_of_a_frame_is_said_and_names_the_taker():
    second = trade(98765433, "61249.9", "0.01000000")
    assert conversation().receive(TRADE, NOW) == [trade(), second]


def test_of_the_trades_that_are_said_at_each_subscription_only_the_news_count():
    talk = conversation(TRADES, positions={TRADES: "7"})
    news = talk.receive(trade_frame(9, 8, 7, 6, kind="snapshot"), NOW)
    old = conversation(TRADES, positions={TRADES: "9"}).receive(trade_frame(8, 9, kind="snapshot"), NOW)
    fresh = conversation(TRADES).receive(trade_frame(8, 9, kind="snapshot"), NOW)
    expected = [trade(i, "1.0", "2.0", backfilled=True) for i in (8, 9)]
    assert (news, old, fresh) == (expected, [], [])


def alone(talk, key, position):
    """Nobody else fills the hole; what is asked for then."""
    looks = [*talk.tick(NOW + S), *talk.located(key, Standing("g", 7, position), NOW + S)]
    looks += talk.tick(NOW + S + HOLD_NS)
    assert looks == [Locate(key), Locate(key)]
    return talk.located(key, Standing("g", 7, position), NOW + S + HOLD_NS)


def past(*rows):
    said = ",".join(f'["1.00000","2.00000000",{seconds},"b","m","",{trade_id}]' for trade_id, seconds in rows)
    return f'{{"error":[],"result":{{"XXBTZUSD":[{said}],"last":"1795335330123456789"}}}}'.encode()


def test_missed_trades_are_looked_for_by_their_time_and_come_in_order():
    talk = acked(TRADES, positions={TRADES: "98765429"})
    held = talk.receive(TRADE, NOW)
    newest = alone(talk, TRADES, "98765429")
    earlier = talk.fetched("trades BTC/USD", past((98765431, 1795335330.1), (98765432, 1795335330.2)), NOW)
    filled = talk.fetched(
        "trades BTC/USD", past((98765429, 1795335320), (98765430, 1795335321.5), (98765431, 1795335330.1)), NOW
    )
    pair, count = ("pair", "XBTUSD"), ("count", "1000")
    since = ("since", "0")  # the newest page has room for more: there may be no others
    assert (held, newest, earlier, [(event.s, event.body.backfilled) for event in filled]) == (
        [],
        [Fetch("/0/public/Trades", (pair, count), 1, "trades BTC/USD")],
        [Fetch("/0/public/Trades", (pair, since, count), 1, "trades BTC/USD")],
        [("98765430", True), ("98765431", True), ("98765432", None), ("98765433", None)],
    )


def test_a_trade_of_rest_has_its_time_and_its_taker():
    talk = acked(TRADES, positions={TRADES: "98765430"})
    talk.receive(TRADE, NOW)
    alone(talk, TRADES, "98765430")
    filled = talk.fetched("trades BTC/USD", past((98765431, "1795335330.123456"), (98765432, 1795335330.2)), NOW)
    assert filled[0] == trade(98765431, "1.0", "2.00000000", "buy", backfilled=True)


def test_a_request_that_came_too_early_is_made_again_later():
    talk = acked(TRADES, positions={TRADES: "98765430"})
    talk.receive(TRADE, NOW)
    (asked,) = alone(talk, TRADES, "98765430")
    talk.receive(HEARTBEAT, NOW + 8 * S)
    slower = [
        *talk.fetched("trades BTC/USD", b'{"error":["EGeneral:Too many requests"]}', NOW),
        *talk.tick(NOW + 9 * S),
    ]
    assert (slower, talk.tick(NOW + 10 * S)) == ([], [asked])


@pytest.mark.parametrize(
    "answer", [b"{", b'{"error":["EQuery:Unknown asset pair"]}', b'{"error":[],"result":{}}', FetchFailed(500, "no")]
)
def test_trades_that_cannot_be_had_are_registered_as_lost(answer):
    talk = acked(TRADES, positions={TRADES: "98765430"})
    talk.receive(TRADE, NOW)
    alone(talk, TRADES, "98765430")
    events = []
    for i in range(1, 5):
        events += talk.fetched("trades BTC/USD", answer, NOW)
        talk.receive(HEARTBEAT, NOW + 4 * i * S)
        talk.tick(NOW + 4 * i * S)
    assert [(event.rule, event.first) for event in events] == [
        ("gap", "98765431-98765431"),
        ("dense", "98765432"),
        ("dense", "98765433"),
    ]


def test_a_ticker_is_all_that_is_known_and_a_price_of_zero_is_none():
    known = {
        "bid": "61250.0",
        "bid_amount": "0.75000000",
        "ask": "61250.1",
        "ask_amount": "0.50000000",
        "last": "61250.0",
        "low": "60110.0",
        "high": "61500.0",
        "volume": "1842.12345678",
    }
    at_once = DAY.replace(b'"bid":61250.0,"bid_qty":0.75000000', b'"bid":0,"bid_qty":0')
    empty = known | {"bid": None, "bid_amount": None}
    assert tickers(conversation(), DAY, at_once, now_ns=NOW) == [
        Event(TICKER, f"ticker.{AT_NS}", Ticker(received_ns=NOW, exchange_ns=AT_NS, **known), "ticker"),
        Event(TICKER, f"ticker.{AT_NS + 1}", Ticker(received_ns=NOW, exchange_ns=AT_NS, **empty), "ticker"),
    ]


def test_a_ticker_that_comes_twice_is_said_once():
    assert [event.s for event in tickers(conversation(), DAY, DAY, now_ns=NOW)] == [f"ticker.{AT_NS}"]


@pytest.mark.parametrize("time", [b'"timestamp":"1970-01-01T00:00:00.000000Z"', b'"trades":1'])
def test_a_ticker_without_a_true_time_is_marked_by_ours(time):
    frame = DAY.replace(b'"timestamp":"2026-11-22T08:15:30.123456Z"', time)
    (event,) = tickers(conversation(), frame, now_ns=NOW)
    assert (event.s, event.body.exchange_ns) == (f"received.{NOW}", None)


def candle(close="61250.0", mark=AT_NS + 545_000, begin_ns=MINUTE_NS, **more):
    said = {"open": "61240.0", "high": "61262.2", "low": "61238.0", "close": close, "volume": "12.48000000"}
    said |= {"open_ns": begin_ns, "closed": mark == "closed", "received_ns": NOW, "trades": 91}
    first = f"{begin_ns // 1_000_000}-{begin_ns // 1_000_000 + 59_999}"
    body = Candle(**said | {"exchange_ns": AT_NS + 545_000} | more)
    return Event(CANDLES, f"{begin_ns}.{mark}", body, "candle", first)


def flat(begin_ns, price="61250.0"):
    same = dict.fromkeys(("open", "high", "low"), price)
    return candle(price, "closed", begin_ns, **same, volume="0", trades=0, exchange_ns=None)


def test_a_candle_closes_when_a_later_one_is_heard_and_flat_ones_fill_what_is_between():
    talk = conversation()
    grows = talk.receive(OHLC, NOW)
    later = OHLC.replace(b"08:15:00.000000000Z", b"08:17:00.000000000Z")
    closes = talk.receive(later, NOW)
    held = [said for said in talk.tick(NOW + GROWS_EVERY_NS) if isinstance(said, Event)]
    assert [*grows, *closes, *held] == [
        candle(),
        candle(mark="closed"),
        flat(MINUTE_NS + 60 * S),
        candle(begin_ns=MINUTE_NS + 120 * S),
    ]


def ohlc_rows(*minutes, kind="snapshot"):
    frame = json.loads(OHLC, parse_float=float)
    row = frame["data"][0]
    rows = [row | {"interval_begin": f"2026-11-22T08:{minute:02}:00.000000000Z"} for minute in minutes]
    return json.dumps(frame | {"type": kind, "data": rows}).encode()


def test_the_candles_that_are_said_at_each_subscription_close_what_was_missed():
    talk = conversation(CANDLES, positions={CANDLES: str((MINUTE_NS - 120 * S) // 1_000_000 - 1)})
    closed = [*talk.receive(ohlc_rows(11, 12, 13, 15), NOW), *talk.tick(NOW + GROWS_EVERY_NS)]
    fresh = conversation(CANDLES).receive(ohlc_rows(13, 14, 15), NOW)
    assert ([event.s for event in closed], [event.s for event in fresh]) == (
        [
            f"{MINUTE_NS - 120 * S}.closed",
            f"{MINUTE_NS - 60 * S}.closed",
            f"{MINUTE_NS}.{AT_NS + 545_000}",
        ],
        [f"{MINUTE_NS}.{AT_NS + 545_000}"],
    )


def past_candles(*rows, last):
    said = ",".join(f'[{begin},"1.0","2.0","0.5","1.5","1.2","7.0",12]' for begin in rows)
    return f'{{"error":[],"result":{{"XXBTZUSD":[{said}],"last":{last}}}}}'.encode()


def test_when_nothing_more_is_heard_rest_says_what_has_closed():
    talk = acked(CANDLES)
    talk.receive(OHLC, NOW)
    begin_s = MINUTE_NS // S
    over = MINUTE_NS + 60 * S + GRACE_NS
    talk.receive(HEARTBEAT, over - 1)
    early, asked = talk.tick(over - 1), talk.tick(over)
    said = talk.fetched("candles-1m BTC/USD", past_candles(begin_s, begin_s + 60, last=begin_s), over)
    about = (("pair", "XBTUSD"), ("interval", "1"), ("since", str(begin_s - 60)))
    assert (early, asked, [(event.s, event.body.close, event.body.backfilled) for event in said]) == (
        [],
        [Fetch("/0/public/OHLC", about, 1, "candles-1m BTC/USD")],
        [(f"{MINUTE_NS}.closed", "1.5", True)],
    )


def test_missed_candles_are_fetched_and_come_in_order():
    talk = acked(CANDLES, positions={CANDLES: str((MINUTE_NS - 120 * S) // 1_000_000 - 1)})
    held = talk.receive(OHLC, NOW)
    alone(talk, CANDLES, str((MINUTE_NS - 120 * S) // 1_000_000 - 1))
    begin_s = MINUTE_NS // S
    rows = past_candles(begin_s - 120, begin_s - 60, begin_s, last=begin_s - 60)
    assert (held, [event.s for event in talk.fetched("candles-1m BTC/USD", rows, NOW)]) == (
        [],
        [f"{MINUTE_NS - 120 * S}.closed", f"{MINUTE_NS - 60 * S}.closed", f"{MINUTE_NS}.{AT_NS + 545_000}"],
    )


def whole(count, at=NOW, exchange_ns=1_795_335_330_120_456_000):
    bids, asks = (("1.25", "3.00000000"),), (("1.26", "7.50000000"),)
    body = Snapshot(bids=bids, asks=asks, received_ns=at, exchange_ns=exchange_ns, depth=10)
    return Event(DEMO, f"x.{count}.1", body, "session")


def status(key, count, state, reason, first):
    return Event(key, f"x.{count}", Status(state=state, reason=reason), "state", first)


def test_a_book_that_is_ours_is_said_while_its_checksum_is_right():
    talk = conversation(DEMO)
    owned = talk.own([DEMO], NOW)
    opened = talk.receive(ack("book", "DEMO/USD", 1, depth=10), NOW)
    said = [*talk.receive(DEMO_WHOLE, NOW), *talk.receive(DEMO_DELTA, NOW)]
    delta = Delta(
        bids=(("1.25", "0.00000000"), ("1.24", "1.00000000")),
        asks=(),
        received_ns=NOW,
        exchange_ns=1_795_335_330_204_118_000,
    )
    assert ([*owned, *opened], said) == (
        [status(DEMO, 1, "syncing", "start", "syncing"), status(DEMO, 2, "syncing", "start", "syncing")],
        [whole(3), status(DEMO, 4, "live", "start", "live"), Event(DEMO, "x.3.2", delta, "session")],
    )


def test_a_book_that_is_not_ours_is_kept_and_said_once_it_is():
    talk = acked(DEMO)
    silent = [*talk.receive(DEMO_WHOLE, NOW), *talk.closed("cut")]
    begun = talk.own([DEMO], NOW + 5)
    talk.disown([DEMO])
    assert (silent, begun, talk.receive(DEMO_DELTA, NOW)) == (
        [],
        [whole(1, exchange_ns=None), status(DEMO, 2, "live", "start", "live")],
        [],
    )


def test_a_wrong_checksum_subscribes_anew_to_that_symbol_and_registers_the_time():
    talk = acked(DEMO)
    talk.own([DEMO], NOW)
    talk.receive(DEMO_WHOLE, NOW)
    broken = talk.receive(DEMO_DELTA.replace(b"2525563957", b"2525563958"), NOW + S)
    ignored = talk.receive(DEMO_DELTA, NOW + S)
    asked = [json.loads(out.text) for i in (1, 2, 3) for out in talk.tick(NOW + i * S)]
    anew = talk.receive(DEMO_WHOLE, NOW + 3 * S)
    why = "the book does not have the exchange's checksum"
    gap = Gap(reason=why, from_ns=NOW // 1_000_000 * 1_000_000, to_ns=(NOW + 3 * S) // 1_000_000 * 1_000_000 + 999_999)
    span = f"{NOW // 1_000_000}-{(NOW + 3 * S) // 1_000_000}"
    params = {"channel": "book", "symbol": ["DEMO/USD"], "depth": 10}
    assert (broken, ignored, asked, anew) == (
        [status(DEMO, 4, "suspect", why, "suspect x.2.1")],
        [],
        [
            {"method": "unsubscribe", "params": params, "req_id": 2},
            {"method": "subscribe", "params": params | {"snapshot": True}, "req_id": 3},
        ],
        [
            Event(DEMO, "x.5", gap, "span", span),
            whole(6, at=NOW + 3 * S),
            status(DEMO, 7, "live", why, "live"),
        ],
    )


def test_a_connection_is_given_up_when_no_snapshot_is_of_use():
    talk = acked(DEMO)
    with pytest.raises(Reconnect, match="no sound book"):
        for i in range(1, 60):
            talk.receive(HEARTBEAT, NOW + i * S)
            for out in talk.tick(NOW + i * S):
                request = json.loads(out.text)
                answer = json.loads(ack("book", "DEMO/USD", request["req_id"])) | {"method": request["method"]}
                talk.receive(json.dumps(answer).encode(), NOW + i * S)
    assert i * S > 3 * SNAPSHOT_WITHIN_NS


def test_the_state_of_the_exchange_is_told_when_it_changes():
    talk = conversation()
    frames = (ONLINE, ONLINE.replace(b"online", b"maintenance"), ONLINE)
    assert [[event.body.state for event in talk.receive(frame, NOW)] for frame in frames] == [
        [],
        ["MAINTENANCE"],
        ["ONLINE"],
    ]


def test_positions_are_where_the_next_connection_goes_on():
    talk = conversation()
    talk.own([DEMO], NOW)
    for frame in FRAMES:
        talk.receive(frame, NOW)
    assert talk.positions() == {
        TRADES: "98765433",
        TICKER: f"ticker.{AT_NS}",
        DEMO: f"x.2.2@{NOW // 1_000_000}",
        CANDLES: str(MINUTE_NS // 1_000_000 - 1),
    }


BAD = [
    b"",
    b"{",
    TRADE[:-20],
    TRADE.replace(b"61249.9", b'"NaN"'),
    TRADE.replace(b"61249.9", b"NaN"),
    TRADE.replace(b"61249.9", b"1e309"),
    TRADE.replace(b"61249.9", b"-61249.9"),
    TRADE.replace(b"61249.9", b"true"),
    TRADE.replace(b"61249.9", b"null"),
    TRADE.replace(b"61249.9", b'{"a":1}'),
    TRADE.replace(b"98765433", b'"98765433"'),
    TRADE.replace(b'"sell","price":61249.9', b'"short","price":61249.9'),
    TRADE.replace(b'"BTC/USD"', b'"XBT/USD"'),
    DEMO_DELTA.replace(b"1.24", b"1.24.1"),
    DEMO_DELTA.replace(b"2525563957", b"-1"),
    OHLC.replace(b"2026-11-22T08:15:00", b"2026-13-22T08:15:00"),
    OHLC.replace(b'"interval":1', b'"interval":7'),
    OHLC.replace(b"2026-11-22T08:15:00", b"9999-11-22T08:15:00"),
    OHLC.replace(b"2026-11-22T08:15:00", b"0001-11-22T08:15:00"),
    b'{"channel":"level3","data":[]}',
    b'{"Error":"Exceeded msg rate"}',
    ack("trade", "BTC/USD", 77),
    b"\x00\xff\xfe binary",
    b"[" * 100_000,
    b'{"channel":"trade","type":"update","data":' + b"[" * 100_000,
]


@pytest.mark.parametrize("frame", BAD, ids=lambda frame: repr(frame[:40]))
def test_a_bad_frame_is_skipped_keeps_its_bytes_and_changes_nothing(frame):
    talk = conversation()
    with pytest.raises(SkipFrame) as skipped:
        talk.receive(frame, NOW)
    assert (skipped.value.frame, talk.positions()) == (frame, {})


def test_numbers_keep_their_text_and_exponents_are_expanded():
    frame = TRADE.replace(b"61249.9", b"1.50e-5").replace(b"0.00420000", b"7").replace(b"61250.0", b"6.1E+4")
    said = [(event.body.price, event.body.amount) for event in conversation().receive(frame, NOW)]
    assert said == [("61000", "7"), ("0.0000150", "0.01000000")]


flat_values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
nested = st.lists(flat_values, max_size=3) | st.dictionaries(st.text(max_size=5), flat_values, max_size=3)
anything = flat_values | nested | st.lists(nested, max_size=3)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(
    st.binary(max_size=100)
    | st.builds(lambda result: json.dumps({"error": [], "result": result}).encode(), anything)
    | st.builds(lambda rows: json.dumps({"error": [], "result": {"A": rows, "last": 1}}).encode(), anything),
    st.sampled_from((TRADES, CANDLES)),
)
def test_no_answer_of_rest_raises_anything(body, key):
    talk = conversation(TRADES, CANDLES, positions={TRADES: "1", CANDLES: "1"})
    talk.receive(TRADE, NOW)
    talk.receive(OHLC, NOW)
    talk.fetched(f"{key.channel} {key.symbol}", body, NOW)


def test_instruments_have_the_names_of_the_newer_protocol():
    pair = {"wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1, "lot_decimals": 8}
    body = {
        "XXBTZUSD": {"altname": "XBTUSD", **pair, "tick_size": "0.1", "costmin": "0.5", "status": "online"},
        "XDGEUR": {**pair, "altname": "XDGEUR", "wsname": "XDG/EUR", "pair_decimals": 0, "status": "post_only"},
        "OLDXBT": {**pair, "wsname": "OLD/XBT", "status": "delisted"},
        "XETHXXBT.d": {"pair_decimals": 5, "lot_decimals": 8},
    }
    assert Kraken().instruments(json.dumps({"error": [], "result": body}).encode()) == {
        "BTC/USD": Instrument("BTC/USD", "BTC/USD", True, "online", "0.1", "0.00000001", "0.5"),
        "DOGE/EUR": Instrument("DOGE/EUR", "DOGE/EUR", True, "post_only", "1", "0.00000001"),
        "OLD/BTC": Instrument("OLD/BTC", "OLD/BTC", False, "delisted", "0.1", "0.00000001"),
    }


@pytest.mark.parametrize("body", [b"{", b'{"error":["EService:Unavailable"]}', b'{"error":[],"result":{"A":{}}}'])
def test_a_list_of_instruments_that_makes_no_sense_is_skipped(body):
    with pytest.raises(SkipFrame):
        Kraken().instruments(body)
