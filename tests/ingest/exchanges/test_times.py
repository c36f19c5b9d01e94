"""Times as exchanges write them."""

import pytest

from ingest.exchanges.times import nanoseconds

SECOND_NS = 1_795_335_330_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-11-22T08:15:30Z", SECOND_NS),
        ("2026-11-22T08:15:30.1Z", SECOND_NS + 100_000_000),
        ("2026-11-22T08:15:30.123456Z", SECOND_NS + 123_456_000),
        ("2026-11-22T08:15:30.1234567899Z", SECOND_NS + 123_456_789),
        ("0001-01-01T00:00:00.000000Z", 0),
    ],
)
def test_every_digit_down_to_the_nanosecond_counts(text: str, ns: int):
    assert nanoseconds(text) == ns


@pytest.mark.parametrize(
    "text", ["", "2026-11-22", "2026-11-22T08:15:30", "2026-13-22T08:15:30Z", "2026-11-22T08:15:3٠Z"]
)
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(ValueError):
        nanoseconds(text)
