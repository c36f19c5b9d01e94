"""Books joined to snapshots by ranges of ids."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import Delta, Event, Gap, Snapshot, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.best_audit import Best
from ingest.exchanges.exchange import NEVER, Locate, Standing
from ingest.exchanges.ranged import BUFFERED_DELTAS, SNAPSHOT_EVERY_NS, RangedBook
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS, BestWanted, BookWanted

KEY = StreamKey("binance", "orderbook", "BTC/USDT")
S = 1_000_000_000


def delta(price="10", amount="1"):
    return Delta(bids=((price, amount),), asks=(), received_ns=1)


def said(first, last):
    return Event(KEY, str(last), delta(), "range", str(first))


def snapshot(s, bids=(("10", "1"),), received_ns=0):
    return Event(KEY, str(s), Snapshot(bids=bids, asks=(), received_ns=received_ns), "snapshot")


def status(count, state, reason, at=None):
    first = state if at is None else f"{state} {at}"
    return Event(KEY, f"x.{count}", Status(state=state, reason=reason), "state", first)


def gap(count, first, last, reason):
    body = Gap(reason=reason, first_id=str(first), last_id=str(last))
    return Event(KEY, f"x.{count}", body, "gap", f"{first}-{last}")


def stands_at(position):
    return Standing("g", 7, str(position))


def opened(position=None):
    book = RangedBook(KEY, Session("x"), position)
    book.open(0)
    assert book.wants(0) == [BookWanted()]
    return book


def alone(book, position, now_ns=0):
    """Nobody else says what is missing: the snapshot is joined."""
    looks = [book.wants(now_ns), book.located(stands_at(position), now_ns), book.wants(now_ns + HOLD_NS)]
    assert looks == [[Locate(KEY)], [], [Locate(KEY)]]
    return book.located(stands_at(position), now_ns + HOLD_NS)


def test_deltas_wait_for_the_snapshot_and_follow_it():
    """The documented example: buffered [100-105] [106-108] [109-112], and the snapshot is of 107."""
    book = opened()
    waited = [*book.delta(100, 105, delta(), 0), *book.delta(106, 108, delta(), 0), *book.delta(109, 112, delta(), 0)]
    assert (waited, book.snapshot(107, [("10", "1")], [], 1000, 0)) == (
        [],
        [snapshot(107), said(106, 108), said(109, 112), status(2, "live", "start")],
    )


def test_a_snapshot_right_before_the_first_delta_is_joined():
    book = opened()
    book.delta(108, 112, delta(), 0)
    assert book.snapshot(107, [], [], 1000, 0)[1] == said(108, 112)


def test_a_snapshot_older_than_what_waits_is_fetched_again_ever_later():
    book = opened()
    book.delta(100, 105, delta(), 0)
    assert [(book.snapshot(98, [], [], 1000, 7 * S), book.due()) for _ in range(2)] == [([], 8 * S), ([], 9 * S)]


def test_a_snapshot_without_any_delta_is_enough_to_be_live():
    assert opened().snapshot(5, [("10", "1")], [], 1000, 0) == [snapshot(5), status(2, "live", "start")]


def test_an_old_delta_is_dropped_and_an_overlapping_one_is_said():
    book = opened()
    book.snapshot(107, [], [], 1000, 0)
    assert (book.delta(100, 107, delta(), 0), book.delta(105, 110, delta(), 0)) == ((), (said(105, 110),))


def test_a_broken_chain_makes_this_book_suspect_and_registers_exactly_what_it_lost():
    book = opened()
    book.snapshot(10, [], [], 1000, 0)
    why = "ids 11 to 12 never came"
    broken = book.delta(13, 14, delta(), 5)
    wanted = book.wants(5)
    held = book.snapshot(13, [("10", "1")], [], 1000, 0)
    assert (broken, wanted, held, alone(book, 10)) == (
        [status(3, "suspect", why, 10)],
        [BookWanted()],
        [],
        [
            gap(4, 11, 13, why),
            snapshot(13, received_ns=HOLD_NS),
            said(13, 14),
            status(5, "live", why),
        ],
    )


def test_what_another_writer_says_meanwhile_is_not_lost():
    book = opened("90")
    book.delta(101, 102, delta(), 0)
    book.snapshot(100, [("10", "1")], [], 1000, 0)
    book.wants(0)
    first = book.located(stands_at(95), 0)
    book.wants(HOLD_NS)
    joined = [snapshot(100), said(101, 102), status(2, "live", "start")]
    assert (first, book.located(stands_at(103), 0), book.delta(103, 104, delta(), 0)) == ([], joined, (said(103, 104),))


def test_while_the_bus_does_not_answer_nothing_is_given_up():
    book = opened("90")
    book.snapshot(100, [("10", "1")], [], 1000, 0)
    book.wants(0)
    answers = [book.located(None, 0), book.due(), book.wants(HOLD_NS), book.located(None, HOLD_NS), book.due()]
    assert answers == [[], HOLD_NS, [Locate(KEY)], [], 2 * HOLD_NS]


def test_a_restart_registers_what_was_missed_since_the_streams_position():
    book = opened("90")
    book.snapshot(100, [("10", "1")], [], 1000, 0)
    assert alone(book, 90)[:2] == [gap(2, 91, 100, "start"), snapshot(100, received_ns=HOLD_NS)]


def test_a_snapshot_older_than_the_stream_is_joined_if_what_was_heard_reaches_beyond():
    book = opened("110")
    book.delta(101, 109, delta(), 0)
    early = book.snapshot(100, [("10", "1")], [], 1000, 0)
    book.delta(110, 112, delta(), 0)
    joined = [snapshot(100), said(101, 109), said(110, 112), status(2, "live", "start")]
    assert (early, book.snapshot(100, [("10", "1")], [], 1000, 0)) == ([], joined)


def test_a_chain_that_breaks_while_a_snapshot_waits_to_be_joined_needs_a_newer_one():
    book = opened("90")
    book.delta(101, 102, delta(), 0)
    book.snapshot(100, [("10", "1")], [], 1000, 0)
    book.delta(105, 106, delta(), 3)
    assert (book.wants(3), book.located(stands_at(90), 3), book.due()) == ([BookWanted(), Locate(KEY)], [], NEVER)


def test_an_exchange_that_counts_anew_begins_a_series():
    book = opened("9000")
    book.delta(3, 4, delta(), 0)
    older = [book.snapshot(2, [("10", "1")], [], 1000, 0), book.due(), book.wants(S), book.due()]
    again = [book.snapshot(2, [("10", "1")], [], 1000, S), book.wants(S)]
    begun = Event(KEY, "x.2", Gap(reason="series_restart", first_id="9001"), "restart", "9000 1")
    assert (older, again, book.located(stands_at(9000), S)) == (
        [[], S, [BookWanted()], NEVER],
        [[], [Locate(KEY)]],
        [begun, snapshot(2, received_ns=S), said(3, 4), status(3, "live", "start")],
    )


def test_a_series_that_another_writer_has_begun_is_joined():
    book = opened("9000")
    book.delta(3, 4, delta(), 0)
    for now_ns in (0, S):
        book.snapshot(2, [("10", "1")], [], 1000, now_ns)
        book.wants(now_ns + S)
    assert (book.located(stands_at(3), 2 * S), book.snapshot(2, [("10", "1")], [], 1000, 4 * S)[1:]) == (
        [],
        [said(3, 4), status(2, "live", "start")],
    )


def test_a_refused_stream_starts_anew_from_where_it_stands():
    book = opened()
    book.snapshot(10, [], [], 1000, 0)
    book.delta(11, 12, delta(), 0)
    suspect = book.refused("10", 5)
    assert (suspect, book.due(), book.last) == ([status(3, "suspect", "the stream stands at 10", 10)], 5, 10)


def test_a_second_refusal_while_syncing_only_moves_the_position():
    book = opened("20")
    assert (book.refused("15", 5), book.due(), book.last) == ([], NEVER, 15)


def test_who_hears_nothing_any_more_says_where_it_stood():
    book = opened()
    book.snapshot(10, [], [], 1000, 0)
    assert book.closed("cut") == [status(3, "stale", "cut", 10)]


def test_a_snapshot_is_said_again_when_the_changes_outweigh_it_and_never_within_ten_seconds():
    book = opened()
    book.snapshot(0, [("9", "1")], [], 1000, 0)
    early = [len(book.delta(i, i, delta(), 0)) for i in range(1, 10)]
    whole = snapshot(10, bids=(("10", "1"), ("9", "1")), received_ns=SNAPSHOT_EVERY_NS)
    assert (early, book.delta(10, 10, delta(), SNAPSHOT_EVERY_NS)) == ([1] * 9, (said(10, 10), whole))


def test_what_waits_is_bounded():
    book = opened()
    for i in range(BUFFERED_DELTAS + 100):
        book.delta(i, i, delta(), 0)
    assert book.snapshot(98, [], [], 1000, 0) == []


frames = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=30)


@settings(max_examples=1000)
@given(frames, st.lists(st.integers(0, 60), max_size=4), st.randoms(use_true_random=False))
def test_whatever_is_lost_the_stream_never_has_a_hole_that_is_not_registered(history, snapshots, random):
    """Deltas come, some lost, snapshots of any age in between: ids said, snapshots and gaps always join."""
    book, last, events, now_ns = opened(), 0, [], 0
    moments = sorted(random.sample(range(len(history) + 1), k=min(len(snapshots), len(history) + 1)))
    for i, (heard, width) in enumerate(history):
        now_ns += HOLD_NS
        if any(isinstance(want, Locate) for want in book.wants(now_ns)):
            events += book.located(stands_at(book.last), now_ns)
        if i in moments:
            at = min(snapshots[moments.index(i)], last)
            events += book.snapshot(at, [("10", "1")], [], 1000, now_ns)
        first, last = last + 1, last + width
        if heard:  # one in four is not
            events += book.delta(first, last, delta(), now_ns)
    position, live = None, False
    for event in events:
        match event.rule:
            case "gap":
                first, to = map(int, event.first.split("-"))
                assert position is None or first == position + 1
                position, live = to, False
            case "snapshot":
                position, live = max(int(event.s), position or 0), True
            case "range":
                assert live
                assert int(event.first) <= position + 1
                position = max(int(event.s), position)


def change(bids=(), asks=()):
    return Delta(bids=bids, asks=asks, received_ns=1)


CROSSING = change(bids=(("11", "1"),))


def quoted(now_ns=0):
    """A book that is live, 10 for 11."""
    book = opened()
    book.snapshot(5, [("10", "1")], [("11", "1")], 1000, now_ns)
    return book


def test_a_crossed_book_starts_anew_with_a_snapshot_that_is_newer_than_what_crossed_it():
    book = quoted()
    found = book.delta(6, 7, CROSSING, 20 * S)
    wanted = book.wants(20 * S)
    book.delta(8, 8, change(), 20 * S)
    old = book.snapshot(6, [("10", "1")], [("11", "1")], 1000, 21 * S)
    again = book.wants(22 * S)
    book.snapshot(7, [("10", "2")], [("11", "1")], 1000, 22 * S)
    *_, lost, whole, said_then, live = alone(book, 5, 22 * S)
    assert (found, wanted, old, again, lost, whole.s, said_then.s, live.body.state) == (
        [status(3, "suspect", "the book is crossed", 5)],
        [BookWanted()],
        [],
        [BookWanted()],
        gap(4, 6, 7, "the book is crossed"),
        "7",
        "8",
        "live",
    )


def test_what_crosses_a_book_while_it_is_joined_is_not_said():
    book = opened()
    book.delta(6, 6, CROSSING, 0)
    book.delta(7, 7, change(asks=(("12", "1"),)), 0)
    events = book.snapshot(5, [("10", "1")], [("11", "1")], 1000, 0)
    assert ([type(event.body) for event in events], events[-1].body.state, book.waiting) == (
        [Snapshot, Status],
        "suspect",
        1,
    )


def test_a_crossed_snapshot_is_none():
    book = opened()
    assert (book.snapshot(5, [("11", "1")], [("11", "1")], 1000, 0), book.due(), book.live) == ([], S, False)


def test_an_exchange_whose_book_is_crossed_again_and_again_is_asked_ever_later():
    book, now_ns, asked = quoted(), 0, []
    for i in range(6, 11):
        book.delta(i, i, CROSSING, now_ns)
        asked.append(book.due() - now_ns)
        now_ns = book.due()
        book.wants(now_ns)
        book.located(stands_at(i), now_ns)
        book.last = i
        book.snapshot(i, [("10", "1")], [("11", "1")], 1000, now_ns)
    assert (asked, book.live) == ([1 * S, 2 * S, 4 * S, 8 * S, 16 * S], True)


levels = st.lists(st.tuples(st.integers(1, 9).map(str), st.sampled_from("012")), max_size=3).map(tuple)


@settings(deadline=None)
@given(st.lists(st.builds(change, levels, levels), max_size=30))
def test_readers_never_have_a_crossed_book_and_miss_no_change_of_one_that_is_not(changes):
    book, reader = opened(), ({}, {})
    events = book.snapshot(0, [], [], 1000, 0)
    for i, each in enumerate(changes, 1):
        events += book.delta(i, i, each, 0)
    for event in events:
        if isinstance(event.body, Status) and event.body.state == "suspect":
            after = int(event.first.split()[1])
            break
        for side, told in zip(reader, _sides(event.body), strict=True):
            side.update(told)
        assert not _crossed(*reader)
    else:
        after = len(changes)
    truth = ({}, {})
    for each in changes[: after + 1]:
        for side, told in zip(truth, _sides(each), strict=True):
            side.update(told)
    assert _crossed(*truth) == (after < len(changes))


def _sides(body):
    return (dict(body.bids), dict(body.asks)) if isinstance(body, Snapshot | Delta) else ({}, {})


def _crossed(bids, asks):
    best_bid = max((int(price) for price, amount in bids.items() if amount != "0"), default=0)
    return best_bid >= min((int(price) for price, amount in asks.items() if amount != "0"), default=100)


def test_a_book_that_has_other_best_prices_than_the_exchange_three_times_starts_anew():
    book = RangedBook(KEY, Session("x"), None, audited=True)
    book.open(0)
    book.wants(0)
    book.snapshot(5, [("10", "1")], [("11", "1")], 1000, 0)
    wanted = []
    for theirs in (Best(9, 11), Best(10, 11), Best(9, 11), Best(9, 11), Best(9, 11)):
        book.wants(book.due())
        asked_ns = book.due()
        assert book.wants(asked_ns) == [BestWanted()]
        book.best(theirs, asked_ns)
        wanted.append(book.wants(book.due()))
    why = "REST has 9 and 11 for the best prices, and had others than ours before"
    assert (wanted, book.live) == ([[], [], [], [], [status(3, "suspect", why, 5), BookWanted()]], False)
