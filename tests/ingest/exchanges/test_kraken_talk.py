"""Kraken: how one talks with it. Requests and what answers them, signs of life, who may write."""

import json

import pytest

from ingest.connection import Connection, Patience
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Notice, Plan, Reconnect
from ingest.exchanges.kraken import Kraken
from tests.ingest.exchanges.test_kraken import (
    BOOK,
    CANDLES,
    DEMO,
    DEMO_WHOLE,
    HEARTBEAT,
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

ETH_TRADES = StreamKey("kraken", "trades", "ETH/USD")


def failure(error, **more):
    return json.dumps({"error": error, "method": "subscribe", "success": False, **more}).encode()


def test_it_subscribes_channel_by_channel_with_a_message_for_many_symbols():
    talk = Kraken().converse((TRADES, ETH_TRADES, TICKER, BOOK, CANDLES), SYMBOLS, {}, "x")
    said = [*talk.greet(NOW), *(out for i in range(1, 5) for out in talk.tick(NOW + i * 200_000_000))]
    assert [json.loads(send.text) for send in said] == [
        {
            "method": "subscribe",
            "params": {"channel": channel, "symbol": symbols, **more, "snapshot": True},
            "req_id": i,
        }
        for i, (channel, symbols, more) in enumerate(
            [
                ("trade", ["BTC/USD", "ETH/USD"], {}),
                ("ticker", ["BTC/USD"], {"event_trigger": "bbo"}),
                ("book", ["BTC/USD"], {"depth": 10}),
                ("ohlc", ["BTC/USD"], {"interval": 1}),
            ],
            start=1,
        )
    ]


def test_each_symbol_has_its_own_answer():
    talk = conversation(TRADES, ETH_TRADES)
    stands = [talk.acknowledged()]
    for symbol in ("BTC/USD", "ETH/USD"):
        talk.receive(ack("trade", symbol, 1), NOW)
        stands.append(talk.acknowledged())
    assert stands == [False, False, True]


def test_a_symbol_that_is_refused_is_told_and_the_others_go_on():
    talk = conversation(TRADES, ETH_TRADES)
    told = talk.receive(failure("Currency pair not supported ETH/USD", symbol="ETH/USD", req_id=1), NOW)
    talk.receive(ack("trade", "BTC/USD", 1), NOW)
    assert (told, talk.acknowledged(), len(talk.receive(TRADE, NOW)), list(talk.positions())) == (
        [Notice(ETH_TRADES, "refused", "Currency pair not supported ETH/USD")],
        True,
        2,
        [TRADES],
    )


def test_what_is_subscribed_already_is_subscribed():
    talk = conversation(TRADES)
    assert (talk.receive(failure("Already subscribed", symbol="BTC/USD", req_id=1), NOW), talk.acknowledged()) == (
        [],
        True,
    )


@pytest.mark.parametrize("more", [{"symbol": "BTC/USD"}, {}])
def test_who_asks_too_often_asks_again_later(more):
    talk = conversation(TRADES)
    talk.receive(failure("Exceeded msg rate", req_id=1, **more), NOW)
    talk.receive(HEARTBEAT, NOW + 9 * S)
    assert (talk.tick(NOW + 9 * S), talk.acknowledged(), len(talk.tick(NOW + 10 * S))) == ([], False, 1)


@pytest.mark.parametrize(
    "refusal",
    [failure("Subscription depth not supported"), failure("Symbol field must be an array", req_id=1)],
)
def test_a_request_that_is_refused_as_a_whole_ends_the_connection(refusal):
    with pytest.raises(Reconnect, match="refused"):
        conversation(TRADES).receive(refusal, NOW)


def test_a_request_without_an_answer_ends_the_connection():
    talk = conversation(TRADES)
    talk.receive(HEARTBEAT, NOW + 9 * S)
    with pytest.raises(Reconnect, match="no answer"):
        talk.tick(NOW + 10 * S)


def test_a_connection_without_heartbeats_is_dead():
    talk = acked(TRADES)
    talk.receive(HEARTBEAT, NOW + S)
    with pytest.raises(Reconnect, match="heartbeat"):
        talk.tick(NOW + 11 * S)


def test_heartbeats_and_pongs_say_nothing():
    pong = b'{"method":"pong","req_id":101,"time_in":"2026-11-22T08:15:30.1Z","time_out":"2026-11-22T08:15:30.1Z"}'
    assert [conversation().receive(frame, NOW) for frame in (HEARTBEAT, pong)] == [(), ()]


def test_what_is_unsubscribed_falls_silent_and_the_rest_goes_on():
    talk = acked(TRADES, ETH_TRADES)
    sent = talk.unsubscribe([TRADES], NOW + S)
    heard = (talk.receive(TRADE, NOW), talk.positions())
    assert ([json.loads(send.text) for send in sent], heard) == (
        [{"method": "unsubscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}, "req_id": 2}],
        ([], {}),
    )


def test_a_plan_fills_connections_and_then_opens_others():
    keys = [StreamKey("kraken", "trades", f"A{i}/B") for i in range(300)]
    first = Kraken().plan(keys)
    assert ([len(plan.streams) for plan in first], Kraken().plan([BOOK], first)[1]) == (
        [250, 50],
        Plan("/v2", (*keys[250:], BOOK)),
    )


def test_nothing_is_due_before_it_is_greeted():
    assert Kraken().converse([TRADES], SYMBOLS, {}, "x").due() == NEVER


def test_a_connection_hands_books_over_and_begins_anew_under_another_fence():
    plan = Plan("/v2", (DEMO,))
    connection = Connection(
        "k", plan, Kraken(), SYMBOLS, {}, stream_url="", patience=Patience(), publisher=None, rest=None, budgets=None
    )
    talk = acked(DEMO)
    talk.receive(DEMO_WHOLE, NOW)
    said = []
    for leave in ({DEMO: 4, BOOK: 9}, {DEMO: 4}, {DEMO: 5}, {}, {DEMO: 6}):
        connection.own(leave)
        said.append([event.rule for event in connection._hand_over(talk, NOW)])
    again = acked(DEMO, positions=talk.positions())
    again.receive(DEMO_WHOLE, NOW)
    connection._told = {}  # as each new conversation is told nothing so far
    said.append([event.rule for event in connection._hand_over(again, NOW)])
    anew = ["session", "state"]
    assert said == [anew, [], anew, [], anew, ["span", *anew]]
