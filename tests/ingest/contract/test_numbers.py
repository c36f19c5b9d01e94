"""What is a number on the bus, against a reading of the rule by hand."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.numbers import BadNumber, Number, Signed, check, exchange_time, plain

TEXTS = st.text(st.sampled_from("0123456789.-+eE_ \n١x"), max_size=8) | st.from_regex(
    r"-?[0-9]{1,33}(\.[0-9]{1,33})?", fullmatch=True
)
NOT_NUMBERS = [
    "",
    " ",
    ".",
    "1.",
    ".5",
    "+1",
    "-1",
    "--1",
    "1.2.3",
    "1e5",
    "1E5",
    "0x1",
    "1_000",
    "1,000",
    "1 000",
    " 1",
    "1 ",
    "1\n",
    "\n1",
    "1\x00",
    "NaN",
    "nan",
    "Infinity",
    "inf",
    "١٢",
    "１",
    "²",
    "1" * 31,
    "1." + "1" * 31,
]
NUMBERS = ["0", "00", "0.0", "0.00000000", "64000.01", "007", "1" * 30, "1" * 30 + "." + "1" * 30]


def is_digits(text):
    return 1 <= len(text) <= 30 and all(character in "0123456789" for character in text)


def is_number(text):
    whole, point, fraction = text.partition(".")
    return is_digits(whole) and (is_digits(fraction) if point else True)


def is_signed(text):
    return is_number(text.removeprefix("-"))


def passes(kind, text):
    try:
        return msgspec.convert(text, kind) == text
    except msgspec.ValidationError:
        return False


def checks(*texts):
    try:
        check(texts)
    except BadNumber:
        return False
    return True


@given(TEXTS)
@settings(derandomize=True, max_examples=200)
def test_one_number(text):
    assert (passes(Number, text), passes(Signed, text), checks(text)) == (
        is_number(text),
        is_signed(text),
        is_number(text),
    )


@given(st.lists(TEXTS, max_size=5))
@settings(derandomize=True, max_examples=200)
def test_many_numbers_in_one_match(texts):
    assert checks(*texts) == all(map(is_number, texts))


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_what_is_no_number_is_refused_however_it_comes(text):
    alone, among = checks(text), (checks("1", text), checks(text, "1"), checks("1", text, "2"))
    assert (passes(Number, text), alone, *among) == (False,) * 5


@pytest.mark.parametrize("text", NUMBERS)
def test_digits_and_zeros_stay_as_they_were_written(text):
    assert (passes(Number, text), passes(Signed, text), passes(Signed, f"-{text}"), checks(text)) == (True,) * 4


def test_a_bad_number_among_a_hundred_thousand_fails_at_once():
    assert not checks(*["1.5"] * 100_000, "1" * 100_000 + "x")


def test_an_exchange_time_that_cannot_be_true_is_left_out():
    now, day, earliest = 1_700_000_000_000_000_000, 86_400_000_000_000, 1_262_304_000_000_000_000
    times = (0, -1, earliest - 1, earliest, now, now + day, now + day + 1)
    assert [exchange_time(at, now) for at in times] == [None, None, None, earliest, now, now + day, None]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("61250.10", "61250.10"),
        (61250, "61250"),
        ("1e-08", "0.00000001"),
        ("1.50E-5", "0.0000150"),
        ("6.1e+4", "61000"),
        ("0E-8", "0.00000000"),
    ],
)
def test_a_json_number_keeps_its_digits_and_loses_its_exponent(number, text):
    assert plain(number) == text


@pytest.mark.parametrize("number", [True, None, 1.5, [], {}])
def test_what_is_no_json_number_is_refused(number):
    with pytest.raises(BadNumber):
        plain(number)


@pytest.mark.parametrize("number", ["1e999", "1e99", "1e-99", "-1e5", "1e", "NaN", "1_0", "١e1", -5])
def test_no_number_gets_past_the_check_because_of_its_exponent(number):
    with pytest.raises(BadNumber):
        check([plain(number)])
