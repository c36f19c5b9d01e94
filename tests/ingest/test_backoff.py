"""Waits between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.backoff import Backoff


def test_waits_double_up_to_the_longest():
    backoff = Backoff(first_s=1, most_s=30, jitter=0)
    assert [backoff.delay_s(failures, 0.5) for failures in (1, 2, 3, 4, 5, 6, 7, 10_000)] == [
        1,
        2,
        4,
        8,
        16,
        30,
        30,
        30,
    ]


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_chance_spreads_a_wait_by_the_jitter_and_no_more(failures, chance):
    exact, spread = Backoff(1, 30, jitter=0), Backoff(1, 30, jitter=0.1)
    middle = exact.delay_s(failures, chance)
    assert 0.9 * middle <= spread.delay_s(failures, chance) <= 1.1 * middle
