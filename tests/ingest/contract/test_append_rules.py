"""The rules of the append script one by one, on a real server."""

import pytest
from msgspec import structs
from redis.exceptions import ResponseError

from ingest.contract.append import Appended, appended, batch
from ingest.contract.codec import decode, encode
from ingest.contract.events import Event, Gap
from tests.ingest.contract.said import (
    BOOK,
    CANDLES,
    COUNTED,
    OPAQUE,
    REGISTRY,
    STATUS,
    TICKER,
    TRADES,
    candle,
    delta,
    gap,
    opaque,
    restart,
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
    text,
)


def test_the_header_fields_have_their_order(real):
    real.append("a1b2", trade(8), snapshot(9))
    entries = [real.entries(TRADES)[0], real.entries(BOOK)[0]]
    header = [("v", "1"), ("type", "trade"), ("n", "1"), ("g", "a1b2"), ("s", "8"), ("data", encode(trade(8).body))]
    book = [("v", "1"), ("type", "snapshot"), ("n", "1"), ("g", "a1b2"), ("s", "9"), ("data", encode(snapshot(9).body))]
    assert entries == [tuple(header), (*book, ("epoch", "1"))]


def test_the_kept_snapshot_is_the_last_snapshot_entry(real):
    real.append("g", snapshot(9), delta(10, 10), gap(BOOK, 11, 11), snapshot(12), delta(13, 13))
    entry_id, fields = real.redis.xrange(str(BOOK))[3]
    entry = {name.decode(): text(name, value) for name, value in fields.items()}
    assert real.snap(BOOK) == {"id": entry_id.decode()} | {name: entry[name] for name in ("n", "g", "epoch", "data")}


@pytest.mark.parametrize(
    ("deltas", "seconds", "s", "due"),
    [(3, 11, 12, True), (3, 9, 12, False), (1, 11, 10, False), (3, 11, 11, False)],
    ids=["due", "too soon", "few deltas", "not of now"],
)
def test_a_snapshot_is_due_ten_seconds_after_the_last_one_if_the_deltas_outweigh_it(real, deltas, seconds, s, due):
    real.append("g", snapshot(9), *(delta(i, i) for i in range(10, 10 + deltas)))
    real.redis.hincrby(BOOK.state, "snap_ms", -1000 * seconds)
    real.append("g", snapshot(s))
    said = [(dict(entry)["type"], dict(entry)["epoch"]) for entry in real.entries(BOOK)]
    assert said == [("snapshot", "1"), *[("delta", "1")] * deltas, *[("snapshot", "1")] * due]


def test_a_window_remembers_two_thousand_identities(real):
    for start in range(0, 2500, 500):
        real.append("g", *(status(STATUS, f"x.{i}") for i in range(start, start + 500)))
    forgotten, remembered = real.append("g", status(STATUS, "x.499")), real.append("g", status(STATUS, "x.501"))
    assert (forgotten[0].appended, remembered[0].appended, real.redis.zcard(STATUS.ids)) == (1, 0, 2000)


def test_nanoseconds_are_told_apart_to_the_last_digit(real):
    now = 1_795_335_330_125_000_001
    real.append("g", ticker("book", now), ticker("book", now - 1), ticker("book", now + 1), ticker("book", now + 1))
    real.append("g", candle(9, now), candle(9, now - 1), candle(9, now + 1))
    assert (real.identities(TICKER), real.identities(CANDLES)) == (
        [f"book.{now}", f"book.{now + 1}"],
        [f"90000000.{now}", f"90000000.{now + 1}"],
    )


def test_ids_are_exact_up_to_two_to_the_53(real):
    largest = (1 << 53) - 1
    real.append("g", trade(largest - 2), trade(largest - 2), trade(largest - 1), trade(largest))
    assert (real.identities(TRADES), real.state(TRADES)["last"]) == (
        [str(largest - 2), str(largest - 1), str(largest)],
        str(largest),
    )


def test_a_series_of_tickers_that_has_ended_is_not_gone_on_with_and_its_writer_is_told(real):
    real.append("g", ticker("book", 9), ticker("book~1", 2))
    told = real.append("g", ticker("book", 10), ticker("24h", 3), ticker("book~1", 3))[0]
    assert (told.refused, told.handled, told.appended, real.identities(TICKER)) == (
        True,
        3,
        2,
        ["book.9", "book~1.2", "24h.3", "book~1.3"],
    )


@pytest.mark.parametrize(
    ("before", "said"),
    [
        pytest.param("book.11", True, id="the stream has not come so far"),
        pytest.param("book.10", False, id="it has: nothing is missing"),
        pytest.param("book~1.1", True, id="and what follows is of another series"),
        pytest.param("24h.9", False, id="nothing ever came of that source"),
    ],
)
def test_that_tickers_may_be_missing_is_told_where_the_stream_has_not_come_so_far(real, before, said):
    real.append("g", ticker("book", 9), ticker("book", 10))
    real.append("g", silence(1, before))
    assert real.identities(TICKER) == ["book.9", "book.10", *["z.1"] * said]


def test_a_silence_is_one_of_all_sources_that_were_heard_before_it(real):
    real.append("g", ticker("book", 9), ticker("24h", 3))
    real.append("g", silence(1, "book.12"), ticker("book", 12), silence(2, "24h.5"), ticker("24h", 5))
    real.append("g", silence(3, "24h.8"), ticker("24h", 8), silence(1, "book.12"), silence(4, "book.15"))
    assert real.identities(TICKER) == ["book.9", "24h.3", "z.1", "book.12", "24h.5", "z.3", "24h.8"]


def test_one_call_serves_all_streams_each_in_its_order(real):
    replies = real.append("g", trade(8), ticker("book", 1), trade(9), snapshot(5), trade(11), ticker("book", 2))
    assert replies == (
        Appended(TRADES, True, False, "g", 2, "9", 2, 2),
        Appended(TICKER, False, False, "g", 2, None, 2, 2),
        Appended(BOOK, False, False, "g", 1, "5", 1, 1),
    )


def test_a_stream_keeps_the_generation_of_its_birth(real):
    real.append("g1", trade(8))
    real.append("g2", trade(9), status(STATUS, "a"))
    assert [(key.channel, state["g"]) for key in (TRADES, STATUS) for state in [real.state(key)]] == [
        ("trades", "g1"),
        ("status", "g2"),
    ]


def test_what_is_refused_bears_no_stream(real):
    real.append("g", delta(8, 9))
    assert real.redis.keys() == []


def test_a_call_does_not_overtake_the_one_before_it(real):
    real.append_in_line("x", 1, ticker("book", 1))
    with pytest.raises(ResponseError, match="EARLY"):
        real.append_in_line("x", 3, ticker("book", 3), trade(8))
    real.append_in_line("x", 2, ticker("book", 2))
    real.append_in_line("x", 3, ticker("book", 3), trade(8))
    assert (real.identities(TICKER), real.identities(TRADES)) == (["book.1", "book.2", "book.3"], ["8"])


def test_lines_know_nothing_of_each_other_and_are_forgotten_in_time(real):
    real.append_in_line("x", 1, ticker("book", 1))
    real.append_in_line("y", 1, ticker("book", 2))
    real.append_in_line("x", 2, ticker("book", 3))
    real.append("g", ticker("book", 4))
    left = [real.redis.ttl(f"{REGISTRY}:line:{line}") > 0 for line in "xy"]
    assert (real.identities(TICKER), left) == (["book.1", "book.2", "book.3", "book.4"], [True, True])


def test_a_batch_needs_an_event():
    with pytest.raises(ValueError):
        batch("g", [])


def test_a_batch_counts_its_entries():
    sent = batch("g", [trade(8), ticker("book", 1), trade(9)])
    assert ({key: sent.count(key) for key in sent.streams}, sent.entries) == ({TRADES: 2, TICKER: 1}, 3)


def test_a_book_without_ids_takes_its_writers_next_word_and_no_other(real):
    said = [("a", 2, True), ("a", 1, False), ("a", 1, True), ("a", 2, False), ("a", 4, False)]
    first = [real.append("g", session(name, counter, whole=whole))[0].refused for name, counter, whole in said]
    again = real.append("g", session("a", 1, whole=True), session("a", 2, whole=False))[0]
    real.append("g", session("b", 1, whole=True), session("b", 2, whole=False))
    real.append("g", session("a", 1, whole=True), session("a", 3, whole=False))
    entries = [(dict(e)["s"], dict(e)["epoch"]) for e in real.entries(COUNTED)]
    assert (first, again.appended, entries) == (
        [True, True, False, False, True],
        0,
        [("a.1", "1"), ("a.2", "1"), ("b.1", "2"), ("b.2", "2")],
    )


def test_a_book_without_ids_remembers_its_sessions_however_often_time_was_lost(real):
    real.append("g", session("a", 1, whole=True), session("b", 1, whole=True))
    for start in range(0, 1500, 500):
        gaps = (structs.replace(span(10_000 + i, 10_000 + i), key=COUNTED) for i in range(start, start + 500))
        real.append("g", *gaps)
    real.append("g", session("c", 1, whole=True))
    for start in range(1500, 2500, 500):
        gaps = (structs.replace(span(10_000 + i, 10_000 + i), key=COUNTED) for i in range(start, start + 500))
        real.append("g", *gaps)
    assert [real.append("g", session(name, 1, whole=True))[0].appended for name in "bc"] == [1, 0]


def test_what_is_older_than_the_window_counts_as_known_unless_something_is_missing_there(real):
    for start in range(0, 2000, 500):
        real.append("g", *(opaque(f"o{i}", 10_000 + i) for i in range(start, start + 500)))
    old = real.append("g", opaque("old", 9_000), opaque("older", 8_000))[0]
    real.append("g", span(8_500, 9_500))
    late = real.append("g", opaque("old", 9_000), opaque("older", 8_000))[0]
    assert (old.appended, late.appended, real.state(OPAQUE)["older"], dict(real.entries(OPAQUE)[-1])["late"]) == (
        0,
        1,
        "3",
        "1",
    )


def test_what_comes_behind_newer_ones_is_late(real):
    real.append("g", opaque("b", 9), opaque("a", 8), opaque("c", 9))
    assert [(dict(entry)["s"], dict(entry).get("late")) for entry in real.entries(OPAQUE)] == [
        ("b", None),
        ("a", "1"),
        ("c", None),
    ]


def test_who_was_fenced_off_writes_nothing_more(real):
    def append(fence, *events):
        sent = batch("g", events)
        return appended(sent, real.redis.evalsha(real.digest, *sent.arguments(fences={TRADES: fence})))[0]

    outcomes = [
        append(2, trade(8)),
        append(1, trade(9)),
        append(3, trade(8)),
        append(2, trade(9)),
        append(10, trade(9)),
    ]
    assert ([outcome.fenced for outcome in outcomes], real.identities(TRADES)) == (
        [False, True, False, True, False],
        ["8", "9"],
    )


def test_a_series_that_begins_anew_forgets_the_ids_and_gaps_of_the_old_one(real):
    real.append("g1", trade(8), gap(TRADES, 9, 12), trade(13))
    real.append("g2", restart(TRADES, "y.1", "restart", "13 8"), trade(9), trade(10))
    again = real.append("g3", restart(TRADES, "y.1", "restart", "13 8"), trade(9), trade(10), trade(11))
    said = [(e["g"], e["n"], e["type"], e["s"]) for e in map(dict, real.entries(TRADES)[3:])]
    assert (again[0].appended, real.gaps(TRADES), said) == (
        1,
        {},
        [("g2", "1", "gap", "y.1"), ("g2", "2", "trade", "9"), ("g2", "3", "trade", "10"), ("g2", "4", "trade", "11")],
    )


def test_what_is_a_million_ids_behind_is_refused_and_no_duplicate(real):
    """Its writer knows a series that the server has forgotten: it must not go on unheard."""
    real.append("g", trade(8), gap(TRADES, 9, 2_000_000), trade(2_000_001), snapshot(2_000_001))
    far = real.append("g", trade(8), delta(8, 1_000_000))
    near = real.append("g", trade(1_999_999), trade(10), delta(8, 1_000_001))
    assert ([reply.refused for reply in (*far, *near)], real.identities(TRADES)) == (
        [True, True, False, False],
        ["8", "x.9", "2000001", "1999999", "10"],
    )


def test_what_is_of_the_old_series_does_not_join_the_new_one(real):
    real.append("g1", trade(8), trade(9), snapshot(900))
    real.append("g2", restart(TRADES, "y.1", "restart", "9 2"), restart(BOOK, "y.2", "restart", "900 4"))
    old = real.append("g3", trade(9), snapshot(900))
    new = real.append("g4", trade(3), snapshot(5))
    assert ([reply.refused for reply in (*old, *new)], real.identities(TRADES), real.identities(BOOK)) == (
        [True, True, False, False],
        ["8", "9", "y.1", "3"],
        ["900", "y.2", "5"],
    )


def test_a_book_begins_anew_with_ids_below_those_of_the_old_series(real):
    real.append("g1", snapshot(900), delta(901, 901))
    real.append("g2", restart(BOOK, "y.1", "restart", "901 8"), snapshot(9), delta(10, 10))
    said = [(e["g"], e["type"], e["s"], e["epoch"]) for e in map(dict, real.entries(BOOK)[2:])]
    assert said == [("g2", "gap", "y.1", "1"), ("g2", "snapshot", "9", "2"), ("g2", "delta", "10", "2")]


def test_a_series_does_not_begin_anew_on_a_stream_that_moved(real):
    real.append("g1", trade(8), trade(9))
    refused = real.append("g2", restart(TRADES, "y.1", "restart", "8 0"), trade(1))[0]
    assert (refused.refused, refused.handled, real.identities(TRADES)) == (True, 0, ["8", "9"])


@pytest.mark.parametrize(
    ("before", "ended"),
    [([], ("-", 0)), ([status(TRADES, "y.0")], ("g1", 1)), ([trade(i) for i in range(1, 301)], ("g1", 300))],
    ids=["of nothing", "of no ids", "of three hundred"],
)
def test_a_series_that_begins_anew_says_where_the_old_generation_ended(real, before, ended):
    if before:
        real.append("g1", *before)
    newest = "300" if len(before) == 300 else "-"
    told = Event(TRADES, "y.1", Gap(reason="series_restart", first_id="301", to_ns=7), "restart", f"{newest} 8")
    real.append("g2", told)
    _, fields = real.redis.xrevrange(str(TRADES), count=1)[0]
    g, n = ended
    assert decode(b"1-0", fields).event == Gap("series_restart", first_id="301", to_ns=7, after_g=g, after_n=n)


def test_a_series_that_was_forgotten_begins_anew_in_another_place_when_all_is_said_again(real):
    said = trade(8), trade(9), restart(TRADES, "y.1", "restart", "9 2"), trade(3)
    real.append("g1", *said)
    real.redis.flushall()
    renewal = Event(TRADES, "z.1", Gap(reason="rollback", after_g="g1", after_n=0), "renewal", "- 0 7")
    again = real.append("g2", renewal, *said)
    begun = decode(b"1-0", real.redis.xrange(str(TRADES))[3][1]).event
    assert (again[0].refused, real.identities(TRADES), (begun.after_g, begun.after_n)) == (
        False,
        ["z.1", "8", "9", "y.1", "3"],
        ("g2", 3),
    )


def test_a_silent_stream_is_told_once_and_only_if_nobody_else_has_written(real):
    real.append("g", ticker("book", 9), ticker("24h", 3))
    where = "24h.3 book.9"
    real.append("g", state(TICKER, 1, "stale", "24h.3 book.8"), state(TICKER, 2, "stale", where))
    real.append("g", state(TICKER, 3, "stale", where), ticker("book", 10), state(TICKER, 4, "stale", "24h.3 book.10"))
    assert real.identities(TICKER) == ["book.9", "24h.3", "y.2", "book.10", "y.4"]


@pytest.mark.parametrize(
    ("companion", "event"),
    [
        (TRADES.gaps, lambda: gap(TRADES, 9, 9)),
        (BOOK.snap, lambda: snapshot(9)),
        (STATUS.ids, lambda: status(STATUS, "a")),
        (OPAQUE.gaps, lambda: span(8, 9)),
        (REGISTRY, lambda: ticker("book", 1)),
    ],
    ids=["gaps", "snap", "ids", "span", "registry"],
)
def test_a_companion_of_another_type_stops_the_call_before_anything_is_written(real, companion, event):
    real.append("g", trade(8))
    real.redis.set(companion, "in the way")
    before = real.redis.dbsize()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        real.append("g", event())
    assert (real.redis.dbsize(), real.redis.xlen(str(event().key))) == (before, int(event().key == TRADES))
