"""Books joined to snapshots by ranges of ids."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import Delta, Event, Gap, Snapshot, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.ranged import BUFFERED_DELTAS, SNAPSHOT_EVERY_NS, RangedBook
from ingest.exchanges.session import Session

KEY = StreamKey("binance", "orderbook", "BTC/USDT")
S = 1_000_000_000


def delta(price="10", amount="1"):
    return Delta(bids=((price, amount),), asks=(), received_ns=1)


def said(first, last):
    return Event(KEY, str(last), delta(), "range", str(first))


def snapshot(s, bids=(("10", "1"),), received_ns=0):
    return Event(KEY, str(s), Snapshot(bids=bids, asks=(), received_ns=received_ns), "snapshot")


def status(count, state, reason):
    return Event(KEY, f"x.{count}", Status(state=state, reason=reason), "window")


def opened(position=None):
    book = RangedBook(KEY, Session("x"), position)
    book.open(0)
    book.fetching()
    return book


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
    assert book.due() == 5
    book.fetching()
    gap = Event(KEY, "x.4", Gap(reason=why, first_id="11", last_id="13"), "gap", "11-13")
    assert (broken, book.snapshot(13, [("10", "1")], [], 1000, 0)) == (
        [status(3, "suspect", why)],
        [gap, snapshot(13), said(13, 14), status(5, "live", why)],
    )


def test_a_restart_registers_what_was_missed_since_the_streams_position():
    gap = Event(KEY, "x.2", Gap(reason="start", first_id="91", last_id="100"), "gap", "91-100")
    assert opened("90").snapshot(100, [("10", "1")], [], 1000, 0)[:2] == [gap, snapshot(100)]


def test_a_refused_stream_starts_anew_from_where_it_stands():
    book = opened()
    book.snapshot(10, [], [], 1000, 0)
    book.delta(11, 12, delta(), 0)
    suspect = book.refused("10", 5)
    assert (suspect, book.due(), book.last) == ([status(3, "suspect", "the stream stands at 10")], 5, 10)


def test_a_second_refusal_while_syncing_only_moves_the_position():
    book = opened("20")
    assert (book.refused("15", 5), book.due(), book.last) == ([], NEVER, 15)


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


@settings(max_examples=300)
@given(frames, st.lists(st.integers(0, 60), max_size=4), st.randoms(use_true_random=False))
def test_whatever_is_lost_the_stream_never_has_a_hole_that_is_not_registered(history, snapshots, random):
    """Deltas come, some lost, snapshots of any age in between: ids said, snapshots and gaps always join."""
    book, last, events = opened(), 0, []
    moments = sorted(random.sample(range(len(history) + 1), k=min(len(snapshots), len(history) + 1)))
    for i, (heard, width) in enumerate(history):
        if i in moments:
            at = min(snapshots[moments.index(i)], last)
            events += book.snapshot(at, [("10", "1")], [], 1000, 0)
        first, last = last + 1, last + width
        if heard:  # one in four is not
            events += book.delta(first, last, delta(), 0)
    position, live = None, False
    for event in events:
        match event.rule:
            case "gap":
                first, to = map(int, event.first.split("-"))
                assert position is None or first == position + 1
                position, live = to, False
            case "snapshot":
                assert position is None or int(event.s) >= position
                position, live = int(event.s), True
            case "range":
                assert live
                assert int(event.first) <= position + 1 <= int(event.s)
                position = int(event.s)
