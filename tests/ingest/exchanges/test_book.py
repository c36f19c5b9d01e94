"""A book as texts."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

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
