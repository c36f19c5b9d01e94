"""Requests and their refusals, in the words of https://bybit-exchange.github.io/docs/v5/ws/connect"""

import json

import pytest

from ingest.simulator.bars import SECOND_NS
from ingest.simulator.bybit.exchange import Bybit
from ingest.simulator.bybit.session import Session
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import CUT, Close

START_NS = 1_795_335_330 * SECOND_NS
CONN = "0b7e41d2-5c19-4a6f-9e30-000000000001"


def exchange() -> Bybit:
    return Bybit(Market([listing("BTC/USDT"), listing("ETH/USDT")], rate=0, seed=1, start_ns=START_NS), START_NS)


def ask(session: Session, **request: object) -> dict:
    session.receive(json.dumps(request), START_NS)
    return json.loads(session.outgoing.pop().text)


def subscribed(session: Session) -> list[str]:
    return [str(topic) for topic in session.topics]


def test_a_request_has_one_answer_that_names_no_topics():
    session = exchange().connect("/v5/public/spot")
    answers = [
        ask(
            session, op="subscribe", args=["publicTrade.BTCUSDT", "orderbook.1.ETHUSDT", "kline.D.BTCUSDT"], req_id="1"
        ),
        ask(session, op="unsubscribe", args=["publicTrade.BTCUSDT", "never.heard"]),
        ask(session, op="ping", req_id="p"),
    ]
    assert (answers, subscribed(session)) == (
        [
            {"success": True, "ret_msg": "subscribe", "conn_id": CONN, "req_id": "1", "op": "subscribe"},
            {"success": True, "ret_msg": "unsubscribe", "conn_id": CONN, "op": "unsubscribe"},
            {"success": True, "ret_msg": "pong", "conn_id": CONN, "req_id": "p", "op": "ping"},
        ],
        ["orderbook.1.ETHUSDT", "kline.D.BTCUSDT"],
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("publicTrade.NOPEUSDT", "Invalid symbol :[publicTrade.NOPEUSDT]"),
        ("publicTrade.btcusdt", "error:handler not found,topic:publicTrade.btcusdt"),
        ("orderbook.30.BTCUSDT", "error:handler not found,topic:orderbook.30.BTCUSDT"),
        ("orderbook.BTCUSDT", "error:handler not found,topic:orderbook.BTCUSDT"),
        ("kline.8h.BTCUSDT", "error:handler not found,topic:kline.8h.BTCUSDT"),
        ("order.spot", "error:handler not found,topic:order.spot"),
        ("tickers.BTCUSDT", "error:already subscribed,topic:tickers.BTCUSDT"),
        ("tickers.ETHUSDT", "error:already subscribed,topic:tickers.ETHUSDT"),
    ],
)
def test_one_bad_topic_refuses_its_whole_request(bad: str, words: str):
    session = exchange().connect("/v5/public/spot")
    ask(session, op="subscribe", args=["tickers.BTCUSDT"])
    answer = ask(session, op="subscribe", args=["tickers.ETHUSDT", bad, "publicTrade.ETHUSDT"], req_id="2")
    assert (answer, subscribed(session)) == (
        {"success": False, "ret_msg": words, "conn_id": CONN, "req_id": "2", "op": "subscribe"},
        ["tickers.BTCUSDT"],
    )


def test_ten_topics_a_request_are_allowed():
    session = exchange().connect("/v5/public/spot")
    names = [f"kline.{minutes}.BTCUSDT" for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)]
    answers = [ask(session, op="subscribe", args=args) for args in ([*names, "tickers.BTCUSDT"], names)]
    assert ([answer["ret_msg"] for answer in answers], subscribed(session)) == (["args size >10", "subscribe"], names)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("ping", "Failed to decode incoming data:'ping'"),
        (b"\xff\xfe", "Failed to decode incoming data:b'\\xff\\xfe'"),
        ("17", "Failed to decode incoming data:'17'"),
        ('{"op":"shout"}', "error:invalid op"),
        ('{"op":"subscribe","args":"tickers.BTCUSDT"}', "error:request"),
        ('{"op":"subscribe","args":[1]}', "error:request"),
    ],
)
def test_what_makes_no_sense_is_answered_with_an_error(message: str | bytes, words: str):
    session = exchange().connect("/v5/public/spot")
    session.receive(message, START_NS)
    answer = json.loads(session.outgoing.pop().text)
    assert (answer["success"], answer["ret_msg"], session.topics) == (False, words, {})


def test_who_does_not_ping_is_cut_without_a_word():
    live = exchange()
    quiet, talking = live.connect("/v5/public/spot"), live.connect("/v5/public/spot")
    for seconds in range(20, 80, 20):
        live.advance(START_NS + seconds * SECOND_NS)
        talking.receive('{"op":"ping"}', START_NS + seconds * SECOND_NS)
    live.advance(START_NS + 70 * SECOND_NS)
    assert (quiet.ending, talking.ending) == (Close(CUT, "no ping"), None)


def test_a_stream_that_is_refused_refuses_its_topics_until_it_is_not():
    live = exchange()
    session = live.connect("/v5/public/spot")
    live.refuse({"md:{bybit}:orderbook:BTC-USDT"})
    first = ask(session, op="subscribe", args=["tickers.BTCUSDT", "orderbook.1000.BTCUSDT"])
    live.refuse(())
    second = ask(session, op="subscribe", args=["tickers.BTCUSDT", "orderbook.1000.BTCUSDT"])
    assert (first["ret_msg"], second["success"]) == ("Invalid symbol :[orderbook.1000.BTCUSDT]", True)


def test_500_connections_in_five_minutes_are_allowed():
    live = exchange()
    answers = [live.admit("/v5/public/spot", START_NS) for _ in range(501)]
    later = live.admit("/v5/public/spot", START_NS + 300 * SECOND_NS)
    assert (answers[:500], answers[500].status, later, live.admit("/v5/public/linear", START_NS).status) == (
        [None] * 500,
        403,
        None,
        404,
    )
