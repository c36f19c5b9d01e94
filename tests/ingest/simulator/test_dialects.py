"""What holds of every dialect, whatever it says."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.simulator.dialects import DIALECTS
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

START_NS = 1_795_335_330_000_000_000
SOUND: dict[str, tuple[str, Any]] = {
    "binance": ("/ws", {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}),
    "bybit": ("/v5/public/spot", {"op": "subscribe", "args": ["publicTrade.BTCUSDT"], "req_id": "1"}),
    "coinbase": (
        "/",
        {
            "type": "subscribe",
            "channels": ["ticker", {"name": "matches", "product_ids": ["BTC-USDT"]}],
            "product_ids": ["BTC-USDT"],
        },
    ),
    "kraken": (
        "/v2",
        {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USDT"], "depth": 10, "snapshot": True}},
    ),
    "okx": ("/ws/v5/public", {"op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}], "id": "1"}),
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 100) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


def changed(value: Any, other: Any) -> Iterator[Any]:
    """The value with the other in place of it, and in place of each of its parts."""
    yield other
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, part in parts:
        for each in changed(part, other):
            whole = value.copy()
            whole[place] = each
            yield whole


@pytest.mark.parametrize("name", DIALECTS)
@settings(derandomize=True, max_examples=30, deadline=None)
@given(other=ANYTHING)
def test_no_request_breaks_a_connection_whatever_a_part_of_it_is(name: str, other: Any):
    path, sound = SOUND[name]
    live = DIALECTS[name](Market([listing("BTC/USDT")], rate=0, seed=1, start_ns=START_NS), START_NS)
    answered = []
    for request in changed(sound, other):
        session = live.connect(path)
        session.outgoing.clear()
        session.receive(json.dumps(request), START_NS)
        answered.append(bool(session.outgoing))
        session.leave()
    assert all(answered)
