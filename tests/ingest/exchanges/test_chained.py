"""Books whose updates name the one before."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import Delta, Event, Gap, Snapshot, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.chained import WHOLE_WITHIN_NS, ChainedBook
from ingest.exchanges.exchange import Locate, Standing
from ingest.exchanges.ranged import DOUBT_NS
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS, BookWanted, SubscriptionWanted

KEY = StreamKey("okx", "orderbook", "BTC/USDT")
S = 1_000_000_000
LEVELS = [("10", "1")]


def delta(amount="1"):
    return Delta(bids=(("10", amount),), asks=(), received_ns=1)


def said(before, last):
    return Event(KEY, str(last), delta(), "range", str(before + 1))


def words(events):
    """Types, and names or states."""
    return [
        (type(event.body).__name__, event.body.state if isinstance(event.body, Status) else event.s) for event in events
    ]


def live(last=100, position=None, depth=None):
    book = ChainedBook(KEY, Session("x"), position, depth)
    book.open(0)
    book.whole(last, LEVELS, [], 0)
    assert book.live
    return book


def test_the_whole_comes_by_itself_and_updates_follow_by_the_one_they_name():
    book = ChainedBook(KEY, Session("x"), None)
    events = [*book.open(0), *book.whole(100, LEVELS, [], 0), *book.update(100, 107, delta(), 0)]
    assert (words(events[:3]), events[3], book.wants(WHOLE_WITHIN_NS)) == (
        [("Status", "syncing"), ("Snapshot", "100"), ("Status", "live")],
        said(100, 107),
        [],
    )


def test_a_whole_that_came_before_the_word_on_the_subscription_counts():
    book = ChainedBook(KEY, Session("x"), None)
    book.whole(100, LEVELS, [], 0)
    assert (book.open(0), book.live, book.wants(WHOLE_WITHIN_NS)) == ([], True, [])


def test_a_whole_that_does_not_come_is_asked_for_and_joined_where_it_reaches():
    book = ChainedBook(KEY, Session("x"), None)
    book.open(0)
    book.update(100, 107, delta(), 0)
    assert book.wants(WHOLE_WITHIN_NS) == [BookWanted()]
    assert words(book.snapshot(103, LEVELS, [], 400, 0)) == [("Snapshot", "103"), ("Delta", "107"), ("Status", "live")]


def test_what_says_that_nothing_is_new_says_nothing_and_shows_what_was_missed():
    book = live()
    quiet = [*book.update(100, 100, delta(), 0), *book.update(99, 100, delta(), 0)]
    assert (quiet, words(book.update(104, 104, delta(), 0))) == ([], [("Status", "suspect")])


def test_an_update_behind_a_hole_starts_the_book_anew():
    book = live()
    assert (words(book.update(105, 107, delta(), 0)), book.wants(0)) == ([("Status", "suspect")], [BookWanted()])


def test_a_whole_that_comes_anew_replaces_the_book_and_tells_of_what_was_missed():
    book = live()
    suspect = book.whole(120, LEVELS, [], 0)
    looks = [book.wants(0), book.located(Standing("g", 7, "100"), 0), book.wants(HOLD_NS)]
    joined = book.located(Standing("g", 7, "100"), HOLD_NS)
    assert (words(suspect), looks, [type(event.body) for event in joined]) == (
        [("Status", "suspect")],
        [[Locate(KEY)], [], [Locate(KEY)]],
        [Gap, Snapshot, Status],
    )


def test_an_older_whole_is_no_news():
    book = live()
    assert (book.whole(90, LEVELS, [], 0), book.live) == ([], True)


def test_an_exchange_that_says_that_it_counts_anew_is_believed():
    book = live()
    suspect = book.update(100, 7, delta(), 0)
    asked = book.wants(0)
    book.update(7, 9, delta(), 0)
    book.snapshot(8, LEVELS, [], 400, 0)
    assert book.wants(0) == [Locate(KEY)]
    anew = book.located(Standing("g", 7, "100"), 0)
    assert (words(suspect), asked, [(event.rule, event.first) for event in anew[:1]], words(anew[1:])) == (
        [("Status", "suspect")],
        [BookWanted()],
        [("restart", "100 7")],
        [("Snapshot", "8"), ("Delta", "9"), ("Status", "live")],
    )


def test_if_that_word_is_lost_nothing_but_old_updates_is_compared_with_rest():
    book = live()
    old = [*book.update(7, 9, delta(), 0), *book.update(9, 11, delta(), S)]
    compared = book.wants(DOUBT_NS)
    book.stands_at(12, DOUBT_NS)
    anew = book.wants(DOUBT_NS)
    assert (old, compared, words(anew), book.live) == (
        [],
        [BookWanted(just_its_id=True)],
        [("Status", "suspect")],
        False,
    )


def test_what_comes_twice_is_compared_and_stays():
    book = live()
    book.update(99, 100, delta(), 0)
    compared = book.wants(DOUBT_NS)
    book.stands_at(100, DOUBT_NS)
    assert (compared, book.wants(DOUBT_NS), book.live) == ([BookWanted(just_its_id=True)], [], True)


def test_a_book_that_goes_on_is_not_doubted():
    book = live()
    book.update(99, 100, delta(), 0)
    book.update(100, 101, delta(), 0)
    assert book.wants(DOUBT_NS) == []


def test_a_book_as_deep_as_is_told_vouches_for_that_much():
    bids = [("10", "1"), ("9", "1")]
    depths = []
    for depth in (2, 3):
        book = ChainedBook(KEY, Session("x"), None, depth)
        book.open(0)
        (whole, _) = book.whole(100, bids, [("11", "1")], 0)
        depths.append((whole.body.depth, whole.body.bids))
    assert depths == [(2, tuple(bids)), (None, tuple(bids))]


class Exchange:
    """Three prices of one side, and whoever has a book of it: what is said is looked at entry by entry."""

    def __init__(self):
        self.book = ChainedBook(KEY, Session("x"), None)
        self.now_ns = 0
        self.seq_id = 1_000_000
        self.levels = {"10": "1"}
        self.states = {self.seq_id: [dict(self.levels)]}
        """By id, of each time that it counted."""
        self.position = None
        self.heard = {}
        self.hear(self.book.open(0))
        self.hear(self.book.whole(self.seq_id, [*self.levels.items()], [], 0))

    def update(self, price, amount, step, how):
        """A change, which comes, or comes twice, or not; or the ids go down with it."""
        before = self.seq_id
        self.seq_id = before // 2 if step == 0 else before + step
        self.levels = {p: a for p, a in {**self.levels, price: amount}.items() if a != "0"}
        self.states.setdefault(self.seq_id, []).append(dict(self.levels))
        change = Delta(bids=((price, amount),), asks=(), received_ns=1)
        for _ in range(how):
            self.hear(self.book.update(before, self.seq_id, change, self.now_ns))
        self.settle()

    def settle(self):
        """Half a second, in which all that is wanted is had."""
        for _ in range(5):
            self.now_ns += HOLD_NS // 2
            for want in self.book.wants(self.now_ns):
                match want:
                    case Event():
                        self.hear([want])
                    case Locate():
                        at = None if self.position is None else str(self.position)
                        self.hear(self.book.located(Standing("g", 1, at), self.now_ns))
                    case BookWanted(just_its_id=True):
                        self.book.stands_at(self.seq_id, self.now_ns)
                    case BookWanted():
                        self.hear(self.book.snapshot(self.seq_id, [*self.levels.items()], [], 400, self.now_ns))
                    case SubscriptionWanted():
                        self.hear(self.book.whole(self.seq_id, [*self.levels.items()], [], self.now_ns))

    def hear(self, events):
        for event in events:
            match event.rule:
                case "restart":
                    self.position = int(event.first.split()[1])
                case "gap":
                    first, last = map(int, event.first.split("-"))
                    assert first == self.position + 1
                    self.position, self.heard = last, None
                case "snapshot":
                    assert self.position is None or int(event.s) >= self.position
                    self.position, self.heard = int(event.s), dict(event.body.bids)
                    assert self.heard in self.states[self.position]
                case "range":
                    assert int(event.first) <= self.position + 1 <= int(event.s)
                    self.position = int(event.s)
                    self.heard = {p: a for p, a in {**self.heard, **dict(event.body.bids)}.items() if a != "0"}
                    assert self.heard in self.states[self.position]


steps = st.sampled_from([1, 1, 7, 12, 93, 0])
updates = st.tuples(st.sampled_from(["9", "10", "11"]), st.sampled_from(["0", "1", "2"]), steps, st.integers(0, 2))


@settings(max_examples=500, deadline=None)
@given(st.lists(updates, max_size=25))
def test_whatever_is_lost_or_counted_anew_the_book_is_the_exchanges_at_every_entry_and_in_the_end(history):
    exchange = Exchange()
    for update in history:
        exchange.update(*update)
    for _ in range(60):
        exchange.update("12", "1", 1, 1)
    assert (exchange.book.live, exchange.position, exchange.heard) == (True, exchange.seq_id, exchange.levels)
