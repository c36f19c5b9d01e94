import json

import msgpack

from consumers import Live, Replayed
from consumers.console.played import as_json, as_line
from tests.consumers.producing import BTC

FIELDS = {
    b"v": b"1",
    b"type": b"trade",
    b"n": b"7",
    b"g": b"a",
    b"s": b"9",
    b"data": msgpack.packb({"price": "1", "amount": "2", "side": "buy", "received_ns": 5}),
}
USUAL = Replayed(BTC, "1767225600250-0", FIELDS, hole=0, early=False)
LINE = "00:00:00.250  binance  trades     BTC/USDT   trade    s=9  buy 2 @ 1"
FACTS = {
    "stream": str(BTC),
    "id": "1767225600250-0",
    "v": "1",
    "type": "trade",
    "n": "7",
    "g": "a",
    "s": "9",
    "data": {"price": "1", "amount": "2", "side": "buy", "received_ns": 5},
}


def test_an_entry_is_a_line_and_a_hole_before_it_another():
    steps = (USUAL, USUAL._replace(hole=1200), Live(3000))
    assert [as_line(step).plain.splitlines() for step in steps] == [
        [LINE],
        ["-- 1,200 entries of md:{binance}:trades:BTC-USDT are missing here --", LINE],
        ["-- live from here on; 3,000 entries before --"],
    ]


def test_for_programs_it_is_an_object_that_says_what_is_unusual():
    steps = (USUAL, USUAL._replace(hole=2), USUAL._replace(early=True), Live(3))
    assert [json.loads(as_json(step)) for step in steps] == [
        FACTS,
        FACTS | {"hole": 2},
        FACTS | {"early": True},
        {"live": True, "replayed": 3},
    ]
