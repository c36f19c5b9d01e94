"""Binance: how one talks with it. Requests and what answers them, signs of life."""

import msgspec
import pytest

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges.binance import Binance
from ingest.exchanges.exchange import NEVER, Instrument, Notice, Plan, Reconnect, Renew, Send
from tests.ingest.exchanges.test_binance import (
    BOOK,
    BOOK_TICKER,
    CANDLES,
    NOW,
    SYMBOLS,
    TICKER,
    TRADE,
    TRADES,
    conversation,
)
from tests.ingest.exchanges.waited import tickers


def test_it_subscribes_to_all_in_one_message():
    talk = Binance().converse((TRADES, TICKER, BOOK, CANDLES), SYMBOLS, {}, "x")
    names = '"btcusdt@trade","btcusdt@bookTicker","btcusdt@ticker","btcusdt@depth@100ms","btcusdt@kline_1m"'
    assert talk.greet(NOW) == [Send(f'{{"method":"SUBSCRIBE","params":[{names}],"id":1}}')]


def test_messages_go_a_hundred_names_each_and_evenly_spaced():
    many = {f"A{i}/B": Instrument(f"A{i}/B", f"A{i}B", True, "TRADING") for i in range(250)}
    talk = Binance().converse([StreamKey("binance", "trades", s) for s in many], many, {}, "x")
    later = [len(talk.greet(NOW)), *(len(talk.tick(NOW + ms * 1_000_000)) for ms in (299, 300, 599, 600, 2000))]
    assert later == [1, 0, 1, 0, 1, 0]


def test_what_is_unsubscribed_falls_silent_and_the_rest_goes_on():
    talk = conversation(TRADES, TICKER)
    talk.receive(b'{"result":null,"id":1}', NOW)
    sent = talk.unsubscribe([TRADES], NOW + 1_000_000_000)
    heard = (talk.receive(TRADE, NOW), len(tickers(talk, BOOK_TICKER, now_ns=NOW)), talk.positions())
    assert (sent, heard) == (
        [Send('{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":2}')],
        ((), 1, {TICKER: "book.81234567890"}),
    )


REFUSALS = [
    b'{"code":2,"msg":"Invalid request: invalid stream","id":1}',
    b'{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":1}',
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_bad_name_is_found_and_told_and_the_others_are_subscribed_to(refusal):
    talk = conversation(TRADES, CANDLES)
    answers = [refusal, b'{"result":null,"id":2}', refusal.replace(b'"id":1', b'"id":3')]
    said = [talk.receive(answers[0], NOW)]
    for i, answer in enumerate(answers[1:], 1):
        said += [talk.tick(NOW + i * 300_000_000), talk.receive(answer, NOW)]
    words = answers[2].decode()
    assert said == [
        [],
        [Send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":2}')],
        [],
        [Send('{"method":"SUBSCRIBE","params":["btcusdt@kline_1m"],"id":3}')],
        [Notice(CANDLES, "refused", words)],
    ]


def test_a_refused_part_of_a_ticker_is_a_refused_ticker():
    talk = conversation(TRADES, TICKER)
    names = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@ticker"]
    stands, told, sent = set(), [], []
    for i in range(1, 20):
        said = talk.tick(NOW + i * 300_000_000)
        requests = [msgspec.json.decode(send.text) for send in said if isinstance(send, Send)]
        for request in requests or ([{"id": 1, "method": "SUBSCRIBE", "params": names}] if i == 1 else []):
            sent.append(request["method"])
            if bad := "btcusdt@ticker" in request["params"]:
                told += talk.receive(b'{"code":2,"msg":"?","id":%d}' % request["id"], NOW)
            if not bad:
                talk.receive(b'{"result":null,"id":%d}' % request["id"], NOW)
                change = stands.difference_update if request["method"] == "UNSUBSCRIBE" else stands.update
                change(request["params"])
    assert (stands, [(notice.key, notice.state) for notice in told]) == ({names[0]}, [(TICKER, "refused")])


@pytest.mark.parametrize("refusal", REFUSALS)
def test_with_nothing_left_the_connection_ends(refusal):
    with pytest.raises(Reconnect, match="SUBSCRIBE refused"):
        conversation(TRADES).receive(refusal, NOW)


def test_a_ticker_without_its_24_hours_is_told_resubscribed_and_at_last_a_reason_to_connect_anew():
    talk = conversation(TICKER)
    talk.receive(b'{"result":null,"id":1}', NOW)
    tickers(talk, BOOK_TICKER.replace(b"81234567890", b"8123456000"), now_ns=NOW)
    said = []
    for second in range(0, 200, 5):
        now_ns = NOW + second * 1_000_000_000
        talk.receive(BOOK_TICKER.replace(b"81234567890", b"8123456%d" % (1000 + second)), now_ns)
        for output in talk.tick(now_ns):
            said.append(output)
            if isinstance(output, Send):
                talk.receive(b'{"result":null,"id":%d}' % msgspec.json.decode(output.text)["id"], now_ns)
    reason = "nothing comes of btcusdt@ticker"
    assert [output for output in said if not isinstance(output, Event)] == [
        Notice(TICKER, "silent", reason),
        Send('{"method":"UNSUBSCRIBE","params":["btcusdt@ticker"],"id":2}'),
        Send('{"method":"SUBSCRIBE","params":["btcusdt@ticker"],"id":3}'),
        Notice(TICKER, "silent", f"{reason}, also after it was subscribed to again", renew=True),
    ]


@pytest.mark.parametrize("notice", [b'{"e":"serverShutdown","E":1}', b'{"stream":"!serverShutdown","data":{}}'])
def test_a_server_that_goes_down_is_left_at_once(notice):
    with pytest.raises(Reconnect, match="goes down"):
        conversation().receive(notice, NOW)


def test_a_request_without_an_answer_ends_the_connection():
    with pytest.raises(Reconnect, match="no answer"):
        conversation().tick(NOW + 10_000_000_000)


def renewed_after_hours(session: str) -> float:
    """Within a quarter of an hour."""
    talk = Binance().converse([TRADES], SYMBOLS, {}, session)
    talk.greet(NOW)
    talk.receive(b'{"result":null,"id":1}', NOW)
    for quarter in range(1, 24 * 4):
        now_ns = NOW + quarter * 900_000_000_000
        talk.receive(TRADE, now_ns)
        if any(isinstance(output, Renew) for output in talk.tick(now_ns)):
            return quarter / 4
    raise AssertionError("never")


def test_a_connection_asks_to_be_replaced_once_and_each_at_another_time_before_the_exchange_cuts_it():
    hours = [renewed_after_hours(f"binance-{i}") for i in range(50)]
    assert (min(hours) >= 21, max(hours) <= 23, len(set(hours)) >= 6) == (True, True, True)


def test_a_quiet_connection_is_asked_whether_it_still_lives():
    talk = conversation(TRADES)
    talk.receive(b'{"result":null,"id":1}', NOW)
    asked = talk.tick(NOW + 15_000_000_000)
    assert (asked, talk.receive(b'{"result":["btcusdt@trade"],"id":2}', NOW)) == (
        [Send('{"method":"LIST_SUBSCRIPTIONS","id":2}')],
        [],
    )


def test_a_plan_keeps_within_a_connections_streams():
    keys = [StreamKey("binance", channel, f"A{i}/B") for i in range(400) for channel in ("ticker", "trades")]
    plans = Binance().plan(keys)
    assert ([len(plan.streams) for plan in plans], sorted(key for plan in plans for key in plan.streams)) == (
        [667, 133],
        sorted(keys),
    )


def test_what_is_added_to_a_plan_goes_where_there_is_room():
    full = Plan("/stream", tuple(StreamKey("binance", "trades", f"A{i}/B") for i in range(999)))
    few = Plan("/stream", (BOOK,))
    assert Binance().plan([TICKER, TRADES], [full, few]) == (
        Plan("/stream", (*full.streams, TRADES)),
        Plan("/stream", (BOOK, TICKER)),
    )


def test_nothing_wanted_is_no_connection():
    assert (Binance().plan([]), Binance().plan([TRADES])) == ((), (Plan("/stream", (TRADES,)),))


def test_nothing_is_due_before_it_is_greeted():
    assert Binance().converse([TRADES], SYMBOLS, {}, "x").due() == NEVER


def test_it_knows_whether_all_it_subscribed_to_is_acknowledged():
    talk = conversation(TRADES)
    before = talk.acknowledged()
    talk.receive(b'{"result":null,"id":1}', NOW)
    stands = talk.acknowledged()
    talk.subscribe([TICKER], NOW)
    assert (before, stands, talk.acknowledged()) == (False, True, False)
