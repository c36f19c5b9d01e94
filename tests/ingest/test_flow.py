"""Which streams flow."""

from ingest.contract.events import Event, Ticker
from ingest.contract.keys import StreamKey
from ingest.flow import Flow

KEY = StreamKey("binance", "ticker", "BTC/USDT")


def flows(positions, *names):
    """After each of these was heard."""
    flow, after = Flow(), []
    flow.begin([KEY], positions, 0)
    for name in names:
        flow.heard(Event(KEY, name, Ticker(received_ns=0), "ticker"))
        after.append(flow.of([KEY], 0) == [KEY])
    return after


def test_a_ticker_flows_once_each_source_that_is_in_the_stream_was_heard():
    told = flows({KEY: "24hr.5 book.7"}, "book.8", "book.9", "24hr.6")
    anew = flows({KEY: "24hr.5 book~1.7"}, "24hr.6", "book~2.1")
    assert (told, anew, flows({}, "book.1")) == ([False, False, True], [False, True], [True])


def test_what_was_refused_and_comes_back_is_waited_for():
    flow = Flow()
    flow.begin([KEY], {}, 0)
    flow.refuse(KEY)
    before = flow.of([KEY], 0)
    flow.forget([KEY])
    flow.wait_for([KEY], {}, 0)
    assert (before, flow.of([KEY], 0)) == ([KEY], [])


def test_what_fell_silent_is_so_until_all_of_it_is_heard_again():
    flow, after = Flow(), []
    flow.begin([KEY], {KEY: "24hr.5 book.7"}, 0)
    flow.fell_silent(KEY, {KEY: "24hr.5 book.7"}, 0)
    for name in ("book.8", "24hr.6"):
        flow.heard(Event(KEY, name, Ticker(received_ns=0), "ticker"))
        after.append(set(flow.silent))
    assert after == [{KEY}, set()]
