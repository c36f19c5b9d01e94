"""Merging against a plain sort of everything."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as some

from consumers.merging import Merge, Track
from ingest.contract.keys import StreamKey

ids = some.tuples(some.integers(1, 5), some.integers(0, 2))
streams = some.dictionaries(some.sampled_from("ABCD"), some.sets(ids, min_size=1, max_size=9), max_size=4)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(streams, some.integers(1, 4))
def test_it_is_one_sorted_list_whatever_the_pages(written, page):
    merge, tracks, left = Merge(), {}, {}
    for symbol, its in written.items():
        key = StreamKey("x", "trades", f"{symbol}/USD")
        tracks[key] = Track(key=key, after="0", begun=True)
        left[key] = [
            (f"{ms}-{seq}".encode(), {b"g": b"g", b"n": b"%d" % n}) for n, (ms, seq) in enumerate(sorted(its), start=1)
        ]

    def fill(track):
        rows = left[track.key]
        if rows and track.fill(rows[:page]):
            del rows[:page]
            merge.put(track)

    got = []
    for track in tracks.values():
        fill(track)
    while merge:
        taken = merge.take()
        got.append((taken.at, taken.track.key))
        if not taken.track.rows:
            fill(taken.track)
    assert got == sorted(
        (entry_id, StreamKey("x", "trades", f"{symbol}/USD")) for symbol, its in written.items() for entry_id in its
    )


def test_what_is_missing_is_counted_and_what_comes_again_is_known():
    key = StreamKey("x", "trades", "A/USD")
    merge, track = Merge(), Track(key=key, after="0", begun=True)
    said = []
    for entry_id, g, n in ((1, "a", 7), (2, "a", 10), (3, "b", 1), (1, "a", 7), (3, "b", 1), (4, "b", 2)):
        track.fill([(f"{entry_id}-0".encode(), {b"g": g.encode(), b"n": b"%d" % n})])
        merge.put(track)
        taken = merge.take()
        said.append((taken.missing, taken.repeated))
    assert said == [(0, False), (2, False), (0, False), (0, True), (0, True), (0, False)]


def test_a_book_is_given_out_from_a_snapshot_on():
    track = Track(key=StreamKey("x", "orderbook", "A/USD"), after="0")
    kinds = defaultdict(list)
    for entry_id, kind in enumerate((b"delta", b"gap", b"snapshot", b"delta"), start=1):
        kinds[track.fill([(f"{entry_id}-0".encode(), {b"type": kind})])].append(kind)
    assert (kinds, [entry_id for entry_id, _ in track.rows], track.after) == (
        {False: [b"delta", b"gap"], True: [b"snapshot", b"delta"]},
        ["3-0", "4-0"],
        "(4-0",
    )
