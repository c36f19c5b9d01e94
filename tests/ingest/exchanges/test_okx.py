"""OKX: what its frames mean. The frames are of the shapes of its documentation."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import Candle, Delta, Event, Gap, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.chained import WHOLE_WITHIN_NS
from ingest.exchanges.exchange import Fetch, FetchFailed, Instrument, Locate, SkipFrame, Standing
from ingest.exchanges.okx import Okx
from ingest.exchanges.topic import HOLD_NS
from ingest.exchanges.unflagged import GRACE_NS
from tests.ingest.exchanges.waited import tickers

NOW = 1_795_305_600_300_000_000  # 2026-11-22T00:00:00.3Z
S = 1_000_000_000
MS = 1_000_000
SYMBOLS = {
    "BTC/USDT": Instrument("BTC/USDT", "BTC-USDT", True, "live", "0.1", "0.00000001"),
    "ETH/USDT": Instrument("ETH/USDT", "ETH-USDT", True, "live", "0.01", "0.000001"),
}
TRADES, TICKER, BOOK, CANDLES = (
    StreamKey("okx", channel, "BTC/USDT") for channel in ("trades", "ticker", "orderbook", "candles-1m")
)
TRADE = (
    b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"912345123",'
    b'"px":"83805.2","sz":"0.0021","side":"buy","source":"0","ts":"1795305600229"}]}'
)
DAY = (
    b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instType":"SPOT","instId":"BTC-USDT",'
    b'"last":"83805.2","lastSz":"0.0021","askPx":"83805.2","askSz":"0.1","bidPx":"83805.1","bidSz":"0.52",'
    b'"open24h":"84120.5","high24h":"84911.7","low24h":"82950","sodUtc0":"83990.1","sodUtc8":"84002.6",'
    b'"volCcy24h":"641624551.61837538","vol24h":"7654.575275","ts":"1795305600203"}]}'
)
WHOLE = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["83805.2","0.1","0","1"],'
    b'["83806","2.5","0","6"]],"bids":[["83805.1","0.52","0","3"],["83805","1.2","0","4"],["83804.9","0.007","0","1"]],'
    b'"ts":"1795305600150","checksum":0,"prevSeqId":-1,"seqId":68123456000}]}'
)
UPDATE = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["83805.2","0","0","0"],'
    b'["83805.8","0.4","0","2"]],"bids":[["83805","1.25","0","5"]],"ts":"1795305600250","checksum":0,'
    b'"prevSeqId":68123456000,"seqId":68123456012}]}'
)
BAR = (
    b'{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1795305600000","83790","83812.4","83788.1",'
    b'"83805.2","12.304511","1031148.02213","1031148.02213","0"]]}'
)
NOTICE = (
    b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please'
    b' reconnect.","connId":"5e1c07fa"}'
)
MINUTE_NS = 1_795_305_600_000_000_000


def ack(channel, native="BTC-USDT", request_id="1", event="subscribe"):
    return json.dumps(
        {"id": request_id, "event": event, "arg": {"channel": channel, "instId": native}, "connId": "5e1c07fa"}
    ).encode()


def conversation(*keys, positions=None):
    talk = Okx().converse(keys or (TRADES, TICKER, BOOK, CANDLES), SYMBOLS, positions or {}, "x")
    talk.greet(NOW)
    return talk


CHANNELS = {"trades": "trades-all", "ticker": "tickers", "orderbook": "books", "candles-1m": "candle1m"}


def acked(*keys, positions=None):
    """All in one message."""
    talk = conversation(*keys, positions=positions)
    for key in keys:
        talk.receive(ack(CHANNELS[key.channel], SYMBOLS[key.symbol].native), NOW)
    return talk


def trade(i, **more):
    body = Trade(
        price="83805.2",
        amount="0.0021",
        side="buy",
        received_ns=NOW,
        exchange_ns=1_795_305_600_229 * MS,
        **more,
    )
    return Event(TRADES, str(i), body, "dense", str(i))


def numbered(i):
    return TRADE.replace(b"912345123", str(i).encode())


def rows(*ids, **changes):
    data = [{**json.loads(TRADE)["data"][0], "tradeId": str(i), **changes} for i in ids]
    return json.dumps({"code": "0", "msg": "", "data": data}).encode()


def get(what, weight, key, about="", **params):
    texts = tuple((name, str(value)) for name, value in params.items())
    tag = f"{key.channel} {key.symbol} {about}".rstrip()
    return Fetch(f"/api/v5/market/{what}", (("instId", "BTC-USDT"), *texts), weight, tag)


def test_a_trade_names_the_taker_and_has_its_id():
    assert conversation().receive(TRADE, NOW) == [trade(912345123)]


def test_the_trade_that_is_told_again_at_a_subscription_is_no_news():
    assert conversation(positions={TRADES: "912345123"}).receive(TRADE, NOW) == []


def test_missed_trades_are_asked_for_by_the_id_behind_a_page_and_come_in_order():
    talk = acked(TRADES)
    talk.receive(numbered(5), NOW)
    held = talk.receive(numbered(8), NOW)
    look = talk.tick(NOW)
    again = [talk.located(TRADES, Standing("g", 1, "5"), NOW), talk.tick(NOW + HOLD_NS)]
    asked = talk.located(TRADES, Standing("g", 1, "5"), NOW + HOLD_NS)
    came = talk.fetched("trades BTC/USDT", rows(8, 7, 6, 5, 4), NOW)
    assert (held, look, again, asked, came) == (
        [],
        [Locate(TRADES)],
        [[], [Locate(TRADES)]],
        [get("history-trades", 2, TRADES, after=106, limit=100)],
        [trade(6, backfilled=True), trade(7, backfilled=True), trade(8)],
    )


def hole():
    """A trade is missing, and asked for."""
    talk = acked(TRADES)
    talk.receive(numbered(5), NOW)
    talk.receive(numbered(8), NOW)
    talk.tick(NOW)
    talk.located(TRADES, None, NOW)
    return talk


@pytest.mark.parametrize(
    "answer", [FetchFailed(500, "down"), rows(4, 3), b"{", b'{"code":"51001","msg":"no instrument","data":[]}']
)
def test_trades_that_cannot_be_had_are_registered_as_lost(answer):
    talk, now_ns, said = hole(), NOW, []
    for _ in range(9):
        said += talk.fetched("trades BTC/USDT", answer, now_ns)
        now_ns += 2 * S
        said += talk.tick(now_ns)
    gaps = [output.body for output in said if isinstance(output, Event) and isinstance(output.body, Gap)]
    assert [(gap.first_id, gap.last_id) for gap in gaps] == [("6", "7")]


@pytest.mark.parametrize(
    "answer", [FetchFailed(429, "slower"), b'{"code":"50011","msg":"Too Many Requests","data":[]}']
)
def test_a_request_that_came_too_early_is_made_again_later(answer):
    talk = hole()
    assert talk.fetched("trades BTC/USDT", answer, NOW) == []
    assert talk.tick(NOW + 10 * S)[-1] == get("history-trades", 2, TRADES, after=106, limit=100)


def test_a_ticker_is_all_that_is_known():
    body = Ticker(
        received_ns=NOW,
        bid="83805.1",
        bid_amount="0.52",
        ask="83805.2",
        ask_amount="0.1",
        last="83805.2",
        last_amount="0.0021",
        open="84120.5",
        high="84911.7",
        low="82950",
        volume="7654.575275",
        quote_volume="641624551.61837538",
        exchange_ns=1_795_305_600_203 * MS,
    )
    assert tickers(conversation(), DAY, now_ns=NOW) == [
        Event(TICKER, f"ticker.{1_795_305_600_203 * MS}", body, "ticker")
    ]


def test_a_side_without_orders_is_unknown():
    empty = DAY.replace(b'"askPx":"83805.2","askSz":"0.1"', b'"askPx":"","askSz":""')
    (event,) = tickers(conversation(), empty, now_ns=NOW)
    assert (event.body.ask, event.body.ask_amount, event.body.bid) == (None, None, "83805.1")


def test_a_ticker_without_a_true_time_is_marked_by_ours():
    (event,) = tickers(conversation(), DAY.replace(b"1795305600203", b"0"), now_ns=NOW)
    assert (event.s, event.body.exchange_ns) == (f"received.{NOW}", None)


def test_a_book_is_the_whole_and_then_the_updates_that_name_the_one_before():
    talk = acked(BOOK)
    said = [*talk.receive(WHOLE, NOW), *talk.receive(UPDATE, NOW)]
    bids = (("83805.1", "0.52"), ("83805", "1.2"), ("83804.9", "0.007"))
    whole = Snapshot(bids=bids, asks=(("83805.2", "0.1"), ("83806", "2.5")), received_ns=NOW)
    delta = Delta(
        bids=(("83805", "1.25"),),
        asks=(("83805.2", "0"), ("83805.8", "0.4")),
        received_ns=NOW,
        exchange_ns=1_795_305_600_250 * MS,
    )
    assert said == [
        Event(BOOK, "68123456000", whole, "snapshot"),
        Event(BOOK, "x.2", Status(state="live", reason="start"), "state", "live"),
        Event(BOOK, "68123456012", delta, "range", "68123456001"),
    ]


def test_an_update_that_names_another_one_starts_the_book_anew_by_rest():
    talk = acked(BOOK)
    talk.receive(WHOLE, NOW)
    broken = UPDATE.replace(b'"prevSeqId":68123456000', b'"prevSeqId":68123456007')
    (suspect,) = talk.receive(broken, NOW)
    asked = talk.tick(NOW)
    answer = json.dumps({"code": "0", "msg": "", "data": json.loads(WHOLE)["data"]}).replace("000}", "009}").encode()
    before = talk.fetched("orderbook BTC/USDT", answer, NOW)
    talk.tick(NOW + HOLD_NS)
    talk.located(BOOK, Standing("g", 3, "68123456000"), NOW + HOLD_NS)
    talk.tick(NOW + 2 * HOLD_NS)
    joined = talk.located(BOOK, Standing("g", 3, "68123456000"), NOW + 2 * HOLD_NS)
    assert (suspect.body.state, asked, before) == ("suspect", [get("books", 1, BOOK, sz=400)], [Locate(BOOK)])
    assert [(type(event.body), event.s) for event in joined] == [
        (Gap, "x.4"),
        (Snapshot, "68123456009"),
        (Delta, "68123456012"),
        (Status, "x.5"),
    ]


def test_the_whole_book_that_does_not_come_is_asked_for():
    talk = acked(BOOK)
    assert talk.tick(NOW + WHOLE_WITHIN_NS) == [get("books", 1, BOOK, sz=400)]


def test_the_checksum_is_not_looked_at():
    talk = acked(BOOK)
    talk.receive(WHOLE.replace(b'"checksum":0', b'"checksum":-7'), NOW)
    assert len(talk.receive(UPDATE.replace(b'"checksum":0', b'"checksum":"?"'), NOW)) == 1


def candle(closed=False, **changes):
    body = Candle(
        open_ns=MINUTE_NS,
        open="83790",
        high="83812.4",
        low="83788.1",
        close="83805.2",
        volume="12.304511",
        closed=closed,
        received_ns=NOW,
        quote_volume="1031148.02213",
    )
    return msgspec.structs.replace(body, **changes)


def of(body, mark):
    first = f"{body.open_ns // MS}-{body.open_ns // MS + 59_999}"
    return Event(CANDLES, f"{body.open_ns}.{mark}", body, "candle", first)


def test_a_candle_is_told_apart_by_how_far_it_has_grown_until_it_is_confirmed():
    talk = acked(CANDLES)
    said = [*talk.receive(BAR, NOW), *talk.receive(BAR.replace(b'"0"]', b'"1"]'), NOW)]
    assert said == [of(candle(), "12304511000000000000"), of(candle(closed=True), "closed")]


def bars(*opens, confirmed):
    """Newest first, as REST tells them."""
    row = json.loads(BAR)["data"][0]
    data = [[str(open_ms), *row[1:8], "1" if open_ms <= confirmed else "0"] for open_ms in sorted(opens, reverse=True)]
    return json.dumps({"code": "0", "msg": "", "data": data}).encode()


def test_candles_that_closed_unheard_are_fetched_with_bounds_that_are_left_out():
    talk = acked(CANDLES)
    talk.receive(BAR.replace(b'"0"]', b'"1"]'), NOW)
    first_ms = MINUTE_NS // MS
    third = BAR.replace(str(first_ms).encode(), str(first_ms + 120_000).encode())
    held = talk.receive(third, NOW)
    talk.tick(NOW)
    asked = talk.located(CANDLES, None, NOW)
    answer = bars(first_ms + 60_000, first_ms + 120_000, confirmed=first_ms + 60_000)
    came = talk.fetched("candles-1m BTC/USDT", answer, NOW)
    bounds = {"before": first_ms + 59_999, "after": first_ms + 60_000 + 300 * 60_000}
    second = candle(closed=True, open_ns=MINUTE_NS + 60 * S, backfilled=True)
    assert (held, asked, [event.s for event in came], came[0]) == (
        [],
        [get("candles", 1, CANDLES, bar="1m", **bounds, limit=300)],
        [f"{MINUTE_NS + 60 * S}.closed", f"{MINUTE_NS + 120 * S}.12304511000000000000"],
        of(second, "closed"),
    )


def test_candles_of_long_ago_are_elsewhere():
    talk = acked(CANDLES, positions={CANDLES: str(MINUTE_NS // MS - 2_000 * 60_000 - 1)})
    talk.receive(BAR, NOW)
    talk.tick(NOW)
    (asked,) = talk.located(CANDLES, None, NOW)
    assert (asked.path, asked.weight) == ("/api/v5/market/history-candles", 2)


def test_when_nothing_more_is_heard_rest_says_what_has_closed():
    talk = acked(CANDLES)
    talk.receive(BAR, NOW)
    end_ns = MINUTE_NS + 60 * S
    (asked,) = [out for out in talk.tick(end_ns + GRACE_NS) if isinstance(out, Fetch)]
    first_ms = MINUTE_NS // MS
    came = talk.fetched(asked.tag, bars(first_ms, first_ms + 60_000, confirmed=first_ms), end_ns + GRACE_NS)
    assert [(event.s, event.body.closed) for event in came] == [(f"{MINUTE_NS}.closed", True)]


def test_data_is_understood_whatever_the_order_of_its_keys():
    frame = msgspec.json.decode(TRADE)
    other = msgspec.json.encode({"data": frame["data"], "arg": dict(reversed(frame["arg"].items()))})
    assert conversation().receive(other, NOW) == [trade(912345123)]


def test_positions_are_where_the_next_connection_goes_on():
    talk = acked(TRADES, BOOK, CANDLES)
    for frame in (TRADE, WHOLE, UPDATE, BAR.replace(b'"0"]', b'"1"]')):
        talk.receive(frame, NOW)
    assert talk.positions() == {
        TRADES: "912345123",
        BOOK: "68123456012",
        CANDLES: str(MINUTE_NS // MS + 59_999),
    }


BAD = [
    b"",
    b"{",
    b"[]",
    b"{}",
    b"ping",
    b"[" * 100_000,
    b"\x00\xff\xfe binary",
    TRADE.replace(b'"trades-all"', b'"trades"'),
    TRADE.replace(b'"data":[{"instId":"BTC-USDT"', b'"data":[{"instId":7'),
    TRADE.replace(b'"912345123"', b"912345123"),
    TRADE.replace(b'"912345123"', b'"9123451239123451"'),
    TRADE.replace(b'"0.0021"', b'"1e5"'),
    TRADE.replace(b'"buy"', b'"Buy"'),
    TRADE.replace(b"}]}", b'}],"arg":{"channel":"trades-all","instId":"ETH-USDT"}}'),
    DAY.replace(b'"83805.1"', b'" 83805.1"'),
    UPDATE.replace(b'"1.25"', b'"-1.25"'),
    UPDATE.replace(b'["83805","1.25","0","5"]', b'["83805"]'),
    UPDATE.replace(b"68123456012", b"99999999999999999999"),
    UPDATE.replace(b'"update"', b'"partial"'),
    BAR.replace(b',"0"]', b',"2"]'),
    BAR.replace(b',"1031148.02213","0"]', b"]"),
    BAR.replace(b"1795305600000", b"0"),
]


@pytest.mark.parametrize("frame", BAD, ids=lambda frame: repr(frame[:40]))
def test_a_bad_frame_is_skipped_keeps_its_bytes_and_changes_nothing(frame):
    talk = acked(TRADES, TICKER, BOOK, CANDLES)
    talk.receive(WHOLE, NOW)
    before = talk.positions()
    with pytest.raises(SkipFrame) as skipped:
        talk.receive(frame, NOW)
    assert (skipped.value.frame, talk.positions()) == (frame, before)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(
    st.binary(max_size=100)
    | st.builds(lambda data: b'{"code":"0","msg":"","data":%b}' % data, st.binary(max_size=60))
    | st.builds(
        lambda body, cut, junk: body[:cut] + junk + body[cut:],
        st.sampled_from([rows(1, 2), bars(0, 60_000, confirmed=0)]),
        st.integers(0, 200),
        st.binary(max_size=6),
    ),
    st.sampled_from([TRADES, BOOK, CANDLES]),
)
def test_no_answer_of_rest_raises_anything(body, key):
    talk = acked(TRADES, BOOK, CANDLES)
    talk.fetched(f"{key.channel} {key.symbol}", body, NOW)
    talk.tick(NOW)


def test_instruments_come_by_base_and_quote_with_their_steps():
    rows = [
        {"instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "tickSz": "0.1", "lotSz": "0.01", "state": "live"},
        {"instId": "NEW-USDT", "baseCcy": "NEW", "quoteCcy": "USDT", "tickSz": "", "lotSz": "", "state": "preopen"},
    ]
    body = json.dumps({"code": "0", "msg": "", "data": rows}).encode()
    assert Okx().instruments(body) == {
        "BTC/USDT": Instrument("BTC/USDT", "BTC-USDT", True, "live", "0.1", "0.01"),
        "NEW/USDT": Instrument("NEW/USDT", "NEW-USDT", False, "preopen"),
    }


@pytest.mark.parametrize("body", [b"{", b'{"code":"50001","msg":"","data":[]}', b'{"code":"0","data":[{}]}'])
def test_a_list_of_instruments_that_makes_no_sense_is_skipped(body):
    with pytest.raises(SkipFrame):
        Okx().instruments(body)
