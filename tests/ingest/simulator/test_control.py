from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest.simulator.control import PostReader

GET = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n\x81\x85binary"
POST = b"POST /control/fault HTTP/1.1\r\nHost: x\r\ncontent-length: 9\r\n\r\ngap@1s/2s"


def handed_on(data: bytes, cuts: list[int]) -> bytes:
    reader = PostReader()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return b"".join(reader.read(data[first:last]) for first, last in pairwise(edges))


@given(st.lists(st.integers(0, 200), max_size=5))
def test_a_get_and_all_that_follows_it_go_on_as_they_are(cuts):
    assert handed_on(GET, cuts) == GET


@given(st.lists(st.integers(0, 200), max_size=5))
def test_a_post_goes_on_as_the_get_that_carries_its_body(cuts):
    assert handed_on(POST, cuts) == b"GET /control/fault?gap%401s/2s HTTP/1.1\r\n\r\n"


def test_what_is_too_long_for_a_fault_goes_on_unread():
    long = b"POST /control/fault HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + b"x" * 9000
    assert handed_on(long, []) == long
