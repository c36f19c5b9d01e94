"""The append script against a model of it."""

import fakeredis
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.ingest.contract.model import Server
from tests.ingest.contract.said import (
    BOOK,
    CANDLES,
    STATUS,
    TICKER,
    TRADES,
    candle,
    delta,
    gap,
    opaque,
    session,
    silence,
    snapshot,
    span,
    state,
    status,
    ticker,
    trade,
)
from tests.ingest.contract.script import (
    Script,
    expected,
    left,
)

# Ids count up from 8, so that texts of one and of two digits meet; now and then one stays, goes back, or goes too far.
STEPS = st.sampled_from([1, 1, 1, 1, 1, 1, 2, 0, -1, -3])
OF_TRADES = [trade, lambda i: trade(i + 1, i), lambda i: gap(TRADES, i, i + 1)]
OF_BOOK = [
    lambda i: delta(i, i),
    lambda i: delta(i - 1, i + 1),
    lambda i: gap(BOOK, i, i + 1),
    lambda i: state(BOOK, i, "suspect", i - 1),
    lambda i: state(BOOK, i, "live"),
    snapshot,
    snapshot,
]
MARKS = ["", "book.9", "24h.9", "24h.9 book.9", "book.10 other.1"]
OTHERS = (
    st.builds(ticker, st.sampled_from(["book", "24h", "book~1"]), st.integers(8, 12))
    | st.builds(candle, st.integers(9, 12), st.integers(9, 11) | st.just("closed"))
    | st.builds(opaque, st.sampled_from("abcd"), st.integers(8, 12))
    | st.builds(span, st.integers(8, 9), st.integers(9, 12))
    | st.builds(state, st.just(TICKER), st.integers(1, 9), st.sampled_from(["stale", "live"]), st.sampled_from(MARKS))
    | st.builds(status, st.just(STATUS), st.sampled_from("abcd"))
    | st.builds(session, st.sampled_from(["a", "b.1"]), st.integers(1, 4), whole=st.booleans())
)


@st.composite
def histories(draw):
    """Calls, each of several events, of one stream or of several."""
    makers = draw(st.sampled_from([OF_TRADES, OF_BOOK, [*OF_TRADES, *OF_BOOK]]))
    calls, i = [], 7
    for steps in draw(st.lists(st.lists(STEPS, min_size=1, max_size=6), min_size=1, max_size=6)):
        calls.append([])
        for step in steps:
            i = max(2, i + step)
            others = [draw(OTHERS)] if step == 1 and draw(st.booleans()) else []
            calls[-1] += [*others, draw(st.sampled_from(makers))(i)]
    return calls


@pytest.fixture(scope="module")
def fake():
    """One Lua for all examples."""
    return fakeredis.FakeRedis()


def emptied(redis):
    redis.flushall()
    return Script(redis)


def check(script, calls):
    """The same calls to the script and to the model: the same replies, and the same left behind."""
    model = Server()
    for i, events in enumerate(calls):
        assert script.append(f"g{i}", *events) == model.append(f"g{i}", events)
    assert left(script) == expected(model)


@given(histories())
@settings(derandomize=True, max_examples=120, deadline=None)
def test_the_script_does_what_the_model_does(fake, calls):
    check(emptied(fake), calls)


HISTORIES = [
    [[trade(8)], [trade(9), trade(11)], [trade(10), trade(13, 11)], [trade(14)], [gap(TRADES, 14, 20), trade(21)]],
    [[delta(3, 4), snapshot(9)], [delta(8, 10), delta(11, 12), delta(14, 15)], [status(BOOK, "x.1")], [delta(13, 13)]],
    [[snapshot(9), delta(10, 10)], [gap(BOOK, 11, 12)], [delta(13, 13)], [snapshot(9), snapshot(11)], [snapshot(14)]],
    [[gap(TRADES, 1, 4), gap(BOOK, 1, 4), status(STATUS, "a")], [trade(5), status(STATUS, "b"), status(STATUS, "a")]],
    [
        [ticker("book", 9), ticker("24h", 2), ticker("book", 10)],
        [ticker("book", 9), ticker("24h", 2), ticker("24h", 3)],
    ],
    [
        [ticker("book", 9), ticker("book~1", 2), ticker("book", 10), ticker("book~1", 3), silence(1, "book.11")],
        [silence(2, "book~1.3"), silence(3, "book~1.4"), silence(4, "book~2.1"), ticker("book~2", 1)],
        [state(TICKER, 1, "stale", "book~1.1"), state(TICKER, 2, "stale", "book~2.1")],
    ],
    [[candle(9, 1), candle(9, 10), candle(9, 2)], [candle(9, "closed"), candle(9, 11)], [candle(10, 1), candle(9, 99)]],
    [[candle(9, "closed"), candle(11, 1)], [gap(CANDLES, 100, 109), candle(11, 1)], [candle(10, "closed")]],
    [[opaque("a", 9), opaque("b", 8), opaque("a", 9)], [span(3, 7), span(3, 7), opaque("c", 5)]],
    [[state(BOOK, 1, "syncing"), snapshot(9), state(BOOK, 2, "live")], [state(BOOK, 3, "live"), delta(10, 10)]],
    [[snapshot(9), state(BOOK, 1, "suspect", 8)], [state(BOOK, 2, "stale", 9), delta(10, 10), state(BOOK, 3, "live")]],
]


@pytest.mark.parametrize("calls", HISTORIES, ids=range(len(HISTORIES)))
def test_a_real_server_does_so_too(real, calls):
    check(real, calls)


@example([[snapshot(8)], [gap(BOOK, 9, 10)], [snapshot(11)]], [2])
@given(histories(), st.lists(st.integers(0, 6), max_size=3))
@settings(derandomize=True, max_examples=120, deadline=None)
def test_calls_sent_again_after_any_crashes_change_nothing(fake, calls, crashes):
    calls = list(enumerate(_taken(calls)))
    once = emptied(fake)
    for i, events in calls:
        once.append(f"g{i}", *events)
    expected = once.all()
    again = emptied(fake)
    refused = []
    for end in [*crashes, len(calls)]:
        for i, events in calls[:end]:
            replies = again.append(f"g{i}", *events)
            # A ticker that comes again after its source began to count anew is told of that.
            refused += [stream for stream in replies if stream.refused and stream.key != TICKER]
    assert (again.all(), refused) == (expected, [])


def _taken(calls):
    """Without what is refused, and without gaps of a stream that has no ids yet: neither is sent again."""
    model = Server()
    for events in calls:
        taken = []
        for event in events:
            stream = model.streams.get(event.key)
            nowhere = event.rule == "gap" and (stream is None or stream.last is None)
            if not nowhere and not model.append("g", [event])[0].refused:
                taken.append(event)
        if taken:
            yield taken
