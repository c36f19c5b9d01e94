"""A book as texts."""

from decimal import Decimal
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.exchanges import book as books
from ingest.exchanges.book import Book

prices = st.integers(1, 30).map(lambda tick: f"{tick / 2:.2f}")
amounts = st.sampled_from(["0.00", "0", "1.5", "0.10", "20.00"])
changes = st.lists(st.tuples(prices, amounts), max_size=8)


@given(st.lists(st.tuples(changes, changes), max_size=20))
def test_a_book_is_the_last_amount_said_of_each_price_best_first(history):
    book, bids, asks = Book((), (), complete_to=1000), {}, {}
    for changed_bids, changed_asks in history:
        book.apply(changed_bids, changed_asks)
        bids.update(changed_bids)
        asks.update(changed_asks)
    expected_bids = sorted(((p, a) for p, a in bids.items() if Decimal(a)), key=lambda x: -Decimal(x[0]))
    expected_asks = sorted(((p, a) for p, a in asks.items() if Decimal(a)), key=lambda x: Decimal(x[0]))
    assert book.levels() == (tuple(expected_bids), tuple(expected_asks), None)


def test_a_side_that_was_cut_is_vouched_for_down_to_where_it_was_cut():
    book = Book([("9", "1"), ("8", "1")], [("10", "1"), ("11", "1"), ("12", "1")], complete_to=2)
    book.apply([("9.5", "1"), ("7", "3")], [])
    assert book.levels() == (
        (("9.5", "1"), ("9", "1"), ("8", "1"), ("7", "3")),
        (("10", "1"), ("11", "1"), ("12", "1")),
        3,
    )


@pytest.mark.parametrize("bid", ["9", "9.99", "10.00", "10.01", "1e1", "11"])
def test_a_book_is_crossed_if_its_best_prices_meet(bid):
    assert Book([(bid, "1")], [("12", "1"), ("10.0", "1")], None).crossed == (float(bid) >= 10)


def test_prices_that_are_one_float_are_told_apart():
    apart = Book([("10.00000000000000000001", "1")], [("10.00000000000000000002", "1")], None)
    meeting = Book([("10.00000000000000000002", "1")], [("10.00000000000000000001", "1")], None)
    assert (apart.crossed, meeting.crossed) == (False, True)


@settings(deadline=None)
@given(st.lists(st.tuples(changes, changes), max_size=40), st.integers(1, 5))
def test_a_book_is_crossed_when_all_its_levels_say_so_however_few_are_at_hand(history, at_hand):
    with patch.object(books, "_AT_HAND", at_hand):
        book, found, expected = Book((), (), None), [], []
        for changed_bids, changed_asks in history:
            book.apply(changed_bids, changed_asks)
            found.append(book.crossed)
            bids, asks, _ = book.levels()
            expected.append(bool(bids and asks) and Decimal(bids[0][0]) >= Decimal(asks[0][0]))
    assert found == expected


@settings(deadline=None)
@given(st.lists(st.tuples(changes, changes), max_size=40), st.integers(1, 5), st.data())
def test_nor_does_it_matter_how_often_it_is_asked(history, at_hand, data):
    with patch.object(books, "_AT_HAND", at_hand):
        asked, once = Book((), (), None), Book((), (), None)
        for changed in history:
            asked.apply(*changed)
            once.apply(*changed)
            assert not data.draw(st.booleans()) or asked.crossed in (True, False)
        assert asked.crossed == once.crossed
