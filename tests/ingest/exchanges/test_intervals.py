"""When intervals begin."""

from ingest.exchanges.intervals import INTERVALS, begin_of


def test_weeks_begin_on_monday_and_all_else_with_the_epoch():
    at_ms = 1_795_335_330_200  # a Sunday, 2026-11-22T08:15:30.2Z
    opens = {interval: begin_of(interval, at_ms) // 1000 for interval in ("1s", "1m", "15m", "6h", "1d", "1w")}
    assert opens == {
        "1s": 1_795_335_330,
        "1m": 1_795_335_300,
        "15m": 1_795_335_300,
        "6h": 1_795_327_200,
        "1d": 1_795_305_600,
        "1w": 1_794_787_200,
    }


def test_every_interval_has_the_moment_in_it_and_ends_where_the_next_begins():
    at_ms = 1_795_335_330_200
    begins = {interval: begin_of(interval, at_ms) for interval in INTERVALS}
    assert [
        interval
        for interval, begin_ms in begins.items()
        if not begin_ms <= at_ms < begin_ms + INTERVALS[interval]
        or begin_of(interval, begin_ms + INTERVALS[interval] - 1) != begin_ms
        or begin_of(interval, begin_ms + INTERVALS[interval]) != begin_ms + INTERVALS[interval]
    ] == []
