import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.retention.caps import Memory, Span, Watch, until_ms


def test_without_a_budget_nothing_is_too_much():
    assert [Memory(used, used, budget).above(0.75) for used, budget in [(10**12, 0), (75, 100), (76, 100)]] == [
        False,
        False,
        True,
    ]


def test_a_share_of_a_stream_was_written_in_that_share_of_its_time():
    assert [until_ms([Span(1000, 2000, 3000)], share) for share in (0, 0.25, 1, 2)] == [2000, 2250, 3000, 3000]


def test_the_oldest_goes_first_whosever_it_is():
    old, new = Span(1000, 0, 100), Span(1000, 100, 200)
    assert [until_ms([new, old], share) for share in (0.25, 0.5, 0.75)] == [50, 100, 150]


spans = st.builds(
    lambda used, first, length: Span(used, first, first + length),
    st.integers(1, 10**9),
    st.integers(0, 10**13),
    st.integers(1, 10**9),
)


@given(st.lists(spans, min_size=1, max_size=5), st.floats(0, 1))
def test_the_time_lies_in_the_spans(some, share):
    assert min(span.first_ms for span in some) <= until_ms(some, share) <= max(span.end_ms for span in some)


@pytest.mark.parametrize(
    ("looks", "sure"),
    [
        ([(100, 0)], False),
        ([(100, 0), (109, 9)], False),
        ([(100, 0), (105, 5), (110, 10)], True),
        ([(100, 0), (105, 5), (3710, 10)], False),  # the clock was put on by an hour, or the machine slept
        ([(100, 0), (105, 5), (3710, 10), (3720, 20)], True),
        ([(100, 0), None, (110, 10)], False),  # Redis was away
        ([(100, 0), None, (110, 10), (120, 20)], True),
    ],
)
def test_nobody_is_dead_before_redis_was_seen_for_a_while(looks, sure):
    watch = Watch(dead_after_s=10)
    for look in looks:
        if look:
            watch.look(*look)
        else:
            watch.lose()
    assert watch.sure is sure
