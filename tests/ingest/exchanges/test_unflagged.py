"""Candles that are not said to be closed."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.contract.events import Candle, Event, Gap
from ingest.contract.keys import StreamKey
from ingest.exchanges.candles import BACKFILLED_CANDLES, GROWS_EVERY_NS, Interval
from ingest.exchanges.exchange import Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import CandlesWanted
from ingest.exchanges.unflagged import GRACE_NS, UnflaggedCandles

KEY = StreamKey("kraken", "candles-1m", "BTC/USD")
MS = 1_000_000
LENGTH_MS = 60_000
S = 1_000_000_000


def interval(number, mark="1", close="2"):
    candle = Candle(
        open_ns=number * LENGTH_MS * MS,
        open="1",
        high="3",
        low="1",
        close=close,
        volume="3",
        closed=mark == "closed",
        received_ns=1,
    )
    return Interval(candle, number * LENGTH_MS + LENGTH_MS - 1, mark)


def said(number, mark="1", close="2", **changes):
    candle, end_ms, _ = interval(number, mark, close)
    s = f"{candle.open_ns}.{mark}"
    return Event(KEY, s, structs.replace(candle, **changes), "candle", f"{number * LENGTH_MS}-{end_ms}")


def flat(number, price="2"):
    return said(number, "closed", price, open=price, high=price, low=price, volume="0", trades=0, received_ns=7)


def candles(closed=None):
    return UnflaggedCandles(KEY, Session("x"), None if closed is None else str(interval(closed).end_ms))


def end_ns(number):
    return (number + 1) * LENGTH_MS * MS


def test_what_was_heard_last_closes_and_what_had_no_trades_is_flat():
    some = candles()
    heard = [some.candle(interval(4, "1"), 7), some.candle(interval(4, "2", "5"), 7), some.candle(interval(7), 7)]
    heard.append(some.wants(7 + GROWS_EVERY_NS))
    assert heard == [[said(4)], [], [said(4, "closed", "5"), flat(5, "5"), flat(6, "5")], [said(7)]]


def test_what_comes_late_for_a_closed_one_is_dropped():
    some = candles()
    some.candle(interval(4), 7)
    some.candle(interval(5), 7)
    assert some.candle(interval(4, "2"), 7) == []


def test_a_quiet_symbol_is_asked_about_by_rest_minute_by_minute():
    some = candles()
    some.candle(interval(4), 7)
    wanted = [some.due() - end_ns(4), some.wants(some.due())]
    rows = [interval(4, "", "9"), interval(5, "", "9")]
    closed = some.fetched(rows, 4 * LENGTH_MS, 7)
    assert (wanted, closed, some.due(), some.candle(interval(6), 7)) == (
        [GRACE_NS, [CandlesWanted(4 * LENGTH_MS)]],
        [said(4, "closed", "9", backfilled=True)],
        end_ns(5) + GRACE_NS,
        [flat(5, "9")],
    )


def test_what_rest_does_not_know_to_be_closed_is_asked_for_again():
    some = candles()
    some.candle(interval(4), 7)
    now_ns = some.due()
    some.wants(now_ns)
    early = [some.fetched([interval(4, "")], 3 * LENGTH_MS, now_ns), some.due()]
    some.wants(some.due())
    assert (early, some.failed("no", now_ns + 20 * S), some.due()) == ([[], now_ns + 10 * S], [], now_ns + 30 * S)


def test_more_than_a_hole_is_filled_of_is_not_made_up():
    some = candles()
    some.candle(interval(0), 7)
    far = BACKFILLED_CANDLES + 5
    lost = [event for event in some.candle(interval(far), 7) if isinstance(event.body, Gap)]
    assert [event.first for event in lost] == [f"{LENGTH_MS}-{5 * LENGTH_MS - 1}"]


def answer(some, traded, now, fails):
    """What is wanted by the end of this minute."""
    events = []
    for _ in range(9):
        now_ns = some.due()
        if now_ns > end_ns(now):
            break
        for want in some.wants(now_ns):
            if not isinstance(want, CandlesWanted):
                events += some.located(Standing("g", 7, some.position), now_ns)
            elif fails:
                events += some.failed("no", now_ns)
            else:
                rows = [interval(i, "", traded.get(i, "0")) for i in range(want.from_ms // LENGTH_MS, now + 1)]
                events += some.fetched(rows, (now - 1) * LENGTH_MS, now_ns)
    return events


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(("heard", "heard", "anew", "quiet", "fails"))), max_size=25),
    st.integers(0, 8),
)
def test_every_interval_closes_once_in_order_and_as_it_was_or_is_registered(history, begun):
    """Time goes on; connections come, each with a snapshot of the newest; REST is asked when it is wanted."""
    traded, now, events = {begun: "2"}, begun, []
    some = candles(begun - 1)
    some.snapshot([interval(begun)], 7)
    for minutes, what in (*history, (1, "anew"), (1, "heard")):
        now += minutes % 3
        if what in ("heard", "anew"):
            traded[now] = str(len(traded) % 7 + 1)
        if what == "heard":
            events += some.candle(interval(now, str(len(events) + 2), traded[now]), 7)
        elif what == "anew":
            some = UnflaggedCandles(KEY, Session("y"), some.position)
            rows = [interval(number, "1", close) for number, close in sorted(traded.items()) if number > now - 4]
            events += some.snapshot(rows, 7)
        events += answer(some, traded, now, what == "fails")
    covered = []
    for event in events:
        first, _, last = event.first.partition("-")
        if event.rule == "gap" or event.body.closed:
            covered += range(int(first) // LENGTH_MS, int(last) // LENGTH_MS + 1)
            number = int(first) // LENGTH_MS
            if event.rule == "candle" and number in traded and event.body.volume != "0":
                assert event.body.close == traded[number]
    assert covered == list(range(begun, now))
