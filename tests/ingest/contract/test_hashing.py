"""Who has which symbol."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.contract.hashing import SHARDS, chosen, shard_of

members = st.lists(st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), min_size=1, max_size=8, unique=True)


def shares(names):
    return {shard: chosen(shard, names) for shard in range(SHARDS)}


def test_it_is_the_same_in_every_process_and_version():
    assert (
        [shard_of(symbol) for symbol in ("BTC/USDT", "ETH/USDT", "币安/USDT")],
        [chosen(shard, ["one", "two", "three"]) for shard in range(6)],
    ) == ([31, 5, 46], ["one", "one", "one", "three", "one", "three"])


def test_nobody_is_chosen_of_nobody():
    assert chosen(0, []) == ""


@pytest.mark.parametrize("count", range(1, 9))
def test_everybody_has_a_share_and_nobody_far_too_much(count):
    for trial in range(20):
        sizes = Counter(shares([f"worker-{trial}-{i}" for i in range(count)]).values())
        assert (len(sizes), max(sizes.values()) < 3 * SHARDS / count) == (count, True)


@given(members, st.randoms())
def test_the_order_in_which_members_are_named_is_of_no_matter(names, some):
    shuffled = some.sample(names, len(names))
    assert shares(shuffled) == shares(names)


@given(members, st.data())
def test_nothing_moves_but_what_a_newcomer_wins_or_a_leaver_had(names, data):
    who = data.draw(st.sampled_from(names))
    without, all_of_them = shares([name for name in names if name != who]), shares(names)
    moved = {shard for shard in range(SHARDS) if without[shard] != all_of_them[shard]}
    assert moved == {shard for shard, owner in all_of_them.items() if owner == who}
