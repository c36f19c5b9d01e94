"""What Redis has confirmed and could still lose."""

from collections import Counter
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from ingest.contract.append import batch
from ingest.contract.events import Event, Gap, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.tail import Kept, Place, Tail

BTC, ETH = StreamKey("binance", "ticker", "BTC/USDT"), StreamKey("binance", "ticker", "ETH/USDT")
TRADES = StreamKey("binance", "trades", "BTC/USDT")


def kept(number, counts, *, line="a", confirmed_s=0.0, places=None):
    """A batch of so many events of each stream, which then stand at these places."""
    events = [Event(key, f"x.{i}", Ticker(received_ns=i), "ticker") for key, n in counts.items() for i in range(n)]
    return Kept(number, batch("g", events), line, number, confirmed_s, 10, places or {})


def test_what_is_let_go_says_up_to_where_its_streams_are_safe():
    tail = Tail()
    tail.keep(kept(1, {BTC: 2}, confirmed_s=0.0, places={BTC: Place("g", 2)}))
    tail.keep(kept(2, {BTC: 1, ETH: 1}, confirmed_s=1.0, places={BTC: Place("g", 3), ETH: Place("h", 1)}))
    tail.let_go("a", 2, confirmed_by_s=0.0)
    by_time = dict(tail.durable), +tail.depths
    tail.let_go("a", 2, confirmed_by_s=inf)
    by_call = dict(tail.durable), +tail.depths
    assert (by_time, by_call) == (
        ({BTC: Place("g", 2)}, Counter({BTC: 1, ETH: 1})),
        ({BTC: Place("g", 3), ETH: Place("h", 1)}, Counter()),
    )


def test_a_series_that_has_ended_is_said_again_first():
    def trade(i):
        return Event(TRADES, str(i), Trade(price="1", amount="2", side="buy", received_ns=i), "dense", str(i))

    tail = Tail()
    tail.keep(Kept(1, batch("g", [trade(8), trade(9)]), "a", 1, 0.0, 10, {}))
    resumed = tail.resumes(TRADES)
    anew = Event(TRADES, "x.1", Gap(reason="series_restart", first_id="10"), "restart", "9 0")
    tail.keep(Kept(2, batch("h", [anew, trade(1)]), "a", 2, 0.0, 10, {}))
    assert (resumed, tail.resumes(TRADES)) == (7, 7)


def test_what_is_not_kept_is_as_safe_as_it_will_be():
    tail = Tail()
    tail.trust({BTC: Place("g", 2)})
    assert (tail.durable, len(tail)) == ({BTC: Place("g", 2)}, 0)


def test_what_is_taken_to_be_sent_again_is_not_safe():
    tail = Tail()
    tail.keep(kept(1, {BTC: 2}, places={BTC: Place("g", 2)}))
    taken = tail.take()
    assert ([each.flush for each in taken], tail.durable, +tail.depths, tail.size_bytes) == ([1], {}, Counter(), 0)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=8), st.lists(st.integers(0, 9), max_size=4))
def test_depths_and_places_are_those_of_what_is_left_and_gone(sizes, calls):
    """Against a list; numbers of calls may go backwards, which lets nothing go."""
    tail, n = Tail(), Counter()
    all_kept = []
    for number, (btc, eth) in enumerate(sizes, 1):
        n.update({BTC: btc, ETH: eth})
        all_kept.append(kept(number, {BTC: btc, ETH: eth}, places={key: Place("g", n[key]) for key in (BTC, ETH)}))
        tail.keep(all_kept[-1])
    for call in calls:
        tail.let_go("a", call, confirmed_by_s=inf)
    gone = [each for each in all_kept if each.number <= max(calls, default=0)]
    left = all_kept[len(gone) :]
    depths = Counter({key: sum(each.batch.count(key) for each in left) for key in (BTC, ETH)})
    assert (+tail.depths, tail.durable, len(tail)) == (+depths, gone[-1].places if gone else {}, len(left))
