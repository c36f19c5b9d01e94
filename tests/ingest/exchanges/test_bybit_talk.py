"""Bybit: how one talks with it. Requests and what answers them, signs of life."""

import json

import pytest

from ingest.contract.keys import StreamKey
from ingest.exchanges.bybit import Bybit
from ingest.exchanges.exchange import NEVER, Notice, Plan, Reconnect, Send
from tests.ingest.exchanges.test_bybit import (
    BEST,
    BOOK,
    CANDLES,
    DAY,
    KLINE,
    NOW,
    SYMBOLS,
    TICKER,
    TRADES,
    S,
    answer,
    conversation,
    requests,
    subscribed,
)

ETH_TRADES = StreamKey("bybit", "trades", "ETH/USDT")


def refusal(req_id, words):
    return answer(req_id, words=words, success=False)


def test_it_subscribes_ten_topics_a_message_evenly_spaced():
    keys = [StreamKey("bybit", f"candles-{i}", "BTC/USDT") for i in ("3m", "5m", "1h", "12h", "1d", "1w", "1M")]
    talk = Bybit().converse((TRADES, TICKER, BOOK, CANDLES, *keys), SYMBOLS, {}, "x")
    said = [*talk.greet(NOW), *talk.tick(NOW + 99_999_999), *talk.tick(NOW + 100_000_000)]
    topics = ["publicTrade", "orderbook.1", "tickers", "orderbook.1000", "kline.1", "kline.3", "kline.5", "kline.60"]
    assert [json.loads(send.text) for send in said] == [
        {"req_id": "1", "op": "subscribe", "args": [f"{name}.BTCUSDT" for name in (*topics, "kline.720", "kline.D")]},
        {"req_id": "2", "op": "subscribe", "args": ["kline.W.BTCUSDT", "kline.M.BTCUSDT"]},
    ]


def test_it_pings_every_twenty_seconds_and_a_pong_must_come():
    talk = subscribed(TRADES)
    early, pinged = talk.tick(NOW + 20 * S - 1), talk.tick(NOW + 20 * S)
    assert (requests(early), requests(pinged)) == ([], [("ping", None)])
    assert talk.receive(b'{"success":true,"ret_msg":"pong","req_id":"2","op":"ping"}', NOW + 21 * S) == []
    assert requests(talk.tick(NOW + 40 * S)) == [("ping", None)]
    with pytest.raises(Reconnect, match="no answer to ping"):
        talk.tick(NOW + 50 * S)


@pytest.mark.parametrize(
    "words",
    [
        "Invalid symbol :[publicTrade.ETHUSDT]",
        "error:handler not found,topic:publicTrade.ETHUSDT",
    ],
)
def test_a_bad_topic_is_told_and_the_others_are_subscribed_to_again(words):
    talk = conversation(TRADES, ETH_TRADES, CANDLES)
    told = talk.receive(refusal(1, words), NOW)
    again = talk.tick(NOW + 100_000_000)
    talk.receive(answer(2), NOW)
    assert (told, requests(again), talk.acknowledged()) == (
        [Notice(ETH_TRADES, "refused", words)],
        [("subscribe", ["publicTrade.BTCUSDT", "kline.1.BTCUSDT"])],
        True,
    )


def test_where_a_refusal_blames_nobody_each_half_is_asked_for():
    talk = conversation(TRADES, CANDLES)
    told = talk.receive(refusal(1, "error:something new"), NOW)
    said = [output for i in range(1, 3) for output in talk.tick(NOW + i * 100_000_000)]
    assert (told, requests(said)) == (
        [],
        [("subscribe", ["publicTrade.BTCUSDT"]), ("subscribe", ["kline.1.BTCUSDT"])],
    )


def test_what_is_subscribed_already_stands():
    talk = conversation(TRADES, CANDLES)
    told = talk.receive(refusal(1, "error:already subscribed,topic:publicTrade.BTCUSDT"), NOW)
    again = talk.tick(NOW + 100_000_000)
    talk.receive(answer(2), NOW)
    assert (told, requests(again), talk.acknowledged()) == ([], [("subscribe", ["kline.1.BTCUSDT"])], True)


def test_with_nothing_left_the_connection_ends():
    with pytest.raises(Reconnect, match="subscribe refused"):
        conversation(TRADES).receive(refusal(1, "Invalid symbol :[publicTrade.BTCUSDT]"), NOW)


def test_a_request_without_an_answer_ends_the_connection():
    talk = conversation(TRADES)
    with pytest.raises(Reconnect, match="no answer"):
        talk.tick(NOW + 10 * S)


def test_best_prices_that_do_not_come_again_are_a_silence():
    talk = subscribed(TICKER)
    told = []
    for second in range(0, 60, 5):
        now_ns = NOW + second * S
        talk.receive(DAY.replace(b"1795305600126", str(now_ns // 1_000_000).encode()), now_ns)
        for output in talk.tick(now_ns):
            if isinstance(output, Notice):
                told.append((second, output.reason))
            elif isinstance(output, Send):
                talk.receive(answer(json.loads(output.text)["req_id"]), now_ns)
    assert told[0] == (30, "nothing comes of orderbook.1.BTCUSDT")


def test_what_is_unsubscribed_falls_silent_and_the_rest_goes_on():
    talk = subscribed(TICKER, CANDLES)
    sent = [
        output for i in (1, 2) for output in (talk.unsubscribe([TICKER], NOW + S) if i == 1 else talk.tick(NOW + 2 * S))
    ]
    heard = (talk.receive(DAY, NOW), talk.receive(BEST, NOW), len(talk.receive(KLINE, NOW)))
    assert (requests(sent), heard, list(talk.positions())) == (
        [("unsubscribe", ["orderbook.1.BTCUSDT", "tickers.BTCUSDT"])],
        ((), (), 1),
        [CANDLES],
    )


def test_a_plan_fills_connections_and_a_ticker_counts_twice():
    keys = [StreamKey("bybit", "ticker", f"A{i}/USDT") for i in range(150)]
    assert Bybit().plan(keys) == (
        Plan("/v5/public/spot", tuple(keys[:100])),
        Plan("/v5/public/spot", tuple(keys[100:])),
    )


def test_nothing_is_due_before_it_is_greeted():
    assert Bybit().converse((TRADES,), SYMBOLS, {}, "x").due() == NEVER
