"""Trades by consecutive ids."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.contract.events import Event, Gap, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.dense import BACKFILLED_TRADES, DOUBT_NS, FAR_DOUBT_NS, DenseTrades
from ingest.exchanges.exchange import NEVER, Locate, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS, TradesWanted

KEY = StreamKey("binance", "trades", "BTC/USDT")
TRADE = Trade(price="1", amount="2", side="buy", received_ns=1)


def trades(position=None):
    return DenseTrades(KEY, Session("x"), position)


def said(trade_id, **changes):
    return Event(KEY, str(trade_id), structs.replace(TRADE, **changes), "dense", str(trade_id))


def gap(count, first, last, reason):
    body = Gap(reason=reason, first_id=str(first), last_id=str(last))
    return Event(KEY, f"x.{count}", body, "gap", f"{first}-{last}")


def timed(ns):
    return structs.replace(TRADE, exchange_ns=ns)


def restart(count, last, begin, to_ns=None):
    body = Gap(reason="series_restart", first_id=str(last + 1), to_ns=to_ns)
    return Event(KEY, f"x.{count}", body, "restart", f"{last} {begin}")


def stands_at(position):
    return Standing("g", 7, str(position))


def alone(some, position, now_ns=0):
    """Nobody else fills the hole; what is wanted then."""
    looks = [some.wants(now_ns), some.located(stands_at(position), now_ns)]
    looks += [some.wants(now_ns + HOLD_NS), some.located(stands_at(position), now_ns + HOLD_NS)]
    assert looks == [[Locate(KEY)], [], [Locate(KEY)], []]
    return some.wants(now_ns + HOLD_NS)


def test_a_new_stream_begins_with_whatever_comes_first():
    fresh = trades()
    assert [fresh.trade(i, TRADE, 0) for i in (7, 8, 8, 7)] == [[said(7)], [said(8)], [], []]


def test_a_hole_that_nobody_fills_is_fetched_and_filled_in_order():
    some = trades("5")
    held, due = some.trade(8, TRADE, 3), some.due()
    asked = alone(some, 5, 3)
    filled = some.fetched([(6, TRADE), (7, TRADE), (8, TRADE), (9, TRADE)], 4)
    backfilled = [said(6, backfilled=True), said(7, backfilled=True), said(8), said(9, backfilled=True)]
    assert (held, due, asked, filled, some.due()) == ([], 3, [TradesWanted(6)], backfilled, NEVER)


def test_a_hole_that_another_writer_fills_is_not_fetched():
    some = trades("5")
    held = [*some.trade(9, TRADE, 0), *some.trade(11, TRADE, 0)]
    some.wants(0)
    first = some.located(stands_at(7), 0)
    some.wants(HOLD_NS)
    second = some.located(stands_at(8), HOLD_NS)
    some.wants(2 * HOLD_NS)
    third = some.located(stands_at(10), 2 * HOLD_NS)
    assert (held, first, second, third, some.due()) == ([], [], [said(9)], [said(11)], NEVER)


def test_while_the_bus_does_not_answer_a_hole_is_fetched_at_once():
    some = trades("5")
    some.trade(8, TRADE, 0)
    some.wants(0)
    assert (some.located(None, 1), some.wants(1)) == ([], [TradesWanted(6)])


def test_a_late_frame_fills_the_hole_itself():
    some = trades("5")
    some.trade(7, TRADE, 0)
    assert (some.trade(6, TRADE, 0), some.due()) == ([said(6), said(7)], NEVER)


def test_what_the_exchange_no_longer_has_is_registered():
    some = trades("5")
    some.trade(9, TRADE, 0)
    alone(some, 5)
    lost = gap(1, 6, 7, "the exchange no longer has them")
    assert some.fetched([(8, TRADE)], 0) == [lost, said(8, backfilled=True), said(9)]


def test_an_exchange_that_does_not_answer_is_asked_four_times_and_then_the_loss_is_registered():
    some = trades("5")
    some.trade(7, TRADE, 0)
    alone(some, 5)
    answers = []
    for _ in range(4):
        answers.append(some.failed("REST answered 500", 0))
        some.wants(some.due())
    assert answers == [[], [], [], [gap(1, 6, 6, "REST answered 500"), said(7)]]


def test_more_than_is_worth_filling_is_registered_down_to_what_is():
    some = trades("0")
    first_live = BACKFILLED_TRADES + 100
    lost = gap(1, 1, 100, "away for longer than is filled by REST")
    assert (some.trade(first_live, TRADE, 0), alone(some, 0)) == ([lost], [TradesWanted(101)])


def test_a_refused_stream_is_fetched_again_from_where_it_stands():
    some = trades("5")
    some.trade(6, TRADE, 0)
    some.refused("3", 7)
    assert (some.due(), some.wants(7), some.fetched([(i, TRADE) for i in (4, 5, 6)], 0)) == (
        7,
        [TradesWanted(4)],
        [said(i, backfilled=True) for i in (4, 5, 6)],
    )


def test_an_answer_to_a_question_from_before_a_refusal_is_asked_again():
    some = trades("5")
    some.trade(8, TRADE, 0)
    alone(some, 5)
    some.refused("3", 0)
    assert (some.fetched([(6, TRADE), (7, TRADE)], 9), some.due(), some.wants(9)) == ([], 9, [TradesWanted(4)])


def test_an_exchange_that_counts_anew_begins_a_series_with_all_that_rest_knows_of_it():
    some = trades("5000")
    heard = [*some.trade(3, TRADE, 0), *some.trade(4, TRADE, 0)]
    doubted = some.wants(FAR_DOUBT_NS)
    compared = [*some.fetched([(3, TRADE), (4, TRADE)], FAR_DOUBT_NS), *some.wants(FAR_DOUBT_NS)]
    looked_back = [*some.fetched([(2, TRADE), (3, TRADE)], FAR_DOUBT_NS), *some.wants(FAR_DOUBT_NS)]
    begun = some.located(stands_at(5000), FAR_DOUBT_NS)
    assert (heard, doubted, compared, looked_back, [*begun, *some.trade(5, TRADE, 0)], some.due()) == (
        [],
        [TradesWanted(None)],
        [TradesWanted(1)],
        [Locate(KEY)],
        [restart(1, 5000, 1), said(2, backfilled=True), said(3), said(4), said(5)],
        NEVER,
    )


def certain(some, *newest):
    """REST knows of these, and of no others."""
    for _ in range(2):
        some.wants(FAR_DOUBT_NS)
        some.fetched([(i, TRADE) for i in newest], FAR_DOUBT_NS)
    assert some.wants(FAR_DOUBT_NS) == [Locate(KEY)]


def test_a_series_that_was_long_unheard_begins_with_the_oldest_page_and_goes_on_behind_it():
    some = trades("5000")
    some.trade(3001, TRADE, 0)
    doubted = some.wants(FAR_DOUBT_NS)
    looked_back = [*some.fetched([(3001, TRADE)], FAR_DOUBT_NS), *some.wants(FAR_DOUBT_NS)]
    some.fetched([(1, TRADE), (2, TRADE)], FAR_DOUBT_NS)
    begun = some.located(stands_at(5000), FAR_DOUBT_NS)
    assert (doubted, looked_back, begun, alone(some, 2, FAR_DOUBT_NS)) == (
        [TradesWanted(None)],
        [TradesWanted(1)],
        [restart(1, 5000, 0), said(1, backfilled=True), said(2, backfilled=True)],
        [TradesWanted(3)],
    )


def test_a_series_that_another_writer_has_begun_is_joined():
    some = trades("5000")
    some.trade(3, TRADE, 0)
    certain(some, 3, 4)
    assert some.located(stands_at(3), FAR_DOUBT_NS) == [said(4, backfilled=True)]


def test_a_series_begun_on_a_stream_that_moved_is_begun_again_where_it_began():
    some = trades("5000")
    some.trade(3, TRADE, 0)
    certain(some, 3)
    some.located(stands_at(5000), FAR_DOUBT_NS)
    some.refused("6000", 0)
    some.wants(0)
    some.fetched([], 0)
    some.trade(5, TRADE, 0)
    certain(some, 4, 5)
    begun = some.located(stands_at(6000), FAR_DOUBT_NS)
    missing = alone(some, 2, FAR_DOUBT_NS)
    assert (begun, missing, some.fetched([(3, TRADE)], 0)) == (
        [restart(2, 6000, 2)],
        [TradesWanted(3)],
        [said(3, backfilled=True), said(4, backfilled=True), said(5)],
    )


def test_a_series_that_ends_before_it_is_sure_is_passed_over_and_that_is_told():
    some = trades("5000")
    first = [*some.trade(300, timed(1), 0), *some.trade(301, timed(2), 0)]
    some.wants(FAR_DOUBT_NS)
    again = some.trade(4, timed(3), FAR_DOUBT_NS)
    outdated = some.fetched([(300, timed(1)), (301, timed(2))], FAR_DOUBT_NS)
    asked = []
    for _ in range(2):
        asked += some.wants(3 * FAR_DOUBT_NS)
        some.fetched([(3, timed(3)), (4, timed(3))], 3 * FAR_DOUBT_NS)
    some.wants(3 * FAR_DOUBT_NS)
    begun = some.located(stands_at(5000), 3 * FAR_DOUBT_NS)
    assert (first, again, outdated, asked, begun) == (
        [],
        [],
        [],
        [TradesWanted(None), TradesWanted(1)],
        [restart(1, 5000, 2, 3), said(3, exchange_ns=3, backfilled=True), said(4, exchange_ns=3)],
    )


def test_a_hole_at_the_end_of_a_series_is_registered_before_another_begins():
    some = trades("5000")
    some.trade(5002, TRADE, 0)
    some.trade(3, TRADE, 0)
    some.wants(FAR_DOUBT_NS)
    some.located(stands_at(5000), FAR_DOUBT_NS)
    some.fetched([(3, TRADE)], FAR_DOUBT_NS)
    some.wants(FAR_DOUBT_NS)
    assert some.fetched([(3, TRADE)], FAR_DOUBT_NS) == [gap(1, 5001, 5001, "the exchange counts anew"), said(5002)]


def test_a_frame_that_comes_twice_is_no_new_series():
    some = trades("5000")
    some.trade(4999, TRADE, 0)
    early, asked = some.wants(FAR_DOUBT_NS), some.wants(DOUBT_NS)
    assert (early, asked, some.fetched([(4999, TRADE), (5000, TRADE)], DOUBT_NS), some.due()) == (
        [],
        [TradesWanted(None)],
        [],
        NEVER,
    )


def test_a_new_trade_ends_all_doubt():
    some = trades("5000")
    some.trade(1, TRADE, 0)
    assert (some.trade(5001, TRADE, 0), some.due()) == ([said(5001)], NEVER)


def test_what_the_exchange_says_it_has_is_fetched_although_nothing_follows_it():
    some = trades("5")
    some.stands_at(7, 3)
    asked = alone(some, 5, 3)
    filled = some.fetched([(6, TRADE), (7, TRADE)], 4)
    assert (asked, filled, some.due()) == (
        [TradesWanted(6)],
        [said(6, backfilled=True), said(7, backfilled=True)],
        NEVER,
    )


def test_what_the_exchange_says_it_has_may_have_come_from_another_writer():
    some = trades("5")
    some.stands_at(7, 3)
    looks = [some.wants(3), some.located(stands_at(7), 3)]
    assert (looks, some.due(), some.trade(8, TRADE, 4)) == ([[Locate(KEY)], []], NEVER, [said(8)])


def test_a_new_stream_begins_behind_what_the_exchange_says_it_has():
    fresh = trades()
    fresh.stands_at(7, 3)
    assert (fresh.trade(9, TRADE, 3), fresh.wants(3)) == ([], [Locate(KEY)])


ids = st.permutations(range(1, 13))


@settings(max_examples=300)
@given(ids, st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)), st.integers(0, 3), st.lists(st.integers(0, 12)))
def test_every_trade_is_said_once_and_in_order_or_registered(order, unheard, unknown_to_rest, page, others):
    """Frames come in any order, some never; REST knows some, in pages; another writer may fill some."""
    some, events, filled = trades("0"), [], []
    others = iter(others)

    def answer(now_ns):
        for want in some.wants(now_ns):
            if isinstance(want, TradesWanted):
                rows = [(i, TRADE) for i in range(want.first or 1, 14) if i not in unknown_to_rest or i == 13]
                events.extend(some.fetched(rows[: page + 1], now_ns))
            else:
                position = max(some.last, next(others, 0))
                filled.extend(range(some.last + 1, position + 1))
                events.extend(some.located(stands_at(position), now_ns))

    for trade_id in [i for i in order if i not in unheard] + [13]:
        events += some.trade(trade_id, TRADE, 0)
        answer(0)
    while some.due() != NEVER:
        answer(some.due())
    covered = filled
    for event in events:
        first, _, last = (event.first if event.rule == "gap" else f"{event.s}-{event.s}").partition("-")
        covered += range(int(first), int(last) + 1)
    assert sorted(covered) == list(range(1, 14))
