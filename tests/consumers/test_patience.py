"""What passes by itself."""

import pytest
from redis.exceptions import ConnectionError as Away

from consumers.patience import MAX, Pace, passes, wait_seconds

CLOSED = RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")


@pytest.mark.parametrize(
    ("error", "expected"), [(Away("x"), True), (OSError(), True), (CLOSED, True), (RuntimeError("bug"), False)]
)
def test_only_what_the_way_to_redis_raises_passes(error, expected):
    assert passes(error) is expected


def test_waits_double_up_to_five_seconds():
    assert [wait_seconds(failures) for failures in (1, 2, 3, 7, 5_000)] == [0.1, 0.2, 0.4, 5.0, 5.0]


@pytest.mark.parametrize(
    ("speed", "waits"),
    [(1, [0, 0.25, 9.75, 0]), (10, [0, 0, 0.75, 0]), (MAX, [0, 0, 0, 0]), (0.5, [0, 0.75, 19.75, 0])],
)
def test_what_was_written_is_due_as_long_after_the_first_as_it_was_by_the_pace(speed, waits):
    pace = Pace(speed)
    said = [pace.wait_s(at_ms, now_s) for at_ms, now_s in ((5000, 70.0), (5500, 70.25), (15000, 70.25), (15000, 95))]
    assert said == waits
