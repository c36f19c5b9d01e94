"""Books without ids, counted by who writes them."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import MAX_LEVELS, Delta, Event, Gap, Snapshot, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.best_audit import EVERY_NS, Best
from ingest.exchanges.counted import RETRY_NS, SNAPSHOT_EVERY_NS, SNAPSHOT_WITHIN_NS, CountedBook
from ingest.exchanges.exchange import NEVER, Reconnect
from ingest.exchanges.session import Session
from ingest.exchanges.sorted_book import SortedBook
from ingest.exchanges.topic import BestWanted, BookWanted
from tests.ingest.contract.model import Server

KEY = StreamKey("kraken", "orderbook", "BTC/USD")
S = 1_000_000_000
BIDS, ASKS = (("9", "1"), ("8", "1")), (("10", "1"), ("11", "1"))


def wrong(_book):
    return False


def delta(bids=(("9", "2"),), asks=(), at=0):
    return Delta(bids=bids, asks=asks, received_ns=at)


def said(session, count, body):
    return Event(KEY, f"x.{session}.{count}", body, "session")


def whole(session, bids=BIDS, asks=ASKS, at=0, count=1):
    return said(session, count, Snapshot(bids=bids, asks=asks, received_ns=at, depth=2))


def status(count, state, reason, at=None):
    return Event(
        KEY, f"x.{count}", Status(state=state, reason=reason), "state", state if at is None else f"{state} {at}"
    )


def gap(count, first_ms, last_ms, reason):
    body = Gap(reason=reason, from_ns=first_ms * 1_000_000, to_ns=last_ms * 1_000_000 + 999_999)
    return Event(KEY, f"x.{count}", body, "span", f"{first_ms}-{last_ms}")


def book(*, owned=True, heard=True, position=None):
    some = CountedBook(KEY, Session("x"), position, 2)
    events = some.own(0) if owned else []
    events += some.open(0)
    if heard:
        events += some.snapshot(BIDS, ASKS, None, 0)
    return some, events


def test_a_session_is_a_whole_book_and_every_change_behind_it():
    some, begun = book(position="y.1.7")
    assert (begun, some.delta(delta(), 1), some.position) == (
        [
            status(1, "syncing", "start", "y.1.7"),
            status(2, "syncing", "start", "y.1.7"),
            whole(3),
            status(4, "live", "start"),
        ],
        [said(3, 2, delta())],
        "x.3.2@0",
    )


def test_what_goes_beyond_the_depth_is_removed_by_what_is_said():
    some, _ = book()
    heard = some.delta(delta(bids=(("8.5", "3"),)), 1)
    assert heard == [said(3, 2, delta(bids=(("8.5", "3"), ("8", "0"))))]


def test_a_spare_keeps_the_book_in_silence_and_begins_with_what_it_has():
    some, silent = book(owned=False)
    silent += some.delta(delta(at=7), 7)
    begun = some.own(50)
    some.disown()
    silent += [*some.delta(delta(), 60), *some.closed("cut")]
    after = (("9", "2"), ("8", "1"))
    assert (some.warm, silent, begun) == (True, [], [whole(1, bids=after, at=7), status(2, "live", "start")])


def test_who_is_given_leave_anew_begins_anew():
    some, _ = book()
    some.disown()
    assert some.own(5) == [whole(5), status(6, "live", "start")]


def test_a_wrong_book_is_not_said_and_a_new_session_begins_behind_the_time_that_is_lost():
    some, _ = book()
    some.delta(delta(), 3 * S)
    why = "the book does not have the exchange's checksum"
    broken = some.delta(delta(), 5 * S, wrong)
    ignored = some.delta(delta(), 5 * S)
    wanted = some.wants(5 * S)
    assert (broken, ignored, wanted, some.snapshot(BIDS, ASKS, None, 6 * S)) == (
        [status(5, "suspect", why, "x.3.2")],
        [],
        [BookWanted()],
        [gap(6, 3000, 6000, why), whole(7, at=6 * S), status(8, "live", why)],
    )


def test_a_crossed_book_is_wrong():
    some, _ = book()
    assert some.delta(delta(bids=(("10", "1"),)), 0) == [status(5, "suspect", "the book is crossed", "x.3.1")]


def test_a_snapshot_that_does_not_come_is_asked_for_again_and_in_the_end_the_connection_is_given_up():
    some, _ = book(heard=False)
    asked = [(some.due(), some.wants(some.due())) for _ in range(3)]
    with pytest.raises(Reconnect, match="no sound book"):
        some.wants(some.due())
    assert asked == [(i * SNAPSHOT_WITHIN_NS, [BookWanted()]) for i in (1, 2, 3)]


def test_snapshots_are_not_asked_for_more_often_than_every_five_seconds():
    some, _ = book()
    some.resync("why", 1)
    some.wants(1)
    some.snapshot(BIDS, ASKS, None, 2, wrong)
    assert (some.wants(3), some.due(), some.warm) == ([], 1 + RETRY_NS, False)


def test_a_session_that_the_stream_does_not_take_is_said_anew_behind_all_that_it_may_have_lost():
    some, _ = book()
    some.delta(delta(), 2 * S)
    why = "the stream did not take a session"
    after = (("9", "2"), ("8", "1"))
    assert some.refused(None, 4 * S) == [gap(5, 0, 4000, why), whole(6, bids=after, at=2 * S), status(7, "live", why)]


def test_a_snapshot_is_said_again_when_the_changes_outweigh_it_and_never_within_ten_seconds():
    some, _ = book()
    early = [len(some.delta(delta((("9", amount),)), 0)) for amount in "343434343"]
    late = some.delta(delta(), SNAPSHOT_EVERY_NS)
    again = whole(3, bids=(("9", "2"), ("8", "1")), at=SNAPSHOT_EVERY_NS, count=12)
    assert (early, late) == ([1] * 9, [said(3, 11, delta()), again])


def test_who_hears_nothing_any_more_says_where_it_stood():
    some, _ = book()
    assert (some.closed("cut"), some.due()) == ([status(5, "stale", "cut", "x.3.1")], NEVER)


def test_who_connects_again_registers_the_time_between_unless_another_wrote_meanwhile():
    before, _ = book()
    before.delta(delta(), 3 * S)
    alone, followed = (CountedBook(KEY, Session("x"), before.position, 2) for _ in "ab")
    followed.disown()
    said = []
    for some in (alone, followed):
        some.snapshot(BIDS, ASKS, None, 5 * S)
        said.append(some.own(6 * S))
    why = "not connected"
    assert (before.position, said) == (
        "x.3.2@3000",
        [
            [gap(1, 3000, 6000, why), whole(2, at=5 * S), status(3, "live", why)],
            [whole(1, at=5 * S), status(2, "live", why)],
        ],
    )


class World:
    """An exchange's book of three levels a side, two workers, a stream, and a reader of it."""

    def __init__(self):
        self.now_ns = S
        self.true = SortedBook([("50", "1")], [("51", "1")], None)
        self.bus = Server()
        self.talks = {name: CountedBook(KEY, Session(name), None, 3) for name in "ab"}
        self.owner, self.cuts = None, 0
        self.begun = False
        """Whether the owner has said the book since it owns it."""
        self.lost, self.spans, self.reader = [], [], None
        self.stale = set()
        """Who missed a change, and nothing showed that so far."""
        for name in self.talks:
            self.whole(name)

    def take(self, name, events):
        """To the stream, under the writer's fence; a reader sees what was appended."""
        for event in events:
            (reply,) = self.bus.append("g", [event])
            if reply.refused:
                self.take(name, self.talks[name].refused(None, self.now_ns))
            elif reply.appended:
                self.read(event)

    def read(self, event):
        if event.rule == "span":
            self.spans.append(tuple(map(int, event.first.split("-"))))
        elif isinstance(event.body, Snapshot):
            self.reader = SortedBook(event.body.bids, event.body.asks, None)
            self.begun = True
        elif isinstance(event.body, Delta):
            self.reader.apply(event.body.bids, event.body.asks)

    def top(self):
        return self.true.levels(3)

    def fits(self, top, book):
        return book.levels() == top

    def whole(self, name):
        self.stale.discard(name)
        self.take(name, self.talks[name].snapshot(*self.top(), None, self.now_ns, partial(self.fits, self.top())))

    def change(self, price, amount, heard):
        """As Kraken does: levels that come into sight are told, those that go out of it are not."""
        before = [dict(side) for side in self.top()]
        level = (str(price), str(amount))
        self.true.apply(*(([level], []) if price <= 50 else ([], [level])))
        changed = [
            [level] * (level[0] in old and amount == 0) + [each for each in new if old.get(each[0]) != each[1]]
            for old, new in zip(before, self.top(), strict=True)
        ]
        for name, talk in self.talks.items():
            if self.owner == name and self.begun and not talk.warm and any(changed):
                self.lost.append(self.now_ns // 1_000_000)
            if heard in (name, "both"):
                said = talk.delta(delta(*map(tuple, changed)), self.now_ns, partial(self.fits, self.top()))
                if talk.warm and name in self.stale:  # what was missed is undone, as far as anybody can tell
                    self.stale.discard(name)
                    self.lost.clear()
                self.take(name, said)
            elif talk.warm and any(changed):
                self.stale.add(name)
                self.lost += [self.now_ns // 1_000_000] * (self.owner == name)

    def own(self, name):
        for each, talk in self.talks.items():
            if each != name:
                talk.disown()
        self.owner, self.begun = name, False
        self.lost.clear()  # what is between two writers' sessions is not told
        self.take(name, self.talks[name].own(self.now_ns))

    def wait(self):
        self.now_ns += RETRY_NS
        for name, talk in self.talks.items():
            if talk.wants(self.now_ns) or not talk.warm:
                self.whole(name)

    def cut(self, name):
        before = self.talks[name]
        self.take(name, before.closed("cut"))
        self.cuts += 1
        self.stale.discard(name)
        self.talks[name] = CountedBook(KEY, Session(f"{name}{self.cuts}"), before.position, 3)
        self.talks[name].open(self.now_ns)
        self.take(name, self.talks[name].own(self.now_ns) if self.owner == name else [])

    def flush(self):
        self.bus = Server()

    def check(self):
        """A book that is live is the exchange's, unless something was missed of which nothing shows so far."""
        if self.talks[self.owner].warm and self.owner not in self.stale:
            assert self.reader.levels() == self.top()
        return [ms for ms in self.lost if not any(first <= ms <= last for first, last in self.spans)]


histories = st.lists(
    st.tuples(st.just("change"), st.integers(45, 56), st.integers(0, 3), st.sampled_from(("both",) * 4 + ("a", "b")))
    | st.tuples(st.sampled_from(("own", "cut")), st.sampled_from("ab"))
    | st.tuples(st.just("wait"))
    | st.tuples(st.just("flush")),
    max_size=40,
)


def play(history):
    """What was lost, and lies in no gap."""
    world = World()
    world.own("a")
    end = [("change", 50, 7, "both"), ("wait",), ("change", 50, 8, "both")]
    for what, *how in (*history, *end):
        world.now_ns += S
        getattr(world, what)(*how)
        world.check()
    return world.check()


@settings(max_examples=800, deadline=None)
@given(histories)
def test_what_a_reader_has_of_a_live_book_is_the_exchanges_and_what_was_lost_lies_in_a_gap(history):
    assert play(history) == []


def test_without_gaps_and_without_the_cut_the_property_above_would_fail(monkeypatch):
    missed = [("change", 49, 2, "b")]
    pushed_out = [("change", price, 1, "both") for price in (47, 48, 49, 46)]
    again = [("change", 49, 0, "both")]
    assert [play(missed), play(pushed_out + again)] == [[], []]
    with monkeypatch.context() as without:
        without.setattr(CountedBook, "_lose_from", lambda *_: None)
        assert play(missed) != []
    with monkeypatch.context() as without:
        without.setattr("ingest.exchanges.counted._removed", lambda _: [])
        with pytest.raises(AssertionError):
            play(pushed_out + again)


def test_the_same_changes_once_more_are_not_said_and_still_have_to_fit():
    some, _ = book()
    change, other = delta((("9", "2"), ("9", "3"))), delta((("9", "4"),))
    said = [len(some.delta(each, 1)) for each in (change, change, other, change)]
    assert (said, some.delta(change, 2, wrong)[0].body.state) == ([1, 0, 1, 1], "suspect")


def audited():
    some = CountedBook(KEY, Session("x"), None, None, audited=True)
    some.own(0)
    some.open(0)
    some.snapshot(BIDS, ASKS, None, 0)
    return some


def look(some, theirs):
    """At the best prices by REST: what is wanted then."""
    some.wants(some.due())
    asked_ns = some.due()
    assert some.wants(asked_ns) == [BestWanted()]
    some.best(theirs, asked_ns)
    return some.wants(some.due())


def test_a_book_that_has_other_best_prices_than_the_exchange_three_times_starts_anew():
    some, why = audited(), "REST has 8 and 10 for the best prices, and had others than ours before"
    wanted = [look(some, Best(8, 10)) for _ in range(3)]
    told, asked = wanted.pop()
    assert (wanted, told, asked, some.warm) == ([[], []], status(5, "suspect", why, "x.3.1"), BookWanted(), False)


def test_what_changes_while_one_looks_counts_as_well():
    some = audited()
    some.wants(some.due())
    asked_ns = some.due()
    some.delta(delta((("9", "0"),)), asked_ns)
    some.wants(asked_ns)
    some.best(Best(9, 10), asked_ns)
    assert (some.wants(some.due()), some.due() - asked_ns > EVERY_NS) == ([], True)


def test_only_who_writes_a_book_looks_and_only_where_no_checksum_proves_it():
    spare, proved = audited(), book()[0]
    spare.disown()
    assert (spare.due(), proved.due()) == (NEVER, NEVER)


def test_of_a_book_that_is_too_large_for_an_entry_the_best_levels_are_said_and_vouched_for():
    some = CountedBook(KEY, Session("x"), None, None)
    some.own(0)
    bids = [(str(price), "1") for price in range(1, MAX_LEVELS + 10)]
    whole = some.snapshot(bids, [("60000", "1")], None, 0)[0].body
    assert (len(whole.bids), whole.bids[0], whole.depth) == (MAX_LEVELS, (str(MAX_LEVELS + 9), "1"), MAX_LEVELS)
