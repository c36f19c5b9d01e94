from ingest.simulator.book import Book, Changes, Fill, Top


def book() -> Book:
    book = Book(update_id=100)
    for price, lots in ((99, 5), (98, 7), (99, 2)):
        book.limit(price, buying=True, lots=lots)
    for price, lots in ((101, 3), (102, 4)):
        book.limit(price, buying=False, lots=lots)
    return book


def test_orders_rest_by_price():
    assert (book().bids.levels(9), book().asks.levels(1), book().top()) == (
        [(99, 7), (98, 7)],
        [(101, 3)],
        Top(99, 7, 101, 3),
    )


def test_a_market_order_takes_the_oldest_orders_of_the_best_levels():
    resting = book()
    fills = resting.market(buying=False, lots=9)
    assert (fills, resting.bids.levels(9)) == ([Fill(99, 5), Fill(99, 2), Fill(98, 2)], [(98, 5)])


def test_a_limit_order_takes_up_to_its_price_and_rests_with_the_remainder():
    resting = book()
    fills = resting.limit(101, buying=True, lots=10)
    assert (fills, resting.top()) == ([Fill(101, 3)], Top(101, 7, 102, 4))


def test_what_a_market_order_does_not_find_expires():
    resting = book()
    fills = resting.market(buying=True, lots=100)
    assert (fills, resting.top()) == ([Fill(101, 3), Fill(102, 4)], Top(99, 7, 0, 0))


def test_the_oldest_order_of_a_level_is_taken_back():
    resting = book()
    resting.cancel(1, buying=True)
    assert resting.bids.levels(9) == [(99, 2), (98, 7)]


def test_each_change_of_a_level_is_numbered_and_the_last_one_stands():
    resting = book()
    first = resting.drain()
    resting.market(buying=True, lots=4)
    second = resting.drain()
    assert (first, second, resting.drain()) == (
        Changes(101, 105, {99: 7, 98: 7}, {101: 3, 102: 4}),
        Changes(106, 107, {}, {101: 0, 102: 3}),
        None,
    )
