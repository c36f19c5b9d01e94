"""Who hears what of a dialect."""

from ingest.simulator.hearers import Hearers


def test_who_has_come_hears_from_the_next_welcome_on_until_it_leaves():
    hearers: Hearers[str, str] = Hearers(str.upper)
    hearers.join("ann", "book")
    before = dict(hearers.of)
    welcomed = hearers.welcome()
    hearers.join("bob", "book")
    hearers.leave("bob", ("book",))
    assert (before, welcomed, hearers.welcome(), hearers.of) == ({}, [("ann", "book")], [], {"book": ["ann"]})
    hearers.leave("ann", ("book", "trades"))
    assert (hearers.of, hearers.followed) == ({}, {"BOOK"})
