"""Candles whose end is confirmed, but perhaps not of an interval without trades."""

from ingest.exchanges.candles import GROWS_EVERY_NS
from ingest.exchanges.confirmed import ConfirmedCandles
from ingest.exchanges.exchange import Locate
from ingest.exchanges.session import Session
from ingest.exchanges.topic import CandlesWanted
from ingest.exchanges.unflagged import GRACE_NS
from tests.ingest.exchanges.test_unflagged import KEY, LENGTH_MS, end_ns, interval, said


def candles(closed=None):
    return ConfirmedCandles(KEY, Session("x"), None if closed is None else str(interval(closed).end_ms))


def test_an_interval_closes_when_it_is_said_to_be():
    some = candles()
    later_ns = 8 + GROWS_EVERY_NS
    heard = [some.candle(interval(4), 7), some.candle(interval(4, "closed"), 8), some.candle(interval(5), later_ns)]
    assert heard == [[said(4)], [said(4, "closed")], [said(5)]]


def test_one_that_is_not_is_fetched_when_the_next_is_heard():
    some = candles(3)
    some.candle(interval(4), 7)
    held = some.candle(interval(5), 7)
    assert (held, [want for want in some.wants(7) if isinstance(want, Locate)]) == ([], [Locate(KEY)])
    some.located(None, 7)
    asked = [want for want in some.wants(7) if isinstance(want, CandlesWanted)]
    joined = some.fetched([interval(4, close="9"), interval(5)], interval(4).open_ms, 7)
    assert (asked, joined) == (
        [CandlesWanted(4 * LENGTH_MS)],
        [said(4, "closed", "9", backfilled=True), said(5)],
    )


def test_when_nothing_more_comes_rest_is_asked_and_believed_as_far_as_it_confirms():
    some = candles(3)
    some.candle(interval(4), 7)
    at_ns = end_ns(4) + GRACE_NS
    asked = some.wants(at_ns)
    came = some.fetched([interval(4, close="9"), interval(5)], interval(4).open_ms, at_ns)
    assert (asked, came) == ([CandlesWanted(4 * LENGTH_MS)], [said(4, "closed", "9", backfilled=True)])


def test_an_interval_without_trades_is_asked_for_in_its_time():
    some = candles(3)
    some.candle(interval(4, "closed"), 7)
    assert some.due() == end_ns(5) + GRACE_NS
    some.wants(end_ns(5) + GRACE_NS)
    came = some.fetched([interval(4), interval(5, close="9")], interval(5).open_ms, end_ns(5) + GRACE_NS)
    assert came == [said(5, "closed", "9", backfilled=True)]


def test_what_comes_late_for_a_closed_one_is_dropped():
    some = candles(3)
    some.candle(interval(4, "closed"), 7)
    assert some.candle(interval(4, "2"), 8) == []
