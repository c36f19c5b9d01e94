"""Pages of trades that can be asked for backwards only."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.contract.events import Trade
from ingest.exchanges.by_id import Ask, PagesBack

LIMIT = 5


def trade(i):
    return i, Trade(price=str(i), amount="1", side="buy", received_ns=1)


def page(ids, before):
    """As the exchange answers: the newest of those before an id."""
    return [trade(i) for i in sorted((i for i in ids if before is None or i < before), reverse=True)[:LIMIT]]


def looked_for(ids, first):
    pages, asked = PagesBack(LIMIT), []
    found = pages.ask(first)
    while isinstance(found, Ask):
        asked.append(found.before)
        found = pages.came(page(ids, found.before))
    return [i for i, _ in found], asked


def test_a_page_that_ends_in_time_begins_with_what_was_asked_for():
    assert looked_for(range(1, 100), 40) == ([40, 41, 42, 43, 44], [45])


def test_the_newest_page_may_have_less():
    assert looked_for(range(1, 43), 40) == ([40, 41, 42], [45])


def test_without_an_id_the_newest_page_is_what_was_looked_for():
    assert looked_for(range(1, 43), None) == ([38, 39, 40, 41, 42], [None])


def test_where_there_is_nothing_the_way_leads_back_from_the_newest():
    assert looked_for(range(200, 212), 40) == (list(range(200, 212)), [45, None, 207, 202])


def test_what_is_not_there_yet_is_not_found():
    assert looked_for(range(1, 30), 40) == ([], [45, None])


def test_of_nothing_at_all_nothing_is_found():
    assert looked_for((), 40) == ([], [45, None])


@given(st.sets(st.integers(1, 60), max_size=40), st.integers(1, 70))
def test_whatever_ids_there_are_all_or_a_whole_beginning_of_those_looked_for_is_found(ids, first):
    found, _ = looked_for(ids, first)
    wanted = sorted(i for i in ids if i >= first)
    assert found == wanted[: len(found)]
    assert found or not wanted
