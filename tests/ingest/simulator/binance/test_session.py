import json

import pytest

from ingest.simulator.binance.session import Session, Streams, parse
from ingest.simulator.venue import Close

SECOND = 1_000_000_000


def session(target: str = "/stream") -> Session:
    return Session(target, Streams())


def said(session: Session) -> list[object]:
    frames = [json.loads(frame.text) for frame in session.outgoing]
    session.outgoing.clear()
    return frames


def test_requests_are_answered_by_id_and_never_wrapped():
    asking = session()
    for number, request in enumerate(
        (
            '{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms"],"id":17}',
            '{"method":"UNSUBSCRIBE","params":["btcusdt@trade","never@heard"],"id":"a-1"}',
            '{"method":"LIST_SUBSCRIPTIONS","id":null}',
        )
    ):
        assert asking.receive(request, number) is None
    assert said(asking) == [
        {"result": None, "id": 17},
        {"result": None, "id": "a-1"},
        {"result": ["btcusdt@depth@100ms"], "id": None},
    ]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ('{"method":"SUBSCRIBE","params":', {"code": 3}),
        (b"\xff\xfe", {"code": 3}),
        ("17", {"code": 2}),
        ('{"method":"SUBSCRIBE","params":["a@trade"],"id":1.5}', {"code": 2}),
        ('{"method":"SUBSCRIBE","params":["a@trade"],"id":true}', {"code": 2}),
        ('{"method":"SHOUT","id":4}', {"code": 2, "id": 4}),
        ('{"method":"SUBSCRIBE","id":5}', {"code": 2, "id": 5}),
        ('{"method":"SUBSCRIBE","params":["btcusdt trade"],"id":6}', {"error": {"code": 2}, "id": 6}),
        ('{"method":"SUBSCRIBE","params":[7],"id":7}', {"error": {"code": 2}, "id": 7}),
    ],
)
def test_what_makes_no_sense_is_answered_with_an_error(request_: str | bytes, answer: dict):
    asking = session()
    asking.receive(request_, 0)
    (error,) = said(asking)
    assert isinstance(error, dict)
    assert (error.get("error", error)).pop("msg")
    assert (error, asking.streams) == (answer, {})


def test_a_connection_carries_1024_streams_and_no_more():
    asking = session()
    names = [f"coin{n}@trade" for n in range(1024)]
    for now, params in enumerate((names[:1000], names[990:], ["one@more"])):
        asking.receive(json.dumps({"method": "SUBSCRIBE", "params": params, "id": now}), now)
    assert (said(asking)[1:], list(asking.streams)) == (
        [{"result": None, "id": 1}, {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 2}],
        names,
    )


def test_the_sixth_message_within_a_second_closes_the_connection_pings_included():
    request = '{"method":"LIST_SUBSCRIPTIONS","id":1}'
    hasty, patient = session(), session()
    hasty_heard = [hasty.beat(0)] + [hasty.receive(request, now * 199_999_999) for now in range(1, 6)]
    patient_heard = [patient.receive(request, now * SECOND // 5) for now in range(20)]
    assert (hasty_heard, len(hasty.outgoing)) == ([None] * 5 + [Close(1008, "Too many requests")], 4)
    assert patient_heard == [None] * 20


@pytest.mark.parametrize(
    ("target", "combined", "names"),
    [
        ("/stream", True, []),
        ("/stream?streams=btcusdt@trade/ethusdt@depth@100ms", True, ["btcusdt@trade", "ethusdt@depth@100ms"]),
        ("/ws", False, []),
        ("/ws/btcusdt@trade/ethusdt@trade", False, ["btcusdt@trade", "ethusdt@trade"]),
    ],
)
def test_streams_may_stand_in_the_path(target: str, combined: bool, names: list[str]):
    opened = session(target)
    assert (opened.combined, list(opened.streams)) == (combined, names)


@pytest.mark.parametrize("target", ["/", "/wss", "/streams", "/api/v3/depth"])
def test_other_paths_lead_nowhere(target: str):
    assert parse(target) is None


def test_who_has_left_hears_nothing_but_the_stream_stays_followed():
    streams = Streams()
    leaving = Session("/stream?streams=btcusdt@trade", streams)
    leaving.leave()
    assert (streams.hearers, streams.followed, leaving.streams) == ({}, {"btcusdt@trade"}, {})
