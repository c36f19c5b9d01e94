from ingest.simulator.allowance import Bucket, Window


def test_a_window_allows_so_many_in_any_stretch_of_time_and_what_is_refused_does_not_count():
    window = Window(2, 10)
    taken = [now_ns for now_ns in (0, 5, 6, 9, 10, 11, 14, 15) if window.take(now_ns)]
    assert (taken, window.wait_ns(16)) == ([0, 5, 10, 15], 4)


def test_a_bucket_allows_some_at_once_and_then_one_every_so_often():
    bucket = Bucket(3, 10)
    taken = [now_ns for now_ns in (100, 100, 100, 100, 109, 110, 119, 120, 200, 200, 200, 200) if bucket.take(now_ns)]
    assert taken == [100, 100, 100, 110, 120, 200, 200, 200]
