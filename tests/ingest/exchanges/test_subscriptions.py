"""Subscriptions against exchanges that refuse a whole message for one bad name, and that go silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.exchanges.exchange import NEVER, Reconnect
from ingest.exchanges.requests import Request, Requests
from ingest.exchanges.subscriptions import LOOK_EVERY_NS, Silent, State, Subscriptions

A_MESSAGE = 10
S = 1_000_000_000


def made() -> tuple[Requests, Subscriptions]:
    requests = Requests(names_per_message=A_MESSAGE, every_ns=1, answered_within_ns=NEVER)
    return requests, Subscriptions(requests, subscribe="SUBSCRIBE", unsubscribe="UNSUBSCRIBE")


class Exchange:
    """It refuses a message with a bad name; what it hears of otherwise it does."""

    def __init__(self, bad=()) -> None:
        self.bad = set(bad)
        self.stands: set[str] = set()
        self.messages = 0
        self.refused: list[str] = []
        self.confirmed: list[str] = []

    def answer(self, requests: Requests, subscriptions: Subscriptions, now_ns: int = 0) -> None:
        """All that waits to be said, and all that follows from the answers."""
        while said := list(subscriptions.ready(self.messages + now_ns)):
            self.messages += 1
            (request,) = said
            requests.answered(request.id)
            if self.bad.intersection(request.names):
                self.refused += subscriptions.refused(request, "no")
            elif request.method == "SUBSCRIBE":
                self.stands.update(request.names)
                self.confirmed += subscriptions.confirmed(request, now_ns).first
            else:
                self.stands.difference_update(request.names)
                subscriptions.confirmed(request, now_ns)


names = st.lists(st.integers(0, 99).map(str), min_size=1, max_size=60, unique=True)


@given(names, st.data())
def test_all_good_names_are_confirmed_and_all_bad_ones_found_each_once(wanted, data):
    bad = data.draw(st.lists(st.sampled_from(wanted), max_size=min(20, len(wanted) - 1), unique=True))
    exchange, (requests, subscriptions) = Exchange(bad), made()
    subscriptions.want(dict.fromkeys(wanted, NEVER))
    exchange.answer(requests, subscriptions)
    good = set(wanted) - set(bad)
    batches = -(-len(wanted) // A_MESSAGE)
    assert (exchange.stands, sorted(exchange.refused), sorted(exchange.confirmed)) == (good, sorted(bad), sorted(good))
    assert subscriptions.states() == dict.fromkeys(good, State.CONFIRMED)
    assert exchange.messages <= batches + 8 * len(bad)  # twice the depth of halving ten


def test_a_name_goes_from_desired_over_pending_to_confirmed():
    _, subscriptions = made()
    states = []
    subscriptions.want({"a": NEVER})
    states.append((subscriptions.states(), subscriptions.open))
    (request,) = subscriptions.ready(1)
    states.append((subscriptions.states(), subscriptions.open))
    subscriptions.confirmed(request, 1)
    states.append((subscriptions.states(), subscriptions.open))
    assert states == [({"a": State.DESIRED}, True), ({"a": State.PENDING}, True), ({"a": State.CONFIRMED}, False)]


def test_where_everything_is_refused_something_else_is_wrong():
    exchange, (requests, subscriptions) = Exchange("abc"), made()
    subscriptions.want(dict.fromkeys("abc", NEVER))
    with pytest.raises(Reconnect, match="refused for 3 names, the last one"):
        exchange.answer(requests, subscriptions)


def test_and_so_it_is_where_too_many_are():
    wanted = [str(i) for i in range(60)]
    exchange, (requests, subscriptions) = Exchange(wanted[:21]), made()
    subscriptions.want(dict.fromkeys(wanted, NEVER))
    with pytest.raises(Reconnect, match="refused for 21 names"):
        exchange.answer(requests, subscriptions)


def test_a_refused_farewell_is_told_to_each_that_can_go():
    exchange, (requests, subscriptions) = Exchange(), made()
    subscriptions.want(dict.fromkeys("abcd", NEVER))
    exchange.answer(requests, subscriptions)
    exchange.bad = {"b"}
    subscriptions.drop("abc")
    exchange.answer(requests, subscriptions)
    assert (exchange.stands, exchange.refused, list(subscriptions.states())) == ({"b", "d"}, [], ["d"])


@pytest.mark.parametrize("then", [(), ("drop",), ("drop", "want"), ("renew",)])
def test_what_came_too_often_is_said_again_later_as_far_as_it_is_still_wanted(then):
    exchange, (requests, subscriptions) = Exchange(), made()
    subscriptions.want({"a": NEVER, "b": NEVER})
    (request,) = subscriptions.ready(0)
    requests.answered(request.id)
    subscriptions.later(request, 60 * S)
    for change in then:
        getattr(subscriptions, change)({"a": NEVER})
    exchange.answer(requests, subscriptions, S)
    early = set(exchange.stands)
    exchange.answer(requests, subscriptions, 60 * S)
    wanted = {"b"} if then == ("drop",) else {"a", "b"}
    stood = {"a"} if then in (("drop", "want"), ("renew",)) else set()
    assert (early, exchange.stands, set(subscriptions.states())) == (stood, wanted, wanted)


@pytest.mark.parametrize("then", [(), ("want",)])
def test_a_farewell_that_came_too_often_takes_nothing_along_that_is_wanted_once_more(then):
    exchange, (requests, subscriptions) = Exchange(), made()
    subscriptions.want({"a": NEVER, "b": NEVER})
    exchange.answer(requests, subscriptions)
    subscriptions.drop(["a"])
    (request,) = subscriptions.ready(S)
    requests.answered(request.id)
    subscriptions.later(request, 60 * S)
    for change in then:
        getattr(subscriptions, change)({"a": NEVER})
    exchange.answer(requests, subscriptions, 2 * S)
    exchange.answer(requests, subscriptions, 60 * S)
    wanted = {"a", "b"} if then else {"b"}
    assert (exchange.stands, set(subscriptions.states())) == (wanted, wanted)


def test_what_is_said_again_later_is_due_then():
    _, subscriptions = made()
    subscriptions.later(Request(1, "UNSUBSCRIBE", ("a",)), 60 * S)
    assert subscriptions.due() == 60 * S


class Listener:
    """One that looks every few seconds, while some names speak."""

    def __init__(self) -> None:
        self.exchange, (self.requests, self.subscriptions) = Exchange(), made()
        self.now_ns = LOOK_EVERY_NS
        self.subscriptions.want({"speaks": 20 * S, "mute": 20 * S, "quiet": NEVER})
        self.look()
        self.exchange.answer(self.requests, self.subscriptions, self.now_ns)

    def look(self, after_ns: int = LOOK_EVERY_NS, speaks: tuple[bytes, ...] = (b"speaks",)) -> list[Silent]:
        for name in speaks:
            self.subscriptions.heard(name)
        self.now_ns += after_ns
        found = list(self.subscriptions.silent(self.now_ns))
        self.exchange.answer(self.requests, self.subscriptions, self.now_ns)
        return found


def test_what_stays_silent_is_told_twice_and_subscribed_to_again_in_between():
    listener = Listener()
    told = [silent for _ in range(40) for silent in listener.look()]
    assert (told, listener.exchange.messages, listener.exchange.stands) == (
        [Silent("mute", again=False), Silent("mute", again=True)],
        3,
        {"speaks", "mute", "quiet"},
    )


def test_what_speaks_again_may_fall_silent_again():
    listener = Listener()
    before = [silent for _ in range(5) for silent in listener.look()]
    listener.look(speaks=(b"speaks", b"mute"))
    after = [silent for _ in range(5) for silent in listener.look()]
    assert (before, after) == ([Silent("mute", again=False)], [Silent("mute", again=False)])


def test_who_slept_has_yet_to_read_what_came():
    assert Listener().look(after_ns=3_600 * S, speaks=()) == []


def test_what_begins_with_data_may_be_quiet_behind_that():
    requests = Requests(names_per_message=A_MESSAGE, every_ns=1, answered_within_ns=NEVER)
    subscriptions = Subscriptions(requests, subscribe="SUBSCRIBE", unsubscribe="UNSUBSCRIBE", begins=True)
    subscriptions.want({"a": 10 * S, "b": 10 * S})
    subscriptions.heard(b"a")
    told: list[Silent] = []
    for at_s in range(0, 60, 5):
        Exchange().answer(requests, subscriptions, at_s * S)
        told += subscriptions.silent(at_s * S)
    assert told == [Silent("b", again=False), Silent("b", again=True)]


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_a_message_is_about_names_of_one_kind(kinds):
    requests = Requests(names_per_message=A_MESSAGE, every_ns=1, answered_within_ns=NEVER, kind_of=lambda name: name[0])
    named = [f"{kind}{i}" for i, kind in enumerate(kinds)]
    requests.add("SUBSCRIBE", named)
    said = [request.names for i in range(len(named)) for request in requests.ready(i)]
    assert [{name[0] for name in names} for names in said] == [{names[0][0]} for names in said]
    assert (sorted(name for names in said for name in names), max(map(len, said), default=0) <= A_MESSAGE) == (
        sorted(named),
        True,
    )
