from hypothesis import given
from hypothesis import strategies as st

from ingest.audit.registry import Registry, lost_range, still_open
from ingest.contract.codec import Entry
from ingest.contract.events import Gap


def ids(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(st.lists(st.integers(0, 60), unique=True), st.data())
def test_what_is_open_is_what_was_lost_less_what_came_late(numbers, data):
    """Against sets; gaps never overlap, and a late fill lies in one of them."""
    bounds = sorted(numbers)
    lost = list(zip(bounds[::2], bounds[1::2], strict=False))
    late = []
    for first, last in lost:
        filled = data.draw(st.lists(st.integers(first, last), unique=True, max_size=4))
        late += [(number, number) for number in filled]
    found = still_open(lost, data.draw(st.permutations(late)))
    assert (ids(found), found) == (ids(lost) - ids(late), sorted(found))


def test_merged_trades_fill_more_than_one_id():
    assert still_open([(4, 9)], [(5, 7)]) == [(4, 4), (8, 9)]


def gap(**said):
    return Entry(id="1-1", type="gap", n=1, g="g", s="x.1", event=Gap(reason="away", **said))


def test_a_gap_is_of_ids_or_of_milliseconds_or_says_nothing_of_this_stream():
    said = (
        gap(first_id="4", last_id="9"),
        gap(from_ns=60_000_000_000, to_ns=119_999_000_000),
        gap(after_g="a", after_n=4),
        gap(first_id="1795335330140-2", last_id="1795335330141-0"),
    )
    assert [lost_range(each) for each in said] == [(4, 9), (60_000, 119_999), None, None]


def found(lost, late, kept, oldest=1):
    registry = Registry()
    for each in lost:
        registry.lose(each)
    for each in late:
        registry.fill(each)
    return [(each.column, each.words) for each in registry.check(kept, oldest)]


def test_a_registry_that_keeps_what_the_entries_say_is_sound():
    assert found([(4, 9)], [(5, 5)], [(4, 4), (6, 9)]) == []


def test_a_loss_that_the_registry_does_not_keep_is_found():
    assert found([(4, 9)], [], []) == [("unfounded", "4-9 is lost, entries say; the registry does not keep it")]


def test_a_loss_that_no_entry_says_is_found_unless_it_is_older_than_all_of_them():
    kept = [(4, 9)]
    assert [found([], [], kept, oldest) for oldest in (9, 10, None)] == [
        [("unfounded", "the registry keeps 4-9 as lost, and no entry says so")],
        [],
        [],
    ]


def test_what_came_late_must_have_been_lost_and_comes_once():
    assert (found([], [(5, 5)], []), found([(5, 6)], [(5, 5), (5, 5)], [(6, 6)])) == (
        [("unfounded", "5-5 came late, and no entry says that it was lost")],
        [("duplicates", "5 came late twice")],
    )


def test_after_a_restart_of_the_ids_old_losses_mean_nothing():
    registry = Registry()
    registry.lose((4, 9))
    registry.begin_anew()
    assert list(registry.check([], 1)) == []
