"""Tickers: what is known, silence, and sources that count anew."""

from ingest.contract.events import Event, Status, Ticker
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Locate, Standing
from ingest.exchanges.known_ticker import DOUBT_NS, KnownTicker
from ingest.exchanges.session import Session

KEY = StreamKey("binance", "ticker", "BTC/USDT")


def known(position=None):
    return KnownTicker(KEY, Session("x"), position)


def said(name, mark, **facts):
    return Event(KEY, f"{name}.{mark}", Ticker(received_ns=0, **facts), "ticker")


def stale(count, reason, at):
    return Event(KEY, f"x.{count}", Status(state="stale", reason=reason), "state", f"stale {at}")


def hear(ticker, source, mark, **facts):
    return list(ticker.say(source, mark, facts, None, 0))


def stands_at(position):
    return Standing("g", 7, position)


def test_each_source_adds_to_what_is_known():
    some = known()
    heard = [*hear(some, "book", 5, bid="1"), *hear(some, "day", 9, last="2"), *hear(some, "book", 6, bid="3")]
    assert heard == [said("book", 5, bid="1"), said("day", 9, bid="1", last="2"), said("book", 6, bid="3", last="2")]


def test_an_old_mark_is_not_said():
    assert hear(known("book.5 day.3"), "book", 5, bid="1") == []


def test_who_hears_nothing_says_so_and_where_it_stood():
    some = known("book.5")
    hear(some, "day", 9, last="2")
    assert list(some.closed("cut")) == [stale(1, "cut", "book.5 day.9")]


def test_who_begins_to_hear_says_from_where_on_nobody_did_and_then_what_came():
    some = known("book.5")
    opened = [*some.open(0), *hear(some, "book", 8, bid="1"), *some.wants(0)]
    told = some.located(stands_at("book.7 day.3"), 0)
    assert (opened, list(told), hear(some, "book", 9, bid="2")) == (
        [Locate(KEY)],
        [stale(1, "nobody listened", "book.7 day.3"), said("book", 8, bid="1")],
        [said("book", 9, bid="2")],
    )


def test_while_the_bus_does_not_answer_it_says_what_it_knows():
    some = known("book.5")
    some.open(0)
    hear(some, "book", 8, bid="1")
    some.wants(0)
    assert list(some.located(None, 0)) == [stale(1, "nobody listened", "book.5"), said("book", 8, bid="1")]


def test_where_nothing_is_nothing_grows_old():
    assert list(known().open(0)) == []


def test_a_source_that_counts_anew_goes_on_under_another_name():
    some = known("book.500 day.3")
    heard = [hear(some, "book", 5, bid="1"), hear(some, "day", 4, last="2"), some.due(), some.wants(DOUBT_NS)]
    silent = some.located(stands_at("book.500 day.4"), DOUBT_NS)
    assert (heard, list(silent), hear(some, "book", 6, bid="3"), some.position, some.due()) == (
        [[], [said("day", 4, bid="1", last="2")], DOUBT_NS, [Locate(KEY)]],
        [stale(1, "a source counts anew", "book.500 day.4")],
        [said("book~1", 6, bid="3", last="2")],
        "book.500 book~1.6 day.4",
        NEVER,
    )


def test_a_name_that_another_writer_has_given_is_taken():
    some = known("book.500")
    hear(some, "book", 5)
    some.wants(DOUBT_NS)
    some.located(stands_at("book.500 book~1.7"), DOUBT_NS)
    assert (hear(some, "book", 7), hear(some, "book", 8)) == ([], [said("book~1", 8)])


def test_the_newest_name_is_found_at_the_start():
    assert hear(known("book.500 book~1.7 book~10.2 book~2.9"), "book", 3) == [said("book~10", 3)]


def test_a_writer_that_is_behind_another_counts_on():
    some = known("book.500 day.3")
    hear(some, "day", 3)
    hear(some, "book", 501)
    some.wants(DOUBT_NS)
    some.located(stands_at("book.502 day.3"), DOUBT_NS)
    assert hear(some, "book", 503) == [said("book", 503)]


def test_an_old_mark_that_is_followed_by_a_new_one_is_no_doubt():
    some = known("book.500")
    hear(some, "book", 500)
    hear(some, "book", 501)
    assert some.due() == NEVER
