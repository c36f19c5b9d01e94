"""Token buckets."""

from ingest.limits import TokenBucket

S = 1_000_000_000


def test_a_burst_is_free_and_what_is_beyond_waits_its_turn():
    bucket = TokenBucket(capacity=100, per_second=10)
    assert [bucket.take(50, S) for _ in range(4)] == [0, 0, 5, 10]


def test_time_refills_it_and_never_above_its_capacity():
    bucket = TokenBucket(capacity=100, per_second=10)
    bucket.take(100, S)
    assert [bucket.take(100, 6 * S), bucket.take(50, 10_000 * S), bucket.take(51, 10_000 * S)] == [5, 0, 0.1]
