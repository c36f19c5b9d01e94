"""Coinbase: what its frames mean. The frames are of the shapes of its documentation."""

import json

import pytest

from ingest.contract.events import Delta, Event, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.coinbase import Coinbase
from ingest.exchanges.exchange import Fetch, FetchFailed, Instrument, Locate, Notice, Reconnect, SkipFrame, Standing
from ingest.exchanges.topic import HOLD_NS, CandlesWanted
from tests.ingest.exchanges.waited import tickers

NOW = 1_795_335_331_200_000_000  # 2026-11-22T08:15:31.2Z
AT_NS = 1_795_335_330_123_456_000
S = 1_000_000_000
SYMBOLS = {
    "BTC/USD": Instrument("BTC/USD", "BTC-USD", True, "online", "0.01", "0.00000001", "1"),
    "ETH/USD": Instrument("ETH/USD", "ETH-USD", True, "online", "0.01", "0.00000001", "1"),
}
TRADES, TICKER, BOOK, CANDLES, HOURS = (
    StreamKey("coinbase", channel, "BTC/USD")
    for channel in ("trades", "ticker", "orderbook", "candles-1m", "candles-2h")
)
ETH_TRADES = StreamKey("coinbase", "trades", "ETH/USD")
LAST_MATCH = (
    b'{"type":"last_match","trade_id":987654320,"maker_order_id":"6b7c1d1e-0000-4000-8000-000000000001",'
    b'"taker_order_id":"6b7c1d1e-0000-4000-8000-000000000002","side":"sell","size":"0.00420000","price":"61250.10",'
    b'"product_id":"BTC-USD","sequence":98765432100,"time":"2026-11-22T08:15:29.881204Z"}'
)
MATCH = (
    b'{"type":"match","trade_id":987654321,"maker_order_id":"6b7c1d1e-0000-4000-8000-000000000003",'
    b'"taker_order_id":"6b7c1d1e-0000-4000-8000-000000000004","side":"buy","size":"0.01000000","price":"61250.09",'
    b'"product_id":"BTC-USD","sequence":98765432131,"time":"2026-11-22T08:15:30.123456Z"}'
)
TICK = (
    b'{"type":"ticker","sequence":98765432131,"product_id":"BTC-USD","price":"61250.09","open_24h":"60437.7",'
    b'"volume_24h":"8123.45678901","low_24h":"60110","high_24h":"61500","volume_30d":"254321.12345678",'
    b'"best_bid":"61250.09","best_bid_size":"1.84000000","best_ask":"61250.10","best_ask_size":"0.92000000",'
    b'"side":"sell","time":"2026-11-22T08:15:30.123456Z","trade_id":987654321,"last_size":"0.01"}'
)
WHOLE = (
    b'{"type":"snapshot","product_id":"BTC-USD","bids":[["61250.09","1.84000000"],["61249.90","0.50000000"]],'
    b'"asks":[["61250.10","0.92000000"],["61251.00","2.00000000"]],"time":"2026-11-22T08:15:30.000000Z"}'
)
CHANGES = (
    b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","61250.09","1.34000000"],'
    b'["sell","61251.00","0.00000000"]],"time":"2026-11-22T08:15:30.123456Z"}'
)
REFUSED = {"type": "error", "message": "Failed to subscribe"}


def conversation(*keys, positions=None):
    talk = Coinbase().converse(keys, SYMBOLS, positions or {}, "x")
    talk.greet(NOW)
    return talk


def listed(**channels):
    rows = [{"name": name, "product_ids": products, "account_ids": None} for name, products in channels.items()]
    return json.dumps({"type": "subscriptions", "channels": rows}).encode()


def acked(*keys, positions=None):
    talk = conversation(*keys, positions=positions)
    names = ("matches", "ticker", "level2_50", "heartbeat")
    talk.receive(listed(**{name: ["BTC-USD", "ETH-USD"] for name in names}), NOW)
    return talk


def beat(last_trade_id, at_ns=NOW):
    seconds = at_ns // S - 1_795_335_300
    return json.dumps(
        {
            "type": "heartbeat",
            "sequence": 98765432140,
            "last_trade_id": last_trade_id,
            "product_id": "BTC-USD",
            "time": f"2026-11-22T08:{15 + seconds // 60}:{seconds % 60:02}.000217Z",
        }
    ).encode()


def said(outputs):
    return [json.loads(output.text) for output in outputs]


def trade(trade_id=987654321, price="61250.09", amount="0.01000000", side="sell", at_ns=AT_NS, **more):
    body = Trade(price=price, amount=amount, side=side, received_ns=NOW, exchange_ns=at_ns, **more)
    return Event(TRADES, str(trade_id), body, "dense", str(trade_id))


def page(*ids):
    rows = [
        {"trade_id": i, "side": "buy", "size": "1.00", "price": "2.50", "time": "2026-11-22T08:15:30.123456Z"}
        for i in reversed(ids)
    ]
    return json.dumps(rows).encode()


def test_it_subscribes_to_each_feed_of_a_product_once_in_one_message():
    talk = Coinbase().converse((CANDLES, HOURS, BOOK, ETH_TRADES), SYMBOLS, {}, "x")
    assert said(talk.greet(NOW)) == [
        {
            "type": "subscribe",
            "channels": [
                {"name": "matches", "product_ids": ["BTC-USD", "ETH-USD"]},
                {"name": "heartbeat", "product_ids": ["BTC-USD", "ETH-USD"]},
                {"name": "level2_batch", "product_ids": ["BTC-USD"]},
            ],
        }
    ]


def test_a_book_alone_is_watched_by_its_trades():
    talk = Coinbase().converse((BOOK,), SYMBOLS, {}, "x")
    (request,) = said(talk.greet(NOW))
    assert [channel["name"] for channel in request["channels"]] == ["level2_batch", "heartbeat", "matches"]


def test_a_message_waits_for_the_answer_to_the_one_before():
    talk = conversation(TRADES)
    early = [*talk.subscribe([TICKER], NOW), *talk.tick(NOW + S)]
    talk.receive(listed(matches=["BTC-USD"], heartbeat=["BTC-USD"]), NOW + S)
    channels = [{"name": "ticker", "product_ids": ["BTC-USD"]}]
    assert (early, said(talk.tick(NOW + S))) == ([], [{"type": "subscribe", "channels": channels}])


def test_what_several_streams_need_is_kept_until_the_last_of_them_goes():
    talk = acked(TRADES, CANDLES)
    first, last = talk.unsubscribe([TRADES], NOW + S), talk.unsubscribe([CANDLES], NOW + S)
    gone = [{"name": "matches", "product_ids": ["BTC-USD"]}, {"name": "heartbeat", "product_ids": ["BTC-USD"]}]
    assert (first, said(last)) == ([], [{"type": "unsubscribe", "channels": gone}])


def test_a_book_is_acknowledged_under_another_name():
    talk = conversation(BOOK)
    before = talk.acknowledged()
    talk.receive(listed(level2_50=["BTC-USD"], heartbeat=["BTC-USD"]), NOW)
    assert (before, talk.acknowledged()) == (False, True)


def test_a_match_names_the_maker_and_the_trade_its_taker():
    assert acked(TRADES).receive(MATCH, NOW) == [trade()]


def test_the_last_match_is_no_event_and_tells_which_trade_is_the_next():
    talk = acked(TRADES)
    baseline = talk.receive(LAST_MATCH, NOW)
    missed = MATCH.replace(b"987654321", b"987654322")
    assert (baseline, talk.receive(missed, NOW), talk.tick(NOW)) == ([], [], [Locate(TRADES)])


def test_a_trade_that_a_heartbeat_tells_of_and_the_next_still_does_is_fetched():
    talk = acked(TRADES, positions={TRADES: "987654320"})
    once = [*talk.receive(beat(987654321), NOW), *talk.tick(NOW)]
    talk.receive(beat(987654321, NOW + S), NOW + S)
    looks = [*talk.tick(NOW + S), *talk.located(TRADES, Standing("g", 7, "987654320"), NOW + S)]
    looks += talk.tick(NOW + S + HOLD_NS)
    asked = talk.located(TRADES, Standing("g", 7, "987654320"), NOW + S + HOLD_NS)
    filled = talk.fetched("trades BTC/USD", page(987654319, 987654320, 987654321), NOW)
    params = (("limit", "1000"), ("after", "987655321"))
    assert (once, looks, asked, filled) == (
        [],
        [Locate(TRADES)] * 2,
        [Fetch("/products/BTC-USD/trades", params, 1, "trades BTC/USD")],
        [trade(price="2.50", amount="1.00", backfilled=True)],
    )


def test_a_ticker_says_all_that_it_knows_and_bears_the_exchanges_number():
    body = Ticker(
        received_ns=NOW,
        bid="61250.09",
        bid_amount="1.84000000",
        ask="61250.10",
        ask_amount="0.92000000",
        last="61250.09",
        last_amount="0.01",
        open="60437.7",
        high="61500",
        low="60110",
        volume="8123.45678901",
        exchange_ns=AT_NS,
    )
    assert tickers(acked(TICKER), TICK, now_ns=NOW) == [Event(TICKER, "ticker.98765432131", body, "ticker")]


def test_of_a_product_that_never_traded_a_ticker_knows_little():
    bare = b'{"type":"ticker","sequence":5,"product_id":"BTC-USD","best_bid":"0","best_bid_size":"0.00000000"}'
    assert tickers(acked(TICKER), bare, now_ns=NOW) == [Event(TICKER, "ticker.5", Ticker(received_ns=NOW), "ticker")]


def book(*frames):
    talk = acked(BOOK)
    talk.own([BOOK], NOW)
    return [event for frame in frames for event in talk.receive(frame, NOW)]


def test_a_book_begins_with_a_snapshot_and_goes_on_with_changes():
    events = book(CHANGES, WHOLE, CHANGES)
    name = events[0].s.rpartition(".")[0]
    whole = Snapshot(
        bids=(("61250.09", "1.84000000"), ("61249.90", "0.50000000")),
        asks=(("61250.10", "0.92000000"), ("61251.00", "2.00000000")),
        received_ns=NOW,
        exchange_ns=1_795_335_330_000_000_000,
    )
    delta = Delta(
        bids=(("61250.09", "1.34000000"),), asks=(("61251.00", "0.00000000"),), received_ns=NOW, exchange_ns=AT_NS
    )
    assert [event for event in events if not isinstance(event.body, Status)] == [
        Event(BOOK, f"{name}.1", whole, "session"),
        Event(BOOK, f"{name}.2", delta, "session"),
    ]


@pytest.mark.parametrize("time", [b'"0001-01-01T00:00:00.000000Z"', b"null"])
def test_a_time_in_the_year_one_is_none(time):
    snapshot = book(WHOLE.replace(b'"2026-11-22T08:15:30.000000Z"', time))[0]
    assert snapshot.body.exchange_ns is None


def test_a_book_of_which_a_frame_makes_no_sense_begins_anew_at_once():
    talk = acked(BOOK)
    talk.own([BOOK], NOW)
    talk.receive(WHOLE, NOW)
    with pytest.raises(SkipFrame):
        talk.receive(CHANGES.replace(b"1.34000000", b"NaN"), NOW)
    suspect, unsubscribe = talk.tick(NOW + S)
    gone = {"type": "unsubscribe", "channels": [{"name": "level2_batch", "product_ids": ["BTC-USD"]}]}
    assert (suspect.body.state, said([unsubscribe])) == ("suspect", [gone])


def test_a_book_that_has_other_best_prices_than_the_exchange_three_times_begins_anew():
    talk = acked(BOOK)
    talk.own([BOOK], NOW)
    talk.receive(WHOLE, NOW)
    answer = b'{"bids":[["61240.00","1.84","3"]],"asks":[["61241.00","0.92",2]],"sequence":98765432131}'
    asked, states, i = [], [], 0
    while not states:
        i += 1
        talk.receive(beat(0), NOW + i * S)
        for output in talk.tick(NOW + i * S):
            if isinstance(output, Fetch):
                asked.append(output)
                talk.fetched(output.tag, answer, NOW + i * S)
            if isinstance(output, Event):
                states.append(output.body.state)
    best = Fetch("/products/BTC-USD/book", (("level", "1"),), 1, "orderbook BTC/USD")
    assert (asked, states) == ([best] * 3, ["suspect"])


def test_a_book_begins_anew_when_trades_that_were_passed_over_have_not_come_by_the_next_heartbeat():
    talk = acked(TRADES, BOOK)
    talk.own([BOOK], NOW)
    for frame in (LAST_MATCH, WHOLE, MATCH, beat(987654321)):
        talk.receive(frame, NOW)
    talk.receive(MATCH.replace(b"987654321", b"987654323"), NOW)
    suspect = talk.receive(beat(987654323), NOW)
    reason = "trades were lost on the way, and so may changes be"
    assert [(event.body.state, event.body.reason) for event in suspect] == [("suspect", reason)]


@pytest.mark.parametrize(
    "frame",
    [
        b"{",
        b'{"type":"status","products":[]}',
        MATCH.replace(b"BTC-USD", b"FOO-USD"),
        MATCH.replace(b'"buy"', b'"BUY"'),
        MATCH.replace(b"61250.09", b"1e5"),
        MATCH.replace(b"2026-11-22T08:15:30.123456Z", b"yesterday"),
    ],
)
def test_a_frame_that_makes_no_sense_is_skipped(frame):
    with pytest.raises(SkipFrame):
        acked(TRADES).receive(frame, NOW)


def test_one_bad_product_refuses_all_and_the_others_are_asked_for_again():
    talk = conversation(TRADES, ETH_TRADES)
    told = talk.receive(json.dumps({**REFUSED, "reason": "ETH-USD is not a valid product"}).encode(), NOW)
    again = said(talk.tick(NOW + S))
    reason = "Failed to subscribe: ETH-USD is not a valid product"
    assert (told, again[0]["channels"], len(again)) == (
        [Notice(ETH_TRADES, "refused", reason)],
        [{"name": "matches", "product_ids": ["BTC-USD"]}, {"name": "heartbeat", "product_ids": ["BTC-USD"]}],
        1,
    )


def test_what_is_not_in_the_list_is_refused():
    talk = conversation(TRADES, TICKER)
    told = talk.receive(listed(matches=["BTC-USD"], heartbeat=["BTC-USD"]), NOW)
    assert (told, talk.acknowledged()) == ([Notice(TICKER, "refused", "it is not acknowledged")], True)


@pytest.mark.parametrize("message", ["ErrSlowConsume", "ErrSlowRead", "Authentication Failed"])
def test_the_last_word_on_a_connection_ends_it(message):
    with pytest.raises(Reconnect, match=message):
        acked(TRADES).receive(json.dumps({"type": "error", "message": message}).encode(), NOW)


def test_a_connection_without_a_heartbeat_is_dead():
    talk = acked(TRADES)
    with pytest.raises(Reconnect, match="not even a heartbeat"):
        talk.tick(NOW + 10 * S)


def test_a_feed_that_stays_behind_for_ten_heartbeats_is_told_and_subscribed_to_once_more():
    talk = acked(TICKER)
    tickers(talk, TICK, now_ns=NOW)
    outputs = []
    for i in range(11):
        outputs += talk.receive(beat(987654322, NOW + i * S), NOW + i * S)
    channels = [{"name": "ticker", "product_ids": ["BTC-USD"]}]
    assert (outputs, said(talk.tick(NOW + 11 * S))) == (
        [Notice(TICKER, "silent", "nothing comes of ticker BTC-USD")],
        [{"type": "unsubscribe", "channels": channels}],
    )


def test_candles_that_no_trades_are_left_of_are_asked_for_in_buckets_that_rest_has():
    talk = acked(HOURS, positions={HOURS: str(1_795_327_200_000 - 1)})
    asked = talk._voice.ask(HOURS, CandlesWanted(1_795_327_200_000), NOW)
    params = (("granularity", "3600"), ("start", "2026-11-22T04:00:00Z"), ("end", "2026-12-04T15:00:00Z"))
    assert asked == [Fetch("/products/BTC-USD/candles", params, 1, "candles-2h BTC/USD candles")]


def test_of_seconds_rest_has_no_candles():
    seconds = StreamKey("coinbase", "candles-1s", "BTC/USD")
    talk = acked(seconds)
    assert talk._voice.ask(seconds, CandlesWanted(1_795_327_200_000), NOW) == []


@pytest.mark.parametrize("answer", [b"{", b'{"message":"NotFound"}', FetchFailed(500, "no")])
def test_trades_that_cannot_be_had_are_registered_as_lost(answer):
    talk = acked(TRADES, positions={TRADES: "987654319"})
    talk.receive(MATCH, NOW)
    for i in range(2):
        talk.tick(NOW + i * HOLD_NS)
        talk.located(TRADES, Standing("g", 7, "987654319"), NOW + i * HOLD_NS)
    events = []
    for i in range(1, 5):
        events += talk.fetched("trades BTC/USD", answer, NOW + i * S)
        talk.receive(beat(1), NOW + 3 * i * S)
        talk.tick(NOW + 3 * i * S)
    gap, live = events
    assert (gap.body.first_id, gap.body.last_id, live) == ("987654320", "987654320", trade())


def test_instruments_are_what_is_online_and_halted_where_no_orders_are_taken():
    row = {
        "base_currency": "BTC",
        "quote_currency": "USD",
        "quote_increment": "0.01",
        "base_increment": "0.00000001",
        "min_market_funds": "1",
        "status": "online",
        "trading_disabled": False,
    }
    rows = [
        {**row, "id": "BTC-USD"},
        {**row, "id": "ETH-USD", "base_currency": "ETH", "trading_disabled": True},
        {**row, "id": "OLD-USD", "base_currency": "OLD", "status": "delisted"},
    ]
    assert Coinbase().instruments(json.dumps(rows).encode()) == {
        "BTC/USD": SYMBOLS["BTC/USD"],
        "ETH/USD": Instrument("ETH/USD", "ETH-USD", True, "trading_disabled", "0.01", "0.00000001", "1", halted=True),
        "OLD/USD": Instrument("OLD/USD", "OLD-USD", False, "delisted", "0.01", "0.00000001", "1"),
    }
