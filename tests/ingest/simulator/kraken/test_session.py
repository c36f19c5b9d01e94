"""Requests and answers as Kraken's documents show them: https://docs.kraken.com/api/docs/websocket-v2/book"""

import json
from typing import Any

import pytest

from ingest.simulator.kraken.exchange import Kraken
from ingest.simulator.kraken.session import Session
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import Close

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND


def exchange(rate: int = 0) -> Kraken:
    return Kraken(Market([listing("BTC/USD"), listing("ETH/USD")], rate=rate, seed=1, start_ns=START_NS), START_NS)


def said(session: Session) -> list[Any]:
    frames = [json.loads(frame.text) for frame in session.outgoing]
    session.outgoing.clear()
    return frames


def asked(live: Kraken, *requests: Any) -> list[Any]:
    """The answers to what one connection asks."""
    session = live.connect("/v2")
    session.outgoing.clear()
    for request in requests:
        text = request if isinstance(request, str | bytes) else json.dumps(request)
        assert session.receive(text, START_NS + 50_031_000) is None
    return said(session)


TIMES = {"time_in": "2026-11-22T08:15:30.050031Z", "time_out": "2026-11-22T08:15:30.050031Z"}


def test_a_connection_begins_with_a_word_on_the_state():
    (status,) = said(exchange().connect("/v2"))
    assert (status["channel"], status["type"], status["data"][0]["system"]) == ("status", "update", "online")
    assert status["data"][0]["connection_id"] > 1 << 53


def test_each_symbol_has_its_answer():
    params = {"channel": "book", "symbol": ["BTC/USD", "FOO/USD", "ETH/USD"], "depth": 25}
    answers = asked(exchange(), {"method": "subscribe", "params": params, "req_id": 7})
    result = {"channel": "book", "depth": 25, "snapshot": True}
    head = {"method": "subscribe", "req_id": 7, **TIMES}
    assert answers == [
        {**head, "result": {**result, "symbol": "BTC/USD"}, "success": True},
        {**head, "error": "Currency pair not supported FOO/USD", "symbol": "FOO/USD", "success": False},
        {**head, "result": {**result, "symbol": "ETH/USD"}, "success": True},
    ]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ("{", "Malformed request"),
        (b"\xff", "Malformed request"),
        ("[]", "Malformed request"),
        ({"method": "shout"}, "Event(s) not found"),
        ({"method": "subscribe"}, "Malformed request"),
        ({"method": "subscribe", "params": {"channel": "heartbeat"}}, "Malformed request"),
        ({"method": "subscribe", "params": {"channel": "trade", "symbol": "BTC/USD"}}, "Symbol field must be an array"),
        (
            {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 27}},
            "Subscription depth not supported",
        ),
        (
            {"method": "subscribe", "params": {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 7}},
            "Subscription ohlc interval not supported",
        ),
        (
            {"method": "subscribe", "params": {"channel": "trade", "symbol": ["XBT/USD"]}},
            "Currency pair not supported XBT/USD",
        ),
    ],
)
def test_what_errs_is_told_so_and_the_connection_stays(request_: Any, error: str):
    (answer,) = asked(exchange(), request_)
    assert (answer["error"], answer["success"], "result" in answer) == (error, False, False)


def test_who_has_subscribed_already_is_told_so():
    book = {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}
    deeper = {**book, "depth": 25}
    candles = [{"channel": "ohlc", "symbol": ["BTC/USD"], "interval": minutes} for minutes in (1, 5, 5)]
    answers = asked(exchange(), *({"method": "subscribe", "params": each} for each in (book, book, deeper, *candles)))
    assert [answer.get("error") for answer in answers] == [
        None,
        "Already subscribed",
        "Already subscribed",
        None,
        None,
        "Already subscribed",
    ]


def test_who_unsubscribes_repeats_what_was_subscribed_to_and_hears_no_more():
    live = exchange(rate=400)
    session = live.connect("/v2")
    book = {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}
    session.receive(json.dumps({"method": "subscribe", "params": book}), START_NS)
    live.advance(START_NS + SECOND)
    session.outgoing.clear()
    for depth in (10, 25):
        request = {"method": "unsubscribe", "params": {**book, "depth": depth}, "req_id": depth}
        session.receive(json.dumps(request), START_NS + SECOND)
    live.advance(START_NS + 3 * SECOND)
    wrong, right = said(session)
    assert (wrong["success"], right["result"]) == (False, {"channel": "book", "depth": 25, "symbol": "BTC/USD"})


def test_pings_are_answered():
    assert asked(exchange(), {"method": "ping", "req_id": 101}) == [{"method": "pong", "req_id": 101, **TIMES}]


def test_what_comes_too_fast_is_dropped_and_told():
    answers = asked(exchange(), *({"method": "ping", "req_id": i} for i in range(25)))
    assert [answer.get("error") for answer in answers] == [None] * 20 + ["Exceeded msg rate"] * 5


def test_a_quiet_subscription_is_told_each_second_that_all_is_well():
    live = exchange()
    quiet, silent = live.connect("/v2"), live.connect("/v2")
    subscribe = {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}}
    quiet.receive(json.dumps(subscribe), START_NS)
    for session in (quiet, silent):
        session.outgoing.clear()
    live.advance(START_NS + 5 * SECOND)
    assert (said(quiet), said(silent)) == ([{"channel": "heartbeat"}] * 5, [])


def test_who_wants_nothing_for_a_minute_is_closed():
    live = exchange()
    idle = live.connect("/v2")
    live.advance(START_NS + 59 * SECOND)
    before = idle.ending
    live.advance(START_NS + 61 * SECOND)
    assert (before, idle.ending) == (None, Close(1001, "idle"))


def test_the_hundred_and_fifty_first_connection_in_ten_minutes_is_refused():
    live = exchange()
    answers = [live.admit("/v2", START_NS + i * SECOND) for i in range(151)]
    refused = answers.pop()
    assert (set(answers), refused.status) == ({None}, 429)
    assert (live.admit("/v2", START_NS + 600 * SECOND), live.admit("/v1", START_NS).status) == (None, 404)
