"""Trades in their turn, for whoever counts them up. Of what comes of them see the candles."""

from ingest.contract.events import Trade
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.topic import HOLD_NS, OlderTradesWanted
from ingest.exchanges.whole_trades import FETCHED_TRADES, WholeTrades

S = 1_000_000_000


def trade(at_s):
    return Trade(price="1", amount="2", side="buy", received_ns=1, exchange_ns=at_s * S)


def begun(from_s=100, known=True):
    """Looking for a beginning, and then where it is: 7 is older."""
    some = WholeTrades()
    some.begin(from_s * S, 0, known=known)
    return some


def turns(counted):
    return [(each.id, each.joined) for each in counted]


def test_a_trade_before_the_beginning_is_a_beginning():
    some = begun()
    assert turns(some.trade(7, trade(99), 0)) == [(7, False)]


def test_a_beginning_is_looked_for_page_by_page():
    some = begun()
    waits = some.trade(9, trade(120), 0)
    first = some.wants(0)
    middle = some.page([(8, trade(110))], 0)
    second = some.wants(0)
    last = some.page([(6, trade(98)), (7, trade(99))], 0)
    assert (waits, first, middle, second, turns(last), some.due()) == (
        [],
        [OlderTradesWanted(9)],
        [],
        [OlderTradesWanted(8)],
        [(6, False), (7, True), (8, True), (9, True)],
        NEVER,
    )


def test_a_trade_before_which_there_is_none_is_the_first_of_all_unless_there_were_some():
    new, old = begun(known=False), begun(known=True)
    counted = []
    for some in (new, old):
        some.trade(9, trade(120), 0)
        some.wants(0)
        counted.append(turns(some.page([], 0)))
    assert counted == [[(9, True)], []]


def test_a_hole_waits_a_while_and_is_filled_from_above():
    some = begun()
    some.trade(7, trade(99), 0)
    held = some.trade(10, trade(121), 0)
    early, asked = some.wants(HOLD_NS - 1), some.wants(HOLD_NS)
    filled = some.page([(8, trade(101)), (9, trade(120))], HOLD_NS)
    assert (held, early, asked, turns(filled)) == ([], [], [OlderTradesWanted(10)], [(8, True), (9, True), (10, True)])


def test_what_cannot_be_had_is_passed_over_after_four_attempts():
    some = begun()
    some.trade(7, trade(99), 0)
    some.trade(10, trade(121), 0)
    counted = []
    for i in range(4):
        now_ns = (1 + 2 * i) * S
        assert some.wants(now_ns) == [OlderTradesWanted(10)]
        counted.append(turns(some.failed(now_ns)))
    assert counted == [[], [], [], [(10, False)]]


def test_a_beginning_is_not_looked_for_for_ever():
    some, first = begun(0), 1_000_000
    some.trade(first, trade(120), 0)
    counted = []
    while not counted:
        (wanted,) = some.wants(0)
        counted = some.page([(i, trade(110)) for i in range(wanted.before - 1_000, wanted.before)], 0)
    assert (counted[0].id, counted[0].joined, len(counted)) == (first - FETCHED_TRADES, False, FETCHED_TRADES + 1)


def test_what_the_exchange_tells_of_twice_and_has_not_come_is_fetched():
    some = begun()
    some.trade(7, trade(99), 0)
    said = [some.stands_at(7, 0), some.stands_at(8, S), some.wants(S), some.stands_at(8, 2 * S), some.wants(2 * S)]
    assert (said, turns(some.page([(8, trade(101))], 2 * S)), some.stands_at(8, 3 * S)) == (
        [True, False, [], False, [OlderTradesWanted(9)]],
        [(8, True)],
        True,
    )


def test_what_comes_twice_is_dropped_and_what_is_newer_under_an_older_id_begins_anew():
    some = begun()
    some.trade(7000, trade(99), 0)
    again, anew = some.trade(7000, trade(99), 0), some.trade(3, trade(100), 0)
    some.wants(0)
    assert (again, anew, turns(some.page([(2, trade(98))], 0))) == ([], [], [(2, False), (3, True)])


def test_whoever_was_to_bring_an_answer_and_is_gone_is_not_waited_for():
    some = begun()
    some.trade(9, trade(120), 0)
    some.wants(0)
    some.unanswered(S)
    assert some.wants(S) == [OlderTradesWanted(9)]
