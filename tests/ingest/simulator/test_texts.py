import pytest

from ingest.simulator.texts import at, short


@pytest.mark.parametrize(("number", "said"), [("1.50000000", "1.5"), ("10.00000000", "10"), ("0.00000000", "0")])
def test_a_short_number_has_no_zeros_that_say_nothing(number: str, said: str):
    assert short(number) == said


def test_a_time_has_six_places_and_is_never_rounded_up():
    assert (at(0), at(1_795_335_330_999_999_999)) == ("1970-01-01T00:00:00.000000Z", "2026-11-22T08:15:30.999999Z")
