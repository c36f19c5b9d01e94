"""What passes by itself."""

import pytest
from redis.exceptions import ConnectionError as Away

from consumers.patience import passes, wait_seconds

CLOSED = RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")


@pytest.mark.parametrize(
    ("error", "expected"), [(Away("x"), True), (OSError(), True), (CLOSED, True), (RuntimeError("bug"), False)]
)
def test_only_what_the_way_to_redis_raises_passes(error, expected):
    assert passes(error) is expected


def test_waits_double_up_to_five_seconds():
    assert [wait_seconds(failures) for failures in (1, 2, 3, 7, 5_000)] == [0.1, 0.2, 0.4, 5.0, 5.0]
