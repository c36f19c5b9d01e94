"""The judge of books whose updates have no ids, on two levels a side."""

from ingest.contract.codec import Entry
from ingest.contract.events import Body, Delta, Gap, Snapshot, Status
from ingest.simulator.ledger import Change
from tests.chaos.exchange import Depth
from tests.ingest.exchanges.content import NO_HITS, Hits, book_by_content

START = Depth(7, {"9.0": "1", "8.0": "1", "7.0": "5"}, {"10.0": "1", "11.0": "2"})


def change(s: int, bids: tuple = (), asks: tuple = ()) -> Change:
    return Change(key="k", s=str(s), first=str(s), bids=bids, asks=asks)


CHANGES = [
    change(8, bids=(("9.0", "0"),)),
    change(9, bids=(("7.0", "4"),)),
    change(10, bids=(("6.0", "1"),)),  # too deep to be seen
    change(11, asks=(("10.0", "3"),)),
]
SNAPSHOT = Snapshot(bids=(("9.0", "1"), ("8.0", "1")), asks=(("10.0", "1"), ("11.0", "2")), received_ns=1, depth=2)
FIRST = Delta(bids=(("9.00", "0"), ("7.00", "5.0")), asks=(), received_ns=2)
SECOND = Delta(bids=(("7.0", "4"),), asks=(), received_ns=3)
THIRD = Delta(bids=(), asks=(("10.0", "3"),), received_ns=4)
LATER = Snapshot(bids=(("8.0", "1"), ("7.0", "4")), asks=(("10.0", "3"), ("11.0", "2")), received_ns=5, depth=2)
SUSPECT = Status(state="suspect", reason="a wrong checksum")


def found(*bodies: Body, hit: Hits = NO_HITS, proves: bool = True) -> list[str]:
    entries = [
        Entry(id=f"{n}-0", type=type(body).__name__.lower(), n=n, g="g", s=f"s.{n}", event=body)
        for n, body in enumerate(bodies, 1)
    ]
    return [words.split()[0] for words in book_by_content(entries, START, CHANGES, hit, proves=proves)]


def test_a_book_that_follows_is_right():
    assert found(SNAPSHOT, FIRST, SECOND, THIRD) == []


def test_so_is_one_that_begins_anew_and_says_so():
    assert found(SNAPSHOT, FIRST, SUSPECT, LATER) == []
    assert found(SNAPSHOT, FIRST, SECOND, Gap(reason="silent"), LATER) == []


def test_what_is_left_out_in_silence_is_found():
    assert found(SNAPSHOT, FIRST, LATER) == ["snapshot"]
    assert found(SNAPSHOT, FIRST, THIRD) == ["after"]
    assert found(SNAPSHOT, FIRST, SECOND) == ["the"]


def test_what_never_was_is_found():
    assert found(SNAPSHOT, FIRST, SUSPECT, SNAPSHOT) == ["snapshot", "the"]


def test_a_change_that_was_kept_back_may_be_passed_over_and_may_come_late():
    passed = Delta(bids=(("9.0", "0"), ("7.0", "4")), asks=(), received_ns=2)
    late = Delta(bids=(("7.0", "5"),), asks=(), received_ns=3)
    again = Delta(bids=(("7.0", "4"),), asks=(("10.0", "3"),), received_ns=4)
    assert found(SNAPSHOT, passed, THIRD) == ["after"]
    assert found(SNAPSHOT, passed, THIRD, hit=Hits({"8"})) == []
    assert found(SNAPSHOT, passed, late, again, hit=Hits({"8"})) == ["after"]
    assert found(SNAPSHOT, passed, late, again, hit=Hits({"8"}, {"8"})) == []


def test_a_book_that_nothing_proves_may_be_any_from_what_was_kept_back_until_it_is_right_again():
    hit = Hits({"9"})
    assert found(SNAPSHOT, FIRST, THIRD, hit=hit) == ["after"]
    assert found(SNAPSHOT, FIRST, THIRD, hit=hit, proves=False) == []
    assert found(SNAPSHOT, FIRST, THIRD, SUSPECT, LATER, hit=hit, proves=False) == []
    assert found(SNAPSHOT, FIRST, THIRD, SECOND, hit=hit, proves=False) == []
    assert found(SNAPSHOT, FIRST, THIRD, SECOND, hit=Hits({"11"}), proves=False) == ["after"]
