"""Books that come whole with the subscription."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.codec import decode
from ingest.contract.events import Delta, Event, Gap, Snapshot, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Locate, Reconnect, Standing
from ingest.exchanges.pushed import BUFFERED_CHANGES, LATE_NS, QUIET_NS, SNAPSHOT_EVERY_NS, WITHIN_NS, PushedBook, Whole
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS, BookWanted, SubscriptionWanted
from tests.ingest.contract.model import Server

KEY = StreamKey("bybit", "orderbook", "BTC/USDT")
S = 1_000_000_000
BID = (("10", "1"),)


def delta(price="10", amount="1", ask=None):
    return Delta(bids=((price, amount),), asks=((ask, "1"),) if ask else (), received_ns=1)


def said(s):
    return Event(KEY, str(s), delta(), "range", str(s))


def whole(s, bids=BID, now_ns=0, **more):
    return Event(KEY, str(s), Snapshot(bids=bids, asks=(), received_ns=now_ns, **more), "snapshot")


def status(count, state, reason, at=None):
    first = state if at is None else f"{state} {at}"
    return Event(KEY, f"x.{count}", Status(state=state, reason=reason), "state", first)


def gap(count, first, last, reason):
    body = Gap(reason=reason, first_id=str(first), last_id=str(last))
    return Event(KEY, f"x.{count}", body, "gap", f"{first}-{last}")


def stands_at(position):
    return Standing("g", 7, str(position))


def opened(position=None, depth=None):
    book = PushedBook(KEY, Session("x"), position, depth)
    book.open(0)
    return book


def live(last=5, depth=None):
    book = opened(depth=depth)
    book.snapshot(Whole(last, BID, (), None), 0)
    return book


def alone(book, position, now_ns=0):
    """Nobody else says what is missing."""
    looks = [book.wants(now_ns), book.located(stands_at(position), now_ns), book.wants(now_ns + HOLD_NS)]
    assert looks == [[Locate(KEY)], [], [Locate(KEY)]]
    return book.located(stands_at(position), now_ns + HOLD_NS)


def test_a_book_begins_with_the_whole_of_it_and_each_change_follows_the_one_before():
    book = PushedBook(KEY, Session("x"), None, None)
    assert (
        book.open(0),
        book.snapshot(Whole(5, BID, (), 3), 0),
        book.delta(6, 6, delta(), 0),
        book.delta(7, 7, delta(), 0),
    ) == (
        [status(1, "syncing", "start")],
        [whole(5, exchange_ns=3), status(2, "live", "start")],
        [said(6)],
        [said(7)],
    )


def test_the_whole_book_may_come_before_the_answer_to_the_subscription():
    book = PushedBook(KEY, Session("x"), None, None)
    assert (book.snapshot(Whole(5, BID, (), None), 0), book.open(1), book.due()) == (
        [whole(5), status(1, "live", "start")],
        [],
        QUIET_NS,
    )


def test_changes_before_a_whole_book_mean_nothing_and_one_that_does_not_come_is_asked_for():
    book = opened()
    assert (book.delta(3, 3, delta(), 0), book.due(), book.wants(WITHIN_NS)) == ([], WITHIN_NS, [BookWanted()])


def test_a_hole_makes_this_book_suspect_and_exactly_what_is_lost_is_registered():
    book = live()
    why = "ids 6 to 7 never came"
    broken, wanted = book.delta(8, 8, delta(), 5), book.wants(5)
    held = [*book.snapshot(Whole(9, BID, (), None), 6), *book.delta(10, 10, delta(), 7)]
    assert (broken, wanted, held, alone(book, 5, 8)) == (
        [status(3, "suspect", why, 5)],
        [BookWanted()],
        [],
        [gap(4, 6, 9, why), whole(9, now_ns=8 + HOLD_NS), said(10), status(5, "live", why)],
    )


def test_what_another_writer_says_meanwhile_is_not_lost():
    book = opened("5")
    book.snapshot(Whole(9, BID, (), None), 0)
    first = [book.wants(0), book.located(stands_at(7), 0), book.wants(HOLD_NS)]
    assert (first, book.located(stands_at(9), HOLD_NS)) == (
        [[Locate(KEY)], [], [Locate(KEY)]],
        [whole(9, now_ns=HOLD_NS), status(2, "live", "start")],
    )


def test_a_book_behind_the_stream_says_nothing_until_its_changes_reach_it():
    book = opened("7")
    silent = [*book.snapshot(Whole(5, BID, (), None), 0), *book.delta(6, 6, delta("9"), 0)]
    assert (silent, book.delta(7, 7, delta("8"), 1), book.delta(8, 8, delta(), 2)) == (
        [],
        [whole(7, (("10", "1"), ("9", "1"), ("8", "1")), 1), status(2, "live", "start")],
        [said(8)],
    )


def test_a_change_that_comes_twice_is_dropped_and_so_is_the_whole_book():
    book = live()
    assert [book.delta(5, 5, delta(), 0), book.snapshot(Whole(5, BID, (), None), 0), book.delta(6, 6, delta(), 0)] == [
        [],
        [],
        [said(6)],
    ]


def test_changes_that_go_on_from_lower_ids_are_not_believed_for_long():
    book = live(500)
    told = [book.delta(u, u, delta(), 0) for u in range(2, 7)]
    assert (told, book.wants(0)) == (
        [[], [], [], [], [status(3, "suspect", "id 6 comes behind 500", 500)]],
        [BookWanted()],
    )


def test_a_book_that_is_crossed_by_a_change_is_not_said_and_begins_anew():
    book = live()
    why = "the book is crossed at 6"
    crossed = book.delta(6, 6, delta(ask="9"), 5)
    wanted = book.wants(5)
    book.snapshot(Whole(6, BID, (), None), 5)
    assert (crossed, wanted, alone(book, 5, 5)[0]) == (
        [status(3, "suspect", why, 5)],
        [BookWanted()],
        gap(4, 6, 6, why),
    )


def test_a_whole_book_that_is_crossed_is_asked_for_again():
    book = opened()
    assert (book.snapshot(Whole(5, BID, BID, None), 0), book.wants(0)) == ([], [BookWanted()])


def test_an_exchange_that_says_that_it_counts_anew_begins_a_new_series():
    book = live(500)
    held = [*book.snapshot(Whole(1, BID, (), None), 0, anew=True), *book.delta(2, 2, delta(), 0)]
    wanted = book.wants(0)
    restart = Gap(reason="series_restart", first_id="501")
    assert (held, wanted, book.located(stands_at(500), 0)) == (
        [status(3, "suspect", "the whole book came anew", 500)],
        [Locate(KEY)],
        [
            Event(KEY, "x.4", restart, "restart", "500 0"),
            whole(1),
            said(2),
            status(5, "live", "the whole book came anew"),
        ],
    )


def test_another_writer_may_have_said_so_already():
    book = live(500)
    book.snapshot(Whole(1, BID, (), None), 0, anew=True)
    book.delta(2, 2, delta(), 0)
    book.wants(0)
    assert book.located(stands_at(2), 0) == [
        whole(2),
        status(4, "live", "the whole book came anew"),
    ]


def test_one_that_does_not_say_so_is_believed_after_three_whole_books_in_a_row():
    book = opened("500")
    now_ns, wanted = 0, []
    for _ in range(3):
        assert book.snapshot(Whole(50, BID, (), None), now_ns) == []
        now_ns = book.due()
        wanted.append(book.wants(now_ns))
    assert wanted == [[BookWanted()], [BookWanted()], [Locate(KEY)]]
    assert book.located(stands_at(500), now_ns)[0].rule == "restart"


def test_books_of_no_use_are_given_up_with_the_connection():
    book = opened()
    for i in range(1, 5):
        assert book.wants(i * WITHIN_NS) == [BookWanted()]
    with pytest.raises(Reconnect, match="no sound book after 4 attempts: start"):
        book.wants(5 * WITHIN_NS)


def test_whole_books_are_asked_for_five_seconds_apart():
    book = live()
    book.delta(9, 9, delta(), 0)
    first = book.wants(0)
    book.snapshot(Whole(9, BID, (), None), 1)
    book.delta(11, 11, delta(), 2)
    assert (first, book.wants(3), book.due()) == ([BookWanted()], [], WITHIN_NS)


def test_a_quiet_book_is_compared_with_the_exchanges_and_a_deaf_one_is_subscribed_to_anew():
    quiet, deaf = live(), live()
    asked = [book.wants(QUIET_NS) for book in (quiet, deaf)]
    quiet.stands_at(5, QUIET_NS)
    deaf.stands_at(6, QUIET_NS)
    assert (asked, quiet.due(), deaf.wants(QUIET_NS + LATE_NS)) == (
        [[BookWanted(just_its_id=True)]] * 2,
        2 * QUIET_NS,
        [SubscriptionWanted()],
    )


def test_a_new_snapshot_follows_once_the_changes_outweigh_the_book():
    book = live()
    early = [len(book.delta(u, u, delta(), SNAPSHOT_EVERY_NS - 1)) for u in range(6, 15)]
    assert (early, book.delta(15, 15, delta(), SNAPSHOT_EVERY_NS)) == (
        [1] * 9,
        [said(15), whole(15, now_ns=SNAPSHOT_EVERY_NS)],
    )


def test_a_book_that_is_cut_says_how_deep_it_is():
    book = opened(depth=2)
    bids = (("10", "1"), ("9", "1"), ("8", "1"))
    assert book.snapshot(Whole(5, bids, (), None), 0)[0] == whole(5, bids[:2], depth=2)


def test_what_waits_is_bounded():
    book = opened("1")
    book.snapshot(Whole(3, BID, (), None), 0)
    for u in range(4, 5 + BUFFERED_CHANGES):
        book.delta(u, u, delta(), 0)
    assert (book.waiting, book.wants(0)) == (0, [BookWanted()])


class World:
    """An exchange's book, and two writers of one stream, each of whom misses frames now and then."""

    def __init__(self):
        self.bus, self.calls, self.now_ns = Server(), 0, 0
        self.u, self.books = 1000, {1000: {"10": "1"}}
        self.series, self.sessions = 0, 0
        self.writers = [None, None]
        self.positions = [None, None]

    def standing(self):
        stream = self.bus.streams.get(KEY)
        return (
            Standing(stream.g, stream.n, None if stream.last is None else str(stream.last))
            if stream
            else Standing("-", 0)
        )

    def write(self, which, events):
        if not events:
            return
        self.calls += 1
        (reply,) = self.bus.append(f"g{self.calls}", events)
        if reply.refused and self.writers[which]:
            self.write(which, self.writers[which].refused(reply.last, self.now_ns))

    def connect(self, which, _how):
        if self.writers[which] is None:
            self.sessions += 1
            position = self.positions[which] or self.standing().position
            self.writers[which] = PushedBook(KEY, Session(f"{which}.{self.sessions}"), position, None)
            self.write(which, self.writers[which].open(self.now_ns))
            self.push(which)

    def cut(self, which, _how):
        if book := self.writers[which]:
            self.positions[which], self.writers[which] = book.position, None
            self.write(which, book.closed("cut"))

    def push(self, which):
        levels = sorted(self.books[self.u].items(), key=lambda level: -int(level[0]))
        anew = self.u == 1
        self.write(which, self.writers[which].snapshot(Whole(self.u, levels, (), None), self.now_ns, anew=anew))

    def change(self, which, how):
        """One of the writers does not hear it, if `how` is 0."""
        price, amount = str(10 + self.u % 3), str(self.u + how)
        self.u += 1
        self.books[self.u] = {**self.books[self.u - 1], price: amount}
        heard = Delta(bids=((price, amount),), asks=(), received_ns=self.now_ns)
        for each, book in enumerate(self.writers):
            if book and not (each == which and how == 0):
                self.write(each, book.delta(self.u, self.u, heard, self.now_ns))

    def restart(self, _which, _how):
        if self.series == 0 and self.u > 1010:
            self.series += 1
            self.old, self.books = self.books, {1: self.books[self.u]}
            self.u = 1
            for each in range(2):
                if self.writers[each]:
                    self.push(each)

    def tick(self, which, _how):
        if book := self.writers[which]:
            for want in book.wants(self.now_ns):
                match want:
                    case Locate():
                        self.write(which, book.located(self.standing(), self.now_ns))
                    case BookWanted(just_its_id=True):
                        book.stands_at(self.u, self.now_ns)
                    case _:
                        self.push(which)

    def step(self, what, which, how):
        self.now_ns += HOLD_NS
        getattr(self, what)(which, how)

    def settle(self):
        for which in range(2):
            self.step("connect", which, 1)
        for _ in range(80):
            self.step("change", 0, 1)
            for which in range(2):
                self.tick(which, 1)


def read(world):
    """Of each entry, in which series it is, from which id to which it reaches, and what it says."""
    series = 0
    for i, fields in enumerate(world.bus.streams[KEY].entries, 1):
        raw = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in fields}
        entry = decode(f"{i}-0".encode(), raw)
        match entry.event:
            case Gap(reason="series_restart"):
                series += 1
            case Gap() as lost:
                yield series, int(lost.first_id), int(lost.last_id), None
            case Snapshot(bids=bids):
                yield series, int(entry.s) + 1, int(entry.s), dict(bids)
            case Delta(bids=bids):
                yield series, int(entry.s), int(entry.s), dict(bids)


def wrong(world):
    """What a reader of the stream would find."""
    books = [getattr(world, "old", world.books), world.books]
    stands, book = None, None
    for series, first, last, levels in read(world):
        if stands and stands[0] == series and first != stands[1] + 1:
            yield f"{first} behind {stands[1]}"
        changes = first == last and levels is not None
        book = {**(book or {}), **levels} if changes else levels
        stands = series, last
        if book is not None and book != books[series].get(last):
            yield f"the book at {last}"
    if stands != (world.series, world.u) or book is None:
        yield f"ends at {stands}, not {world.u}"


steps = st.lists(
    st.tuples(
        st.sampled_from(("change", "change", "change", "connect", "cut", "tick", "tick", "restart")),
        st.integers(0, 1),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(max_examples=600, deadline=None)
@given(steps)
def test_whatever_is_missed_the_stream_has_the_exchanges_book_or_says_what_is_lost(history):
    world = World()
    world.step("connect", 0, 1)
    for each in history:
        world.step(*each)
    world.settle()
    assert list(wrong(world)) == []


def test_without_gaps_the_property_above_would_fail(monkeypatch):
    monkeypatch.setattr(Session, "lost", lambda self, key, *_: self.status(key, "suspect", "silence"))
    world = World()
    for each in [("connect", 0, 1), ("change", 0, 1), ("change", 0, 0), ("change", 0, 1)]:
        world.step(*each)
    world.settle()
    assert list(wrong(world)) != []
