"""Streams over connections."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ingest.contract.keys import StreamKey
from ingest.exchanges.packing import pack

ROOM = 5
weights = {"trades": 1, "ticker": 2}
keys = st.lists(
    st.builds(StreamKey, st.just("okx"), st.sampled_from(["trades", "ticker"]), st.integers(0, 20).map("A{}/B".format)),
    max_size=30,
    unique=True,
)


def path_of(key: StreamKey) -> str:
    return "/a" if len(key.symbol) > 3 else "/b"


def weight_of(key: StreamKey) -> int:
    return weights[key.channel]


@given(keys, st.data())
def test_each_stream_is_carried_once_where_it_belongs_and_what_was_carried_stays(wanted, data):
    first = data.draw(st.integers(0, len(wanted)))
    before = pack(wanted[:first], (), ROOM, path_of, weight_of)
    plans = pack(wanted[first:], before, ROOM, path_of, weight_of)
    carried = [(plan.path, key) for plan in plans for key in plan.streams]
    assert Counter(carried) == Counter((path_of(key), key) for key in wanted)
    assert [plan for plan in plans if sum(map(weight_of, plan.streams)) > ROOM] == []
    assert [plans[i].streams[: len(plan.streams)] for i, plan in enumerate(before)] == [p.streams for p in before]
