"""Finding trades by id where only times can be asked for."""

from bisect import bisect_right
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.exchanges.by_time import Timed, TradePages

S = 1_000_000_000


class Exchange:
    """Trades 1, 2, 3, … at these times, some ids of which were never given."""

    def __init__(self, times, never=(), page=1000):
        self.trades = [Timed(i, ns) for i, ns in enumerate(times, start=1) if i not in never]
        self.page = page

    def answer(self, since):
        if since is None:
            return self.trades[-self.page :]
        begin = bisect_right([ns for _, ns in self.trades], since)
        return self.trades[begin : begin + self.page]


def search(exchange, first):
    """How many questions it takes to the page, and that page."""
    pages = TradePages(exchange.page)
    for count in range(1, 100):
        page = exchange.answer(pages.since(first))
        if pages.found(page, first):
            return count, [trade.id for trade in page]
    raise AssertionError("no end")


def test_what_the_newest_page_has_takes_one_question():
    exchange = Exchange(range(0, 5000 * S, S))
    assert search(exchange, 4500) == (1, list(range(4001, 5001)))


def test_what_is_long_ago_takes_a_few():
    count, page = search(Exchange(range(0, 100_000 * S, S)), 5_000)
    assert (count <= 4, 5_000 in page) == (True, True)


def test_an_id_that_was_never_given_is_shown_by_the_next_one():
    count, page = search(Exchange(range(0, 9 * S, S), never=(5,), page=4), 5)
    assert (count <= 3, page[0] <= 5 or page[0] == 6) == (True, True)


def test_an_id_that_the_exchange_does_not_have_yet_is_not_asked_for_without_end():
    assert search(Exchange(range(0, 9 * S, S), page=4), 20)[0] <= 3


def test_an_exchange_that_has_just_begun_to_count_is_not_asked_for_what_was_before():
    few, many = Exchange(range(0, 900 * S, S)), Exchange(range(0, 3_000 * S, S))
    few.trades, many.trades = ([Timed(i + 50_000, ns) for i, ns in each.trades] for each in (few, many))
    assert (search(few, 40_000)[0], search(many, 40_000)[0] <= 7) == (2, True)


def test_what_is_known_of_a_series_is_forgotten_once_ids_begin_anew():
    pages, found = TradePages(100), []
    for series, first in ((90_000, 90_001), (4_000, 4_001), (200, 201)):
        exchange = Exchange(range((100_000 - series) * S, (100_050 - series) * S, S))
        exchange.trades = [Timed(trade.id + series, trade.ns) for trade in exchange.trades]
        page = exchange.answer(pages.since(first))
        while not pages.found(page, first):
            page = exchange.answer(pages.since(first))
        found.append(first in [trade.id for trade in page])
    assert found == [True, True, True]


gaps = st.lists(st.sampled_from((0, 1, 1000, S, S, 60 * S, 3600 * S)), min_size=1, max_size=300)


@settings(max_examples=500, deadline=None)
@given(gaps, st.data())
def test_whatever_the_times_an_id_that_there_is_is_found(steps, data):
    """Pages of 40 trades; hardly more than ten of them have one time."""
    times = list(accumulate(max(step, (i % 10 == 0) * 20_000_000) for i, step in enumerate(steps)))
    first = data.draw(st.integers(1, len(times)))
    _, page = search(Exchange(times, page=40), first)
    assert first in page
