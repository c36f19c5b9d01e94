"""Each incident is told once."""

from ingest.contract.append import Appended
from ingest.contract.keys import StreamKey
from ingest.refusals import Refusals

BTC = StreamKey("binance", "trades", "BTC/USDT")
ETH = StreamKey("binance", "trades", "ETH/USDT")


def refused(last, key=BTC):
    return Appended(key, True, False, "g", 1, last, 0, 0)


def taken(last, key=BTC):
    return Appended(key, False, False, "g", 1, last, 1, 1)


def test_what_joins_is_no_news():
    refusals = Refusals()
    refusals.hear(1, taken("5"))
    assert refusals.take([BTC], 1) == []


def test_a_refusal_is_told_once():
    refusals = Refusals()
    refusals.hear(1, refused("5"))
    assert (refusals.take([BTC], 1), refusals.take([BTC], 1)) == ([refused("5")], [])


def test_flushes_that_fail_together_are_one_incident():
    refusals = Refusals()
    for flush in (1, 2, 3):
        refusals.hear(flush, refused("5"))
    assert (refusals.take([BTC], 3), refusals.take([BTC], 3)) == ([refused("5")], [])


def test_flushes_in_flight_at_the_telling_are_no_news():
    refusals = Refusals()
    refusals.hear(1, refused("5"))
    told = refusals.take([BTC], 3)
    for flush in (2, 3):
        refusals.hear(flush, refused("5"))
    assert (told, refusals.take([BTC], 3)) == ([refused("5")], [])


def test_a_refusal_of_the_answer_is_news():
    refusals = Refusals()
    refusals.hear(1, refused("5"))
    told = refusals.take([BTC], 3)
    refusals.hear(4, refused("5"))
    assert (told, refusals.take([BTC], 4)) == ([refused("5")], [refused("5")])


def test_what_waits_to_be_told_keeps_up_with_the_stream():
    refusals = Refusals()
    refusals.hear(1, refused("5"))
    refusals.hear(2, taken("9"))
    assert refusals.take([BTC], 2) == [taken("9")]


def test_each_owner_is_told_of_its_own_streams():
    refusals = Refusals()
    refusals.hear(1, refused("5"))
    refusals.hear(1, refused("7", ETH))
    assert (refusals.take([ETH], 1), refusals.take([BTC, ETH], 1)) == ([refused("7", ETH)], [refused("5")])
