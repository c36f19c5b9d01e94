"""The oracle of trades without order, on streams that were spoilt in one way each."""

import pytest

from ingest.contract.events import Gap, Trade
from ingest.simulator import ledger
from tests.chaos.chronicle import Chapter, Past
from tests.chaos.exchange import Truth
from tests.chaos.oracle import judge
from tests.chaos.test_oracle import COLUMNS, entry, raw

TRADES = "md:{bybit}:trades:BTC-USDT"


def opaque(s, ms, *, late=False, **others):
    body = Trade(
        **{"price": "1.0", "amount": "2.0", "side": "buy", **others}, received_ns=1, exchange_ns=ms * 1_000_000
    )
    return entry(s, body, late=late)


def window(first_ms, last_ms):
    gap = Gap(reason="unverifiable", from_ns=first_ms * 1_000_000, to_ns=last_ms * 1_000_000 + 999_999)
    return entry(f"session.{first_ms}", gap)


TIMED = [("d", 3), ("a", 5), ("c", 5), ("b", 8), ("e", 9)]
OPAQUE = Truth(
    [
        ledger.Trade(key=TRADES, s=s, first=s, price="1.0", amount="2.0", side="buy", exchange_ns=ms * 1_000_000)
        for s, ms in TIMED
    ]
)
D, A, C, B, E = (opaque(s, ms) for s, ms in TIMED)
PAST = opaque("x", 2, backfilled=True)


@pytest.mark.parametrize(
    ("chapters", "registered", "columns"),
    [
        pytest.param([[D, A, C, B, E]], [], {}, id="all there"),
        pytest.param([[D, C, A, B, E]], [], {}, id="two of one millisecond the other way round"),
        pytest.param([[D, window(3, 8), B, E]], [(3, 8)], {}, id="in a window"),
        pytest.param([[D, A, window(5, 8), B, E]], [(5, 8)], {}, id="one of a millisecond"),
        pytest.param([[D, A, C, window(5, 8), B, E]], [(5, 8)], {}, id="a doubt, although nothing is missing"),
        pytest.param([[D, window(3, 8), B, E, opaque("a", 5, late=True)]], [(3, 8)], {}, id="one that came late"),
        pytest.param([[D, A, C], [A, C, B, E]], [], {}, id="written again after Redis forgot it"),
        pytest.param([[PAST, D, A, C, B, E]], [], {}, id="one from before anybody listened"),
        pytest.param([[opaque("x", 2), D, A, C, B, E]], [], {"wrong": 1}, id="but not one that is heard"),
        pytest.param(
            [[opaque("x", 3, backfilled=True), D, A, C, B, E]], [], {"wrong": 1}, id="nor of the time of the first"
        ),
        pytest.param([[D, A, B, E]], [], {"lost": 1}, id="one lost without a word"),
        pytest.param([[D, window(3, 3), B, E]], [(3, 3)], {"lost": 2}, id="a window that says too little"),
        pytest.param([[D, A, C, B, window(5, 8)]], [(5, 8)], {"lost": 1}, id="a window of another time"),
        pytest.param([[D, window(2, 9), B, E]], [(2, 9)], {"unfounded": 1}, id="a window from where nothing is"),
        pytest.param([[D, window(3, 8), B, E]], [], {"unfounded": 1}, id="a window that the server does not keep"),
        pytest.param([[D, A, C, B, E, B]], [], {"doubled": 1, "inverted": 1}, id="one twice"),
        pytest.param([[D, A, C, E, B]], [], {"inverted": 1}, id="one behind a later one"),
        pytest.param([[D, A, C, opaque("b", 8, price="9"), E]], [], {"wrong": 1}, id="one altered"),
        pytest.param([[D, A, C, B, E, opaque("x", 10)]], [], {"wrong": 1}, id="one that was never emitted"),
    ],
)
def test_of_trades_whose_ids_have_no_order_it_finds(chapters, registered, columns):
    past = Past([*(Chapter(raw(told)) for told in chapters[:-1]), Chapter(raw(chapters[-1]), registered)])
    verdict = judge(TRADES, past, [OPAQUE])
    assert {column: count for column in COLUMNS if (count := getattr(verdict, column))} == columns


@pytest.mark.parametrize(("ms", "wrong"), [(2, 0), (5, 1), (10, 0), (19, 0), (20, 1), (22, 1)])
def test_trades_that_nobody_listened_to_lie_before_a_life_of_the_exchange(ms, wrong):
    again = ledger.Trade(key=TRADES, s="f", first="f", price="1.0", amount="2.0", side="buy", exchange_ns=20_000_000)
    said = sorted(
        [(3, D), (5, A), (5, C), (8, B), (9, E), (20, opaque("f", 20)), (ms, opaque("x", ms, backfilled=True))],
        key=first,
    )
    past = Past([Chapter(raw([entry for _, entry in said]), [])])
    assert judge(TRADES, past, [OPAQUE, Truth([again])]).wrong == wrong


def first(pair):
    return pair[0]
