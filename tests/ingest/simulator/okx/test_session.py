"""Requests and answers as OKX's documents show them: https://www.okx.com/docs-v5/en/#overview-websocket"""

import json
from typing import Any

import pytest

from ingest.simulator.bars import SECOND_NS
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.okx.exchange import Okx
from ingest.simulator.okx.session import BUSINESS, LONGEST_REQUEST, PUBLIC, Session
from ingest.simulator.venue import Close

START_NS = 1_795_335_330 * SECOND_NS
NO = {"connId": "00000001"}


def exchange(rate: int = 0) -> Okx:
    return Okx(Market([listing("BTC/USDT"), listing("ETH/USDT")], rate=rate, seed=1, start_ns=START_NS), START_NS)


def arg(channel: str, native: str = "BTC-USDT") -> dict[str, str]:
    return {"channel": channel, "instId": native}


def subscription(*args: dict[str, str], op: str = "subscribe", **known: str) -> str:
    return json.dumps({**known, "op": op, "args": args})


def said(session: Session) -> list[Any]:
    frames = [json.loads(frame.text) for frame in session.outgoing]
    session.outgoing.clear()
    return frames


def asked(session: Session, *requests: str | bytes, at_ns: int = START_NS) -> list[Any]:
    for request in requests:
        assert session.receive(request, at_ns) is None
    return said(session)


def unknown(channel: str, native: str) -> dict[str, str]:
    words = (
        f"Subscribe failed, wrong URL or channel:{channel},instId:{native} doesn't exist. Please use the correct URL,"
        " channel and parameters referring to API document."
    )
    return {"event": "error", "code": "60018", "msg": words}


def test_each_argument_has_its_answer_and_a_refusal_names_it_in_its_words_alone():
    session = exchange().connect(PUBLIC)
    args = [arg("books"), arg("tickers", "FOO-USDT"), arg("tickers", "ETH-USDT")]
    assert asked(session, subscription(*args, id="1512")) == [
        {"id": "1512", "event": "subscribe", "arg": args[0], **NO},
        {"id": "1512", **unknown("tickers", "FOO-USDT"), **NO},
        {"id": "1512", "event": "subscribe", "arg": args[2], **NO},
    ]


@pytest.mark.parametrize(
    ("path", "channel"), [(PUBLIC, "candle1m"), (PUBLIC, "trades-all"), (BUSINESS, "books"), (BUSINESS, "tickers")]
)
def test_what_is_told_on_the_other_path_is_refused(path: str, channel: str):
    assert asked(exchange().connect(path), subscription(arg(channel))) == [{**unknown(channel, "BTC-USDT"), **NO}]


@pytest.mark.parametrize(
    "request_",
    [
        "{",
        b"\xff",
        "[]",
        '{"op":"shout","args":[]}',
        '{"op":"subscribe","argss":[{"channel":"tickers"}]}',
        '{"op":"subscribe","args":[]}',
        '{"op":"subscribe","args":[{"channel":"tickers"}]}',
        '{"op":"subscribe","args":[{"channel":"tickers","instId":7}]}',
        '{"id":"no-dash","op":"subscribe","args":[{"channel":"tickers","instId":"BTC-USDT"}]}',
    ],
)
def test_what_makes_no_sense_is_sent_back(request_: str | bytes):
    text = request_ if isinstance(request_, str) else request_.decode(errors="replace")
    error = {"event": "error", "code": "60012", "msg": f"Invalid request: {text}", **NO}
    assert asked(exchange().connect(PUBLIC), request_) == [error]


def test_what_was_subscribed_to_is_acknowledged_again_and_told_once():
    live = exchange()
    session = live.connect(PUBLIC)
    asked(session, subscription(arg("books")), subscription(arg("books")))
    live.advance(START_NS + SECOND_NS)
    assert [each["action"] for each in said(session)] == ["snapshot"]


def test_what_was_let_go_is_told_no_more():
    live = exchange(rate=100)
    session = live.connect(PUBLIC)
    asked(session, subscription(arg("books")))
    live.advance(START_NS + SECOND_NS)
    said(session)
    answers = asked(session, subscription(arg("books"), op="unsubscribe"))
    live.advance(START_NS + 2 * SECOND_NS)
    assert (answers, said(session)) == ([{"event": "unsubscribe", "arg": arg("books"), **NO}], [])


def test_the_ping_is_a_bare_text_and_so_is_the_pong():
    session = exchange().connect(PUBLIC)
    assert session.receive("ping", START_NS) is None
    assert [frame.text for frame in session.outgoing] == [b"pong"]


def test_an_hours_requests_are_counted_however_many_arguments_each_has():
    session = exchange().connect(PUBLIC)
    for _ in range(480):
        asked(session, subscription(arg("books"), arg("tickers")))
    early = asked(session, subscription(arg("books"), id="1"), at_ns=START_NS + 3599 * SECOND_NS)
    late = asked(session, subscription(arg("books"), id="2"), at_ns=START_NS + 3600 * SECOND_NS)
    assert ([(each["id"], each.get("code")) for each in early + late]) == [("1", "60014"), ("2", None)]


def test_a_request_has_a_longest():
    session = exchange().connect(PUBLIC)
    assert session.receive("x" * (LONGEST_REQUEST + 1), START_NS) == Close(1009, "frame too long")


def test_who_hears_nothing_for_thirty_seconds_and_does_not_ping_is_closed():
    live = exchange()
    idle, pinging, hearing = live.connect(PUBLIC), live.connect(PUBLIC), live.connect(PUBLIC)
    asked(hearing, subscription(arg("books")))
    for second in range(1, 46):
        live.advance(START_NS + second * SECOND_NS)
        if second % 20 == 0:
            pinging.receive("ping", START_NS + second * SECOND_NS)
    gone = Close(4004, "No data received in 30s.")
    assert [each.ending for each in (idle, pinging, hearing)] == [gone, None, gone]
