"""Trades whose ids have no order."""

from msgspec import structs

from ingest.contract.events import Event, Gap, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Locate, Standing
from ingest.exchanges.opaque import WAIT_NS, WAITING_TRADES, OpaqueTrades
from ingest.exchanges.session import Session
from ingest.exchanges.steps import Told
from ingest.exchanges.topic import TradesWanted

KEY = StreamKey("bybit", "trades", "BTC/USDT")
TRADE = Trade(price="1", amount="2", side="buy", received_ns=1)
S = 1_000_000_000
MOST = 4
"""Trades in a page."""


def told(ms, name=""):
    return Told(f"{name}@{ms}", ms, TRADE)


def said(ms, name="", **changes):
    return Event(KEY, f"{name}@{ms}", structs.replace(TRADE, **changes), "opaque", str(ms))


def filled(ms):
    return said(ms, backfilled=True)


def after(before_ms, *events):
    """In the order of time, behind a trade of that time; each says what it is behind."""
    told = []
    for event in events:
        if event.rule == "opaque":
            ms = int(event.first)
            event = structs.replace(event, first=f"{ms} {before_ms}")
            before_ms = max(ms, before_ms)
        told.append(event)
    return told


def span(count, first_ms, last_ms):
    gap = Gap(reason="unverifiable", from_ns=first_ms * 1_000_000, to_ns=last_ms * 1_000_000 + 999_999)
    return Event(KEY, f"x.{count}", gap, "span", f"{first_ms}-{last_ms}")


def opened(position=None):
    some = OpaqueTrades(KEY, Session("x"), position)
    some.open(0)
    assert some.wants(0) == [TradesWanted(None)]
    return some


def page(some, *times, now_ns=0):
    return some.fetched([told(ms) for ms in times], MOST, now_ns)


def test_what_is_heard_waits_for_what_was_missed_before_it():
    some = opened("10")
    waits = [*some.trade(told(30), 0), *some.trade(told(31), 0)]
    joined = page(some, 9, 10, 20, 30)
    assert (waits, joined, some.trade(told(32), 0), some.due()) == (
        [],
        after(10, filled(10), filled(20), said(30), said(31)),
        after(31, said(32)),
        NEVER,
    )


def test_what_a_page_does_not_reach_back_to_is_registered_unless_another_writer_has_said_it():
    alone, mirrored = opened("10"), opened("10")
    for some in (alone, mirrored):
        some.trade(told(40), 0)
        assert (page(some, 20, 30, 35, 40), some.wants(0)) == ([], [Locate(KEY)])
    assert (alone.located(Standing("g", 7, "10"), 0), mirrored.located(Standing("g", 9, "30"), 0)) == (
        after(10, span(1, 10, 20), filled(20), filled(30), filled(35), said(40)),
        after(30, filled(30), filled(35), said(40)),
    )


def test_of_a_millisecond_that_a_page_is_cut_in_some_may_be_missing():
    cut, whole = opened("20"), opened("20")
    cut.trade(told(40), 0)
    whole.trade(told(40), 0)
    page(cut, 20, 30, 35, 40)
    assert (cut.located(None, 0)[0], page(whole, 20, 30, 40)) == (
        span(1, 20, 20),
        after(20, filled(20), filled(30), said(40)),
    )


def test_a_new_stream_begins_with_the_page():
    some = opened()
    some.trade(told(30), 0)
    held = [page(some, 20, 30), some.wants(0)]
    assert (held, some.located(Standing("-", 0), 0)) == ([[], [Locate(KEY)]], [filled(20), *after(20, said(30))])


def test_a_page_that_is_older_than_what_is_heard_is_asked_for_again():
    some = opened("10")
    some.trade(told(30), 0)
    early = page(some, 9, 10, 20)
    assert (early, some.wants(S), page(some, 10, 20, 25, 30, now_ns=S)) == (
        after(10, filled(10), filled(20)),
        [TradesWanted(None)],
        after(20, filled(20), filled(25), said(30)),
    )


def test_a_quiet_symbol_is_asked_about_again_once_something_is_heard():
    some = opened("10")
    quiet = [page(some, 9, 10), some.due(), some.trade(told(30), 5)]
    assert (quiet, some.wants(5), page(some, 9, 10, 20, 30)) == (
        [after(10, filled(10)), NEVER, []],
        [TradesWanted(None)],
        after(10, filled(10), filled(20), said(30)),
    )


def test_an_exchange_that_does_not_answer_is_asked_four_times_and_then_the_stretch_is_registered():
    some = opened("10")
    some.trade(told(30), 0)
    answers = []
    for _ in range(4):
        answers.append(some.failed("no", 0))
        some.wants(some.due())
    assert (answers, some.trade(told(31), 0)) == (
        [[], [], [], after(10, span(1, 10, 30), said(30))],
        after(30, said(31)),
    )


def test_what_waits_is_bounded_and_said_when_the_connection_ends():
    full, cut = opened("10"), opened("10")
    for ms in range(20, 20 + WAITING_TRADES):
        full.trade(told(ms), 0)
    cut.trade(told(20), 0)
    assert (len(full.trade(told(99_999), 0)), cut.closed("cut"), cut.position) == (
        WAITING_TRADES + 2,
        after(10, span(1, 10, 20), said(20)),
        "20",
    )


def test_what_waits_for_a_page_that_does_not_come_is_said_in_the_end():
    some = opened("10")
    some.trade(told(30), 0)
    assert (some.due(), some.wants(WAIT_NS), some.trade(told(31), WAIT_NS)) == (
        WAIT_NS,
        after(10, span(1, 10, 30), said(30)),
        after(30, said(31)),
    )


def test_whoever_subscribes_once_more_asks_what_there_was_in_between():
    some = opened("10")
    some.trade(told(10), 0)
    page(some, 9, 10)
    assert (some.resume(S), some.wants(S), some.trade(told(30), S), page(some, 10, 20, 30, now_ns=S)) == (
        [],
        [TradesWanted(None)],
        [],
        after(10, filled(10), filled(20), said(30)),
    )


def counted(number, ms=None):
    return Told(str(number), number if ms is None else ms, TRADE)


def as_said(number, **changes):
    return Event(KEY, str(number), structs.replace(TRADE, **changes), "opaque", str(number))


def listening(last):
    """Live, with that as the newest trade said."""
    some = opened(str(last))
    some.trade(counted(last), 0)
    some.fetched([counted(last - 1), counted(last)], MOST, 0)
    return some


def test_a_step_between_ids_is_looked_into_and_what_is_missing_comes_late():
    some = listening(10)
    heard = [some.trade(counted(number), S) for number in (11, 14, 15)]
    asked, again = some.wants(S), some.wants(S)
    found = some.fetched([counted(number) for number in range(10, 16)], MOST, S)
    assert (heard, asked, again) == (
        [after(10, as_said(11)), after(11, as_said(14)), after(14, as_said(15))],
        [TradesWanted(None)],
        [],
    )
    assert (found, some.due()) == ([as_said(number, backfilled=True) for number in (11, 12, 13, 14)], NEVER)


def test_a_step_that_a_page_does_not_reach_back_to_is_registered():
    some = listening(10)
    some.trade(counted(20), S)
    some.wants(S)
    found = some.fetched([counted(number) for number in (17, 18, 19, 20)], MOST, S)
    assert found == [span(1, 10, 17), *(as_said(number, backfilled=True) for number in (17, 18, 19, 20))]


def test_a_page_that_ends_before_the_step_is_asked_for_again_and_in_the_end_the_step_is_registered():
    some = listening(10)
    some.trade(counted(12), S)
    said_of_it = []
    for i in range(1, 5):
        assert some.wants(i * S) == [TradesWanted(None)]
        said_of_it.append(some.fetched([counted(9), counted(10)], MOST, i * S))
    assert (said_of_it, some.due()) == ([[], [], [], [span(1, 10, 12)]], NEVER)


def test_a_step_that_nobody_looked_into_before_the_connection_ended_is_registered():
    some = listening(10)
    some.trade(counted(12), S)
    assert some.closed("cut") == [span(1, 10, 12)]


def test_ids_that_go_up_by_more_than_one_and_leave_nothing_out_are_believed_after_three_looks():
    some, asked = listening(10), []
    for i in range(1, 6):
        some.trade(counted(10 + 2 * i), i * S)
        asked += some.wants(i * S)
        some.fetched([counted(8), *(counted(10 + 2 * j) for j in range(i + 1))], MOST + 9, i * S)
    assert asked == [TradesWanted(None)] * 3


def test_ids_that_are_no_numbers_or_go_back_say_nothing():
    some = listening(10)
    for each in (counted(9, 11), told(12, "a"), counted(30, 13)):
        some.trade(each, S)
    assert some.due() == NEVER
