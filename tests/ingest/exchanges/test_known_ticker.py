"""Tickers: what is known, silence, and sources that count anew."""

from msgspec import structs

from ingest.contract.events import Event, Status, Ticker
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Locate, Standing
from ingest.exchanges.known_ticker import DOUBT_NS, KnownTicker
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS
from tests.ingest.contract.model import Server

KEY = StreamKey("binance", "ticker", "BTC/USDT")


def known(position=None):
    return KnownTicker(KEY, Session("x"), position)


def said(name, mark, **facts):
    return Event(KEY, f"{name}.{mark}", Ticker(received_ns=0, **facts), "ticker")


def stale(count, reason, at):
    return Event(KEY, f"x.{count}", Status(state="stale", reason=reason), "state", f"stale {at}")


def silence(count, before, reason="nobody listened"):
    return Event(KEY, f"x.{count}", Status(state="stale", reason=reason), "silence", before)


def hear(ticker, source, mark, now_ns=0, **facts):
    return list(ticker.say(source, mark, facts, None, now_ns))


def stands_at(position):
    return Standing("g", 7, position)


def waited(ticker, now_ns=HOLD_NS):
    """What it wants once that time has come."""
    return list(ticker.wants(now_ns))


def begun(*marks):
    """A ticker of which that is said already."""
    some = known()
    for source, mark in marks:
        hear(some, source, mark)
    waited(some)
    return some


def test_each_source_adds_to_what_is_known():
    some = known()
    heard = [*hear(some, "book", 5, bid="1"), *hear(some, "day", 9, last="2"), *hear(some, "book", 6, bid="3")]
    assert (heard, waited(some)) == (
        [],
        [
            silence(1, "book.5"),
            silence(2, "day.9"),
            said("book", 5, bid="1"),
            said("day", 9, bid="1", last="2"),
            said("book", 6, bid="3", last="2"),
        ],
    )


def test_an_old_mark_is_not_said():
    assert hear(known("book.5 day.3"), "book", 5, bid="1") == []


def test_who_hears_nothing_says_so_and_where_it_stood():
    some = begun(("book", 5), ("day", 9))
    assert list(some.closed("cut")) == [stale(3, "cut", "book.5 day.9")]


def test_who_begins_to_hear_says_from_where_on_it_hears_all():
    some = known("book.5 day.3")
    heard = [hear(some, "book", 8), hear(some, "book", 9), some.due()]
    told = [waited(some), hear(some, "book", 10), hear(some, "day", 4, HOLD_NS), waited(some, 2 * HOLD_NS)]
    assert (heard, told, some.due()) == (
        [[], [], HOLD_NS],
        [
            [silence(1, "book.8"), said("book", 8), said("book", 9)],
            [said("book", 10)],
            [],
            [silence(2, "day.4"), replaced(said("day", 4), HOLD_NS)],
        ],
        NEVER,
    )


def test_whoever_overtakes_another_where_a_stream_begins_says_that_something_is_missing():
    server = Server()
    one, other = (KnownTicker(KEY, Session(name), None) for name in "ab")
    server.append("g", [*hear(one, "book", 5), *waited(one)])
    late = [*hear(one, "book", 6), *hear(one, "book", 7)]
    server.append("g", [*hear(other, "book", 7), *waited(other)])
    server.append("g", late)
    entries = map(dict, server.streams[KEY].entries)
    assert [(entry["type"], entry["s"]) for entry in entries] == [
        ("ticker", "book.5"),
        ("status", "b.1"),
        ("ticker", "book.7"),
    ]


def test_whoever_subscribes_once_more_says_what_waits_and_from_where_on_it_hears_all_again():
    some = known("book.1")
    hear(some, "book", 3)
    waits = list(some.resume())
    assert (waits, hear(some, "book", 7, HOLD_NS), waited(some, 2 * HOLD_NS)) == (
        [silence(1, "book.3"), said("book", 3)],
        [],
        [silence(2, "book.7"), replaced(said("book", 7), HOLD_NS)],
    )


def replaced(event, received_ns):
    return structs.replace(event, body=structs.replace(event.body, received_ns=received_ns))


def test_what_waits_when_the_connection_ends_is_said_before_that():
    some = known("book.5")
    hear(some, "book", 8)
    assert list(some.closed("cut")) == [silence(1, "book.8"), said("book", 8), stale(2, "cut", "book.8")]


def test_no_more_waits_than_there_is_room_for():
    some = known("book.5")
    heard = [len(hear(some, "book", 6 + i)) for i in range(1001)]
    assert heard == [*[0] * 999, 1001, 1]


def test_where_nothing_is_nothing_grows_old():
    some = known()
    assert (list(some.open(0)), list(some.closed("cut"))) == ([], [])


def anew(ticker, *standings):
    """The answers to its looks, one after another; when each was asked for."""
    asked = []
    for standing in standings:
        now_ns = ticker.due()
        asked += [(now_ns, wanted) for wanted in ticker.wants(now_ns)]
        assert list(ticker.located(standing, now_ns)) == []
    return asked


def test_a_source_that_counts_anew_goes_on_in_another_series():
    some = known("book.500 day.3")
    heard = [hear(some, "book", 5, bid="1"), hear(some, "book", 6, bid="2")]
    asked = anew(some, stands_at("book.500 day.3"), stands_at("book.500 day.4"))
    heard += [hear(some, "book", 7, bid="3"), waited(some)]
    assert (asked, heard, some.position, some.due()) == (
        [(DOUBT_NS, Locate(KEY)), (DOUBT_NS + HOLD_NS, Locate(KEY))],
        [[], [], [], [silence(1, "book~1.7", "a source counts anew"), said("book~1", 7, bid="3")]],
        "book~1.7 day.4",
        NEVER,
    )


def test_while_the_bus_does_not_answer_nothing_counts_anew():
    some = known("book.500")
    hear(some, "book", 5)
    asked = anew(some, None, None, stands_at("book.500"), stands_at("book.500"))
    assert ([at_ns for at_ns, _ in asked], hear(some, "book", 6), waited(some)[1:]) == (
        [DOUBT_NS + i * HOLD_NS for i in range(4)],
        [],
        [said("book~1", 6)],
    )


def test_a_series_that_another_writer_has_begun_is_taken():
    some = known("book.500")
    hear(some, "book", 5)
    anew(some, stands_at("book~1.7"))
    assert (hear(some, "book", 7), hear(some, "book", 8), waited(some)[1:]) == ([], [], [said("book~1", 8)])


def test_whoever_goes_on_in_a_series_that_has_ended_is_told_and_begins_in_the_newest():
    some = begun(("book", 5))
    heard = [hear(some, "book", 6), some.refused(None, 0)]
    asked = anew(some, stands_at("book~2.4"))
    heard += [hear(some, "book", 7), waited(some)]
    assert (asked, heard) == (
        [(0, Locate(KEY))],
        [[said("book", 6)], (), [], [silence(2, "book~2.7", "a source counts anew"), said("book~2", 7)]],
    )


def test_the_newest_series_is_found_at_the_start():
    some = known("book.500 book~1.7 book~10.2 book~2.9")
    assert (hear(some, "book", 3), waited(some)[1:]) == ([], [said("book~10", 3)])


def test_a_writer_that_is_behind_another_counts_on_once_it_has_caught_up():
    some = known("book.500")
    hear(some, "book", 400)
    asked = anew(some, *(stands_at(f"book.{mark}") for mark in (600, 601, 602)))
    heard = [hear(some, "book", 602), hear(some, "book", 603), waited(some)]
    assert (len(asked), heard) == (3, [[], [], [silence(1, "book.603"), said("book", 603)]])


def test_an_old_mark_that_is_followed_by_a_new_one_is_no_doubt():
    some = begun(("book", 500))
    hear(some, "book", 500)
    hear(some, "book", 501)
    assert some.due() == NEVER
