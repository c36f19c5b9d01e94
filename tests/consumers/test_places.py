import pytest

from consumers.places import BadPlace, parse_place, parts


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("start", "0-0"),
        ("0", "0"),
        ("1767225600000", "1767225600000"),
        ("1767225600000-7", "1767225600000-7"),
        ("-90s", "1767225510000"),
        ("-15m", "1767224700000"),
        ("-2h", "1767218400000"),
        ("-1d", "1767139200000"),
        ("-99999999d", "0"),
        ("2026-01-01", "1767225600000"),
        ("2026-01-01T00:00:00.250", "1767225600250"),
        ("2026-01-01T01:00+01:00", "1767225600000"),
        ("2026-01-01T00:00Z", "1767225600000"),
        ("1960-01-01", "0"),
    ],
)
def test_a_place_is_an_id_a_time_or_so_long_ago(text, place):
    assert parse_place(text, now_ms=1767225600000) == place


@pytest.mark.parametrize("text", ["", "noon", "15m", "-15", "-15y", "1-", "1-2-3", "$", "2026-13-01", "-1.5h", "٣"])
def test_anything_else_is_refused(text):
    with pytest.raises(BadPlace, match="is no place in a stream"):
        parse_place(text, now_ms=1767225600000)


def test_ids_are_compared_as_numbers():
    assert sorted(["10-0", "9-10", "9-9", "9"], key=parts) == ["9", "9-9", "9-10", "10-0"]
