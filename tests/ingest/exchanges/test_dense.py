"""Trades by consecutive ids."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.contract.events import Event, Gap, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.dense import BACKFILLED_TRADES, DenseTrades
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.session import Session

KEY = StreamKey("binance", "trades", "BTC/USDT")
TRADE = Trade(price="1", amount="2", side="buy", received_ns=1)


def trades(position=None):
    return DenseTrades(KEY, Session("x"), position)


def said(trade_id, **changes):
    return Event(KEY, str(trade_id), structs.replace(TRADE, **changes), "dense", str(trade_id))


def gap(count, first, last, reason):
    body = Gap(reason=reason, first_id=str(first), last_id=str(last))
    return Event(KEY, f"x.{count}", body, "gap", f"{first}-{last}")


def test_a_new_stream_begins_with_whatever_comes_first():
    fresh = trades()
    assert [fresh.trade(i, TRADE, 0) for i in (7, 8, 8, 7)] == [[said(7)], [said(8)], [], []]


def test_a_hole_is_fetched_and_filled_in_order():
    some = trades("5")
    held = some.trade(8, TRADE, 3)
    due, asked = some.due(), some.fetching()
    filled = some.fetched([(6, TRADE), (7, TRADE), (8, TRADE), (9, TRADE)], 4)
    backfilled = [said(6, backfilled=True), said(7, backfilled=True), said(8), said(9, backfilled=True)]
    assert (held, due, asked, filled, some.due()) == ([], 3, 6, backfilled, NEVER)


def test_a_late_frame_fills_the_hole_itself():
    some = trades("5")
    some.trade(7, TRADE, 0)
    assert (some.trade(6, TRADE, 0), some.due()) == ([said(6), said(7)], NEVER)


def test_what_the_exchange_no_longer_has_is_registered():
    some = trades("5")
    some.trade(9, TRADE, 0)
    some.fetching()
    lost = gap(1, 6, 7, "the exchange no longer has them")
    assert some.fetched([(8, TRADE)], 0) == [lost, said(8, backfilled=True), said(9)]


def test_an_exchange_that_does_not_answer_is_asked_four_times_and_then_the_loss_is_registered():
    some = trades("5")
    some.trade(7, TRADE, 0)
    answers = []
    for _ in range(4):
        some.fetching()
        answers.append(some.failed("REST answered 500", 0))
    assert answers == [[], [], [], [gap(1, 6, 6, "REST answered 500"), said(7)]]


def test_more_than_is_worth_filling_is_registered_down_to_what_is():
    some = trades("0")
    first_live = BACKFILLED_TRADES + 100
    lost = gap(1, 1, 100, "away for longer than is filled by REST")
    assert (some.trade(first_live, TRADE, 0), some.fetching()) == ([lost], 101)


def test_a_refused_stream_is_fetched_again_from_where_it_stands():
    some = trades("5")
    some.trade(6, TRADE, 0)
    some.refused("3", 7)
    assert (some.due(), some.fetching(), some.fetched([(i, TRADE) for i in (4, 5, 6)], 0)) == (
        7,
        4,
        [said(i, backfilled=True) for i in (4, 5, 6)],
    )


def test_an_answer_to_a_question_from_before_a_refusal_is_asked_again():
    some = trades("5")
    some.trade(8, TRADE, 0)
    some.fetching()
    some.refused("3", 0)
    assert (some.fetched([(6, TRADE), (7, TRADE)], 9), some.due(), some.fetching()) == ([], 9, 4)


ids = st.permutations(range(1, 13))


@settings(max_examples=300)
@given(ids, st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)), st.integers(0, 3))
def test_every_trade_is_said_once_and_in_order_or_registered(order, unheard, unknown_to_rest, page):
    """Frames come in any order, some never; REST knows some, in pages."""
    some, events = trades("0"), []
    for trade_id in [i for i in order if i not in unheard] + [13]:
        events += some.trade(trade_id, TRADE, 0)
        if some.due() != NEVER:
            first = some.fetching()
            rows = [(i, TRADE) for i in range(first, 14) if i not in unknown_to_rest]
            events += some.fetched(rows[: page + 1], 0)
    while some.due() != NEVER:
        first = some.fetching()
        rows = [(i, TRADE) for i in range(first, 14) if i not in unknown_to_rest or i == 13]
        events += some.fetched(rows[: page + 1], 0)
    covered = []
    for event in events:
        first, _, last = (event.first if event.rule == "gap" else f"{event.s}-{event.s}").partition("-")
        covered += range(int(first), int(last) + 1)
    assert covered == list(range(1, 14))
