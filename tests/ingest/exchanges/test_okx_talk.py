"""OKX: how one talks with it. Requests and what answers them, signs of life."""

import json

import pytest

from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Notice, Plan, Reconnect, Renew, Send, SkipFrame
from ingest.exchanges.okx import Okx
from tests.ingest.exchanges.test_okx import (
    BOOK,
    CANDLES,
    CHANNELS,
    DAY,
    NOTICE,
    NOW,
    SYMBOLS,
    TICKER,
    TRADE,
    TRADES,
    S,
    ack,
    acked,
    conversation,
)
from tests.ingest.exchanges.waited import tickers

ETH_TRADES = StreamKey("okx", "trades", "ETH/USDT")


def failure(code, words, **known):
    return json.dumps({**known, "event": "error", "code": code, "msg": words, "connId": "93d4a2c6"}).encode()


def unknown(channel, native):
    return (
        f"Subscribe failed, wrong URL or channel:{channel},instId:{native} doesn't exist. Please use the correct URL,"
        " channel and parameters referring to API document."
    )


def sends(outputs):
    texts = (output.text for output in outputs if isinstance(output, Send))
    return [json.loads(text) for text in texts if text != "ping"]


def test_it_subscribes_to_many_names_in_one_message():
    talk = Okx().converse((TRADES, ETH_TRADES, CANDLES), SYMBOLS, {}, "x")
    args = [("trades-all", "BTC-USDT"), ("trades-all", "ETH-USDT"), ("candle1m", "BTC-USDT")]
    assert sends(talk.greet(NOW)) == [
        {"id": "1", "op": "subscribe", "args": [{"channel": channel, "instId": native} for channel, native in args]}
    ]


def test_each_name_has_an_answer_of_its_own():
    talk = conversation(TRADES, ETH_TRADES)
    before = talk.acknowledged()
    talk.receive(ack("trades-all"), NOW)
    between = talk.acknowledged()
    talk.receive(ack("trades-all", "ETH-USDT"), NOW)
    assert (before, between, talk.acknowledged()) == (False, False, True)


def test_a_name_that_is_refused_is_told_by_the_words_and_the_others_stand():
    talk = conversation(TRADES, ETH_TRADES)
    words = unknown("trades-all", "BTC-USDT")
    told = talk.receive(failure("60018", words, id="1"), NOW)
    talk.receive(ack("trades-all", "ETH-USDT"), NOW)
    assert (told, talk.acknowledged(), list(talk.receive(TRADE, NOW))) == (
        [Notice(TRADES, "refused", f"60018 {words}"[:256])],
        True,
        [],
    )


def test_words_that_name_nothing_have_the_names_asked_for_apart():
    talk = conversation(TRADES, ETH_TRADES, CANDLES)
    talk.receive(ack("candle1m"), NOW)
    assert talk.receive(failure("60012", "Invalid request", id="1"), NOW) == []
    apart = [each for i in (1, 2) for each in sends(talk.tick(NOW + i * S))]
    assert [(each["id"], [arg["instId"] for arg in each["args"]]) for each in apart] == [
        ("2", ["BTC-USDT"]),
        ("3", ["ETH-USDT"]),
    ]


def test_who_asks_too_often_asks_again_a_minute_later():
    talk = conversation(TRADES)
    talk.receive(failure("60014", "Requests too frequent", id="1"), NOW)
    early = sends(talk.tick(NOW + 59 * S))
    talk.receive(b"pong", NOW + 59 * S)
    assert (early, [each["id"] for each in sends(talk.tick(NOW + 60 * S))]) == ([], ["2"])


def test_an_error_that_answers_nothing_is_skipped():
    with pytest.raises(SkipFrame):
        conversation().receive(failure("60012", "Invalid request: ?"), NOW)


def test_a_request_without_an_answer_ends_the_connection():
    talk = conversation(TRADES)
    with pytest.raises(Reconnect):
        talk.tick(NOW + 11 * S)


def test_an_hour_has_so_many_requests_and_then_the_connection_is_given_up():
    talk, now_ns, said = acked(TRADES), NOW, 1
    with pytest.raises(Reconnect, match="used up"):
        while said < 1_000:
            now_ns += S
            talk.receive(b"pong", now_ns)
            change = talk.unsubscribe if said % 2 else talk.subscribe
            sent = sends(change([TRADES], now_ns))
            said += len(sent)
            for each in sent:
                talk.receive(ack("trades-all", request_id=each["id"], event=each["op"]), now_ns)
    assert said == 470


def test_a_quiet_connection_is_pinged_by_text_and_given_up_without_an_answer():
    talk = acked(TRADES)
    quiet = talk.tick(NOW + 20 * S)
    assert quiet == [Send("ping")]
    talk.receive(b"pong", NOW + 21 * S)
    assert talk.tick(NOW + 41 * S) == [Send("ping")]
    with pytest.raises(Reconnect, match="ping"):
        talk.tick(NOW + 49 * S)


def test_a_service_upgrade_has_the_connection_replaced():
    assert conversation().receive(NOTICE, NOW) == [Renew("the exchange announced that it closes this connection")]


@pytest.mark.parametrize(
    "frame",
    [
        b"pong",
        b'{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"5e1c07fa"}',
        b'{"event":"notice","code":"1","msg":"?"}',
        ack("trades-all", "DOGE-USDT"),
        ack("trades-all", event="unsubscribe"),
    ],
)
def test_what_means_nothing_says_nothing(frame):
    assert list(conversation().receive(frame, NOW)) == []


def test_what_is_unsubscribed_falls_silent_and_the_rest_goes_on():
    talk = acked(TRADES, TICKER)
    sent = sends(talk.unsubscribe([TRADES], NOW + S))
    arg = {"channel": "trades-all", "instId": "BTC-USDT"}
    assert (sent, list(talk.receive(TRADE, NOW)), len(tickers(talk, DAY, now_ns=NOW))) == (
        [{"id": "2", "op": "unsubscribe", "args": [arg]}],
        [],
        1,
    )


def test_a_plan_has_two_paths_and_few_books_on_a_connection():
    keys = [StreamKey("okx", channel, f"A{i}/B") for i in range(30) for channel in CHANNELS]
    plans = Okx().plan(keys)
    told = [(plan.path, sorted({key.channel for key in plan.streams}), len(plan.streams)) for plan in plans]
    assert (told, sorted(key for plan in plans for key in plan.streams)) == (
        [
            ("/ws/v5/business", ["candles-1m", "trades"], 60),
            ("/ws/v5/public", ["orderbook", "ticker"], 21 + 30),
            ("/ws/v5/public", ["orderbook"], 9),
        ],
        sorted(keys),
    )


def test_what_is_carried_stays_where_it_is():
    plans = (Plan("/ws/v5/public", (TICKER,)), Plan("/ws/v5/business", ()))
    assert Okx().plan((TRADES, BOOK), plans) == (
        Plan("/ws/v5/public", (TICKER, BOOK)),
        Plan("/ws/v5/business", (TRADES,)),
    )


def test_nothing_is_due_before_it_is_greeted():
    assert Okx().converse((TRADES,), SYMBOLS, {}, "x").due() == NEVER
