"""Trades from an id on, asked for by what they are below."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.contract.events import Trade
from ingest.exchanges.older_pages import PAGE, OlderPages

TRADE = Trade(price="1", amount="1", side="buy", received_ns=1)


def found(first, oldest, newest, limit=PAGE):
    """What is found of those there are, and how many pages that took."""
    pages, asked = OlderPages(), 0
    before = pages.ask(first)
    while before is not None and asked < 100:
        asked += 1
        ids = range(max(oldest, min(before, newest + 1) - limit), min(before, newest + 1))
        before = pages.answered([(i, TRADE) for i in ids])
    return [i for i, _ in pages.found], asked


@given(st.integers(1, 40_000), st.integers(0, 3_000), st.integers(0, 3_000), st.sampled_from([100, 400, PAGE]))
def test_what_is_found_begins_with_the_first_there_is_and_has_no_holes(first, above, more, limit):
    oldest = max(1, first - 500) + above
    newest = oldest + more
    ids, asked = found(first, oldest, newest, limit)
    begin = max(first, oldest)
    reached = range(begin, newest + 1)
    assert ids == list(reached[: len(ids)])
    assert asked < 60
    assert bool(ids) == bool(reached)


def test_one_page_is_enough_where_all_is_there():
    assert found(5_000, 1, 60_000) == (list(range(5_000, 6_000)), 1)


def test_what_begins_later_is_looked_for_ever_higher():
    assert found(5_000, 12_000, 60_000) == (list(range(12_000, 13_000)), 5)


def test_beyond_the_newest_there_is_nothing():
    assert found(5_000, 1, 4_000)[0] == []
