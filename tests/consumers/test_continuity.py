import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.continuity import Continuity, Step, place


def fed(*places, after=None):
    continuity = Continuity()
    if after:
        continuity.resume(*after)
    return [continuity.feed(g, n) for g, n in places]


def test_the_first_entry_may_have_any_number():
    assert fed((b"a", 7), (b"a", 8)) == [Step(), Step()]


def test_after_a_known_place_the_first_entry_may_not():
    assert fed((b"a", 7), (b"a", 8), after=(b"a", 4)) == [Step(missing=2), Step()]


def test_a_new_generation_starts_at_1():
    assert fed((b"a", 7), (b"b", 1), (b"c", 3)) == [Step(), Step(), Step(missing=2)]


def test_entries_that_come_again_are_told_and_have_no_holes_even_of_an_earlier_generation():
    places = [(b"a", 2), (b"a", 3), (b"b", 1)]

    assert fed(*places, *places, (b"b", 2)) == [*[Step()] * 3, *[Step(repeated=True)] * 3, Step()]


def test_what_was_pending_moves_the_place_only_to_the_very_next():
    continuity = Continuity()
    continuity.resume(b"a", 4)

    continuity.follow(b"a", 5)
    continuity.follow(b"a", 7)

    assert continuity.feed(b"a", 8) == Step(missing=2)


def test_a_place_that_is_behind_the_present_one_changes_nothing():
    continuity = Continuity()
    continuity.feed(b"a", 9)

    continuity.resume(b"a", 4)

    assert continuity.feed(b"a", 10) == Step()


@given(st.sets(st.integers(1, 60)), st.integers(1, 60))
def test_what_is_missing_is_what_did_not_come(come, first):
    come = sorted({first, *(n for n in come if n > first)})

    steps = fed(*((b"a", n) for n in come))

    assert sum(step.missing for step in steps) == come[-1] - first + 1 - len(come)
    assert not any(step.repeated for step in steps)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 9)), max_size=30))
def test_whatever_comes_the_second_time_is_a_repetition_without_a_hole(places):
    steps = fed(*places)

    highest = {}
    for (g, n), step in zip(places, steps, strict=True):
        assert step.repeated == (n <= highest.get(g, 0))
        assert not (step.repeated and step.missing)
        highest[g] = max(n, highest.get(g, 0))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({b"g": b"a", b"n": b"12"}, (b"a", 12)),
        ({b"g": b"a", b"n": b"twelve"}, None),
        ({b"n": b"12"}, None),
    ],
)
def test_the_place_of_an_entry_is_read_from_its_header(fields, where):
    assert place(fields) == where
