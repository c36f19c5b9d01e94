"""Candles without a hole."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.contract.events import Candle, Event, Gap
from ingest.contract.keys import StreamKey
from ingest.exchanges.candles import BACKFILLED_CANDLES, GROWS_EVERY_NS, Candles, Interval
from ingest.exchanges.exchange import NEVER, Locate, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS, CandlesWanted

KEY = StreamKey("binance", "candles-1m", "BTC/USDT")
MS = 1_000_000
LENGTH_MS = 10


def interval(number, mark="1", **changes):
    """Intervals of ten milliseconds: the first is 0-9."""
    candle = Candle(
        open_ns=number * LENGTH_MS * MS,
        open="1",
        high="2",
        low="1",
        close="2",
        volume="3",
        closed=mark == "closed",
        received_ns=1,
    )
    return Interval(structs.replace(candle, **changes), number * LENGTH_MS + LENGTH_MS - 1, mark)


def said(number, mark="1", **changes):
    candle, end_ms, _ = interval(number, mark, **changes)
    return Event(KEY, f"{candle.open_ns}.{mark}", candle, "candle", f"{number * LENGTH_MS}-{end_ms}")


def filled(number):
    return said(number, "closed", backfilled=True)


def gap(count, first, last, reason):
    first_ms, last_ms = first * LENGTH_MS, last * LENGTH_MS + LENGTH_MS - 1
    body = Gap(reason=reason, from_ns=first_ms * MS, to_ns=last_ms * MS + 999_999)
    return Event(KEY, f"x.{count}", body, "gap", f"{first_ms}-{last_ms}")


def candles(closed=None):
    """A stream whose newest closed interval is this one."""
    return Candles(KEY, Session("x"), None if closed is None else str(interval(closed).end_ms))


def stands_behind(number):
    return Standing("g", 7, str(interval(number).end_ms))


def alone(some, number):
    """Nobody else fills the hole; what is wanted then."""
    looks = [some.wants(0), some.located(stands_behind(number), 0), some.wants(HOLD_NS)]
    looks.append(some.located(stands_behind(number), HOLD_NS))
    assert looks == [[Locate(KEY)], [], [Locate(KEY)], []]
    return some.wants(HOLD_NS)


def test_an_interval_grows_closes_and_is_followed_by_the_next():
    some = candles()
    heard = [interval(4), interval(4, "2"), interval(4, "closed"), interval(5), interval(4, "closed")]
    expected = [[said(4)], [said(4, "2")], [said(4, "closed")], [said(5)], []]
    assert [some.candle(each, i * GROWS_EVERY_NS) for i, each in enumerate(heard)] == expected


def test_what_grows_is_said_every_250_ms_and_what_closes_at_once():
    some, ms = candles(), 1_000_000
    heard = [(0, "1"), (10, "2"), (249, "3"), (251, "4"), (300, "5"), (310, "closed")]
    told = [some.candle(interval(4, mark), at * ms) for at, mark in heard]
    assert (told, some.due()) == ([[said(4)], [], [], [said(4, "4")], [], [said(4, "closed")]], NEVER)


def test_what_had_to_wait_is_said_in_its_time():
    some = candles()
    told = [some.candle(interval(4), 0), some.candle(interval(4, "2"), 10), some.candle(interval(4, "3"), 20)]
    told += [some.due(), some.wants(GROWS_EVERY_NS - 1), some.wants(GROWS_EVERY_NS), some.due()]
    assert told == [[said(4)], [], [], GROWS_EVERY_NS, [], [said(4, "3")], NEVER]


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=60))
def test_the_newest_state_is_always_said_and_never_more_than_one_in_250_ms(frames):
    """With a clock that wakes it when it says so."""
    some, now_ms, number, said_at = candles(), 0, 1, []
    newest = spoken = None

    def take(events, at_ms):
        nonlocal spoken
        for event in events:
            spoken = event.s
            if not event.body.closed:
                said_at.append(at_ms)

    for i, (wait_ms, closes) in enumerate(frames):
        until_ms = now_ms + wait_ms
        if some.due() <= until_ms * MS:
            due_ms = some.due() // MS
            take(some.wants(due_ms * MS), due_ms)
        now_ms = until_ms
        heard = interval(number, "closed" if closes else str(i))
        number += closes
        newest = f"{heard.candle.open_ns}.{heard.mark}"
        take(some.candle(heard, now_ms * MS), now_ms)
    take(some.wants(now_ms * MS + GROWS_EVERY_NS), now_ms + 250)
    assert (spoken, [b for a, b in pairwise(said_at) if b - a < 250]) == (newest, [])


def test_what_closed_unheard_is_fetched():
    some = candles(3)
    held, wanted = some.candle(interval(6), 0), alone(some, 3)
    rows = [interval(number) for number in (4, 5, 6)]
    assert (held, wanted, some.fetched(rows, 0), some.due()) == (
        [],
        [CandlesWanted(40)],
        [filled(4), filled(5), said(6)],
        NEVER,
    )


def test_what_another_writer_fills_is_not_fetched():
    some = candles(3)
    some.candle(interval(6), 0)
    some.wants(0)
    first = some.located(stands_behind(4), 0)
    some.wants(HOLD_NS)
    assert (first, some.located(stands_behind(5), HOLD_NS), some.due()) == ([], [said(6)], NEVER)


def test_while_the_bus_does_not_answer_a_hole_is_fetched_at_once():
    some = candles(3)
    some.candle(interval(6), 0)
    some.wants(0)
    assert (some.located(None, 1), some.wants(1)) == ([], [CandlesWanted(40)])


def test_an_interval_that_closes_while_others_are_fetched_is_said_behind_them():
    some = candles(3)
    some.candle(interval(5), 0)
    alone(some, 3)
    some.candle(interval(5, "closed"), 0)
    assert (some.fetched([interval(4)], 0), some.candle(interval(6), 0)) == (
        [filled(4), said(5, "closed")],
        [said(6)],
    )


def test_what_the_exchange_does_not_have_is_registered():
    some = candles(3)
    some.candle(interval(7), 0)
    alone(some, 3)
    lost = gap(1, 4, 5, "the exchange no longer has them")
    assert some.fetched([interval(6), interval(7)], 0) == [lost, filled(6), said(7)]


def test_an_exchange_that_does_not_answer_is_asked_four_times_and_then_the_loss_is_registered():
    some = candles(3)
    some.candle(interval(6), 0)
    alone(some, 3)
    answers = []
    for _ in range(4):
        answers.append(some.failed("REST answered 500", 0))
        some.wants(some.due())
    assert answers == [[], [], [], [gap(1, 4, 5, "REST answered 500"), said(6)]]


def test_more_than_is_worth_filling_is_registered_down_to_what_is():
    some = candles(0)
    lost = gap(1, 1, 2, "away for longer than is filled by REST")
    assert some.candle(interval(BACKFILLED_CANDLES + 3), 0) == [lost]


def test_a_refused_stream_goes_on_from_where_it_stands():
    some = candles(5)
    some.refused(str(interval(3).end_ms), 0)
    assert (some.candle(interval(5), 0), alone(some, 3)) == ([], [CandlesWanted(40)])


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=20), st.sets(st.integers(1, 12)), st.integers(1, 3)
)
def test_every_interval_closes_once_and_in_order_or_is_registered(heard, unknown, page):
    """Frames come, some never; REST knows some intervals, in pages."""
    some, events = candles(0), []
    frames = [*sorted(set(heard)), (13, False)]
    for number, closed in frames:
        events += some.candle(interval(number, "closed" if closed else "1"), 0)
    while some.due() != NEVER:
        now_ns = some.due()
        for want in some.wants(now_ns):
            if isinstance(want, CandlesWanted):
                first = want.from_ms // LENGTH_MS
                rows = [interval(i) for i in range(first, 14) if i not in unknown or i == 13]
                events += some.fetched(rows[:page], now_ns)
            elif isinstance(want, Event):
                events.append(want)
            else:
                events += some.located(Standing("g", 7, some.position), now_ns)
    covered = []
    for event in events:
        first, _, last = event.first.partition("-")
        if event.rule == "gap" or event.body.closed:
            covered += range(int(first), int(last) + 1)
    assert covered == list(range(LENGTH_MS, 13 * LENGTH_MS))
