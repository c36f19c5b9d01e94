"""A book that is sorted and cut."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ingest.exchanges.sorted_book import SortedBook


def test_levels_come_best_first_as_they_were_written():
    book = SortedBook([("9", "1"), ("9.50", "2.0")], [("11", "1"), ("10.0", "2")], None)
    assert (book.levels(), book.levels(1), len(book)) == (
        ((("9.50", "2.0"), ("9", "1")), (("10.0", "2"), ("11", "1"))),
        ((("9.50", "2.0"),), (("10.0", "2"),)),
        4,
    )


def test_what_goes_beyond_the_depth_is_cut_and_told():
    book = SortedBook([("9", "1"), ("8", "1")], [("10", "1"), ("11", "1")], 2)
    assert (book.apply([("8.5", "3")], [("10", "0.000"), ("12", "1")]), book.levels()) == (
        ([("8", "1")], []),
        ((("9", "1"), ("8.5", "3")), (("11", "1"), ("12", "1"))),
    )


def test_a_price_that_comes_twice_counts_as_it_came_last():
    book = SortedBook([], [], None)
    book.apply([("9", "1"), ("9.0", "0"), ("9.00", "5")], [])
    assert book.levels() == ((("9.00", "5"),), ())


def test_a_book_is_crossed_if_its_best_prices_meet():
    assert [SortedBook([(bid, "1")], [("10", "1")], None).crossed for bid in ("9", "10.0", "11")] == [False, True, True]


levels = st.lists(st.tuples(st.integers(1, 12).map(str), st.integers(0, 2).map(str)), max_size=30)


@given(levels, levels, st.integers(1, 5) | st.none())
def test_it_is_what_a_plain_dictionary_would_be(bids, asks, depth):
    book, plain = SortedBook([], [], depth), ({}, {})
    for changed in zip(bids, asks, strict=False):
        book.apply(*([level] for level in changed))
        for side, (price, amount), best_first in zip(plain, changed, (True, False), strict=True):
            side[price] = amount
            if amount == "0":
                del side[price]
            for beyond in sorted(side, key=Decimal, reverse=best_first)[depth:] if depth else ():
                del side[beyond]
    expected = [sorted(side.items(), key=lambda level: Decimal(level[0])) for side in plain]
    assert book.levels() == (tuple(reversed(expected[0])), tuple(expected[1]))
