"""Requests and answers as Coinbase's documents show them: https://docs.cdp.coinbase.com/exchange/websocket-feed"""

import json
from typing import Any

import pytest

from ingest.simulator.coinbase.exchange import Coinbase
from ingest.simulator.coinbase.session import MESSAGES_PER_SECOND, MOST_OF_ONE, Session
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import CUT, Close

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND


def exchange(rate: int = 0) -> Coinbase:
    return Coinbase(Market([listing("BTC/USD"), listing("ETH/USD")], rate=rate, seed=1, start_ns=START_NS), START_NS)


def said(session: Session) -> list[Any]:
    frames = [json.loads(frame.text) for frame in session.outgoing]
    session.outgoing.clear()
    return frames


def asked(live: Coinbase, *requests: Any) -> list[Any]:
    """The answers to what one connection asks."""
    session = live.connect("/")
    for request in requests:
        text = request if isinstance(request, str | bytes) else json.dumps(request)
        assert session.receive(text, START_NS) is None
    return said(session)


def subscribe(*channels: Any, **more: Any) -> dict[str, Any]:
    return {"type": "subscribe", "channels": list(channels), **more}


def subscriptions(**channels: list[str]) -> dict[str, Any]:
    listed = [{"name": name, "product_ids": products, "account_ids": None} for name, products in channels.items()]
    return {"type": "subscriptions", "channels": listed}


def refusal(reason: str) -> dict[str, Any]:
    return {"type": "error", "message": "Failed to subscribe", "reason": reason}


def test_every_answer_is_the_whole_list_under_the_exchanges_own_names():
    answers = asked(
        exchange(),
        subscribe("matches", "level2_batch", product_ids=["BTC-USD"]),
        subscribe({"name": "heartbeat", "product_ids": ["BTC-USD", "ETH-USD"]}),
        {"type": "unsubscribe", "channels": ["matches"]},
        {"type": "unsubscribe", "channels": ["heartbeat"], "product_ids": ["ETH-USD"]},
    )
    both, btc = ["BTC-USD", "ETH-USD"], ["BTC-USD"]
    assert answers == [
        subscriptions(matches=btc, level2_50=btc),
        subscriptions(matches=btc, level2_50=btc, heartbeat=both),
        subscriptions(level2_50=btc, heartbeat=both),
        subscriptions(level2_50=btc, heartbeat=btc),
    ]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (subscribe("matches", product_ids=["BTC-USD", "FOO-USD"]), "FOO-USD is not a valid product"),
        (subscribe("foo", product_ids=["BTC-USD"]), "foo is not a valid channel"),
        (subscribe({"name": "matches", "product_ids": []}), " is not a valid product"),
        (subscribe("matches"), " is not a valid product"),
        (subscribe(), "No channels provided"),
        ("{", "Malformed JSON"),
        (subscribe(5), "Malformed JSON"),
        (subscribe({"name": ["matches"]}), "Malformed JSON"),
        (subscribe("matches", product_ids="BTC-USD"), "Malformed JSON"),
        ({"type": "shout"}, "Type shout is not valid"),
    ],
)
def test_one_bad_name_refuses_its_whole_request(request_: Any, reason: str):
    whole = subscribe("ticker", product_ids=["ETH-USD"])
    assert asked(exchange(), request_, whole) == [refusal(reason), subscriptions(ticker=["ETH-USD"])]


def test_what_needs_a_key_is_refused_and_the_empty_list_follows():
    answers = asked(exchange(), subscribe("level2", product_ids=["BTC-USD"]))
    reason = "level2, level3, and full channels now require authentication."
    assert answers == [refusal(reason), subscriptions()]


def test_a_channel_of_a_product_can_be_had_ten_times():
    live = exchange()
    whole = subscribe("matches", product_ids=["BTC-USD"])
    answers = [asked(live, whole)[0]["type"] for _ in range(MOST_OF_ONE + 1)]
    assert answers == ["subscriptions"] * MOST_OF_ONE + ["error"]


def test_who_says_nothing_for_five_seconds_is_cut_off():
    live = exchange()
    silent, speaking, gone = (live.connect("/") for _ in range(3))
    speaking.receive(json.dumps(subscribe("matches", product_ids=["BTC-USD"])), START_NS)
    gone.leave()
    live.advance(START_NS + 6 * SECOND)
    assert [session.ending for session in (silent, speaking, gone)] == [Close(CUT, ""), None, None]


def test_who_says_too_much_hears_why_and_is_cut_off():
    session = exchange().connect("/")
    for _ in range(MESSAGES_PER_SECOND + 1):
        session.receive("{}", START_NS)
    assert (said(session)[-1], session.ending) == ({"type": "error", "message": "ErrSlowRead"}, Close(CUT, ""))
