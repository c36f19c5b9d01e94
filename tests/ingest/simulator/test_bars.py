from datetime import UTC, datetime

import pytest

from ingest.simulator.bars import DAY_NS, INTERVALS, SECOND_NS, Bar, Bars, bounds


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("interval", "opens", "ends"),
    [
        ("1s", "2026-11-24T21:40:07", "2026-11-24T21:40:08"),
        ("15m", "2026-11-24T21:30", "2026-11-24T21:45"),
        ("1d", "2026-11-24", "2026-11-25"),
        ("1w", "2026-11-23", "2026-11-30"),  # Mondays
        ("1M", "2026-11-01", "2026-12-01"),
    ],
)
def test_bars_open_where_the_calendar_says(interval: str, opens: str, ends: str):
    assert bounds(interval, ns("2026-11-24T21:40:07") + 5) == (ns(opens), ns(ends))


def test_december_ends_with_the_year():
    assert bounds("1M", ns("2026-12-31T23:59:59")) == (ns("2026-12-01"), ns("2027-01-01"))


@pytest.fixture(scope="module")
def thirty_hours() -> tuple[Bars, list[tuple[str, Bar]]]:
    """A trade in the first second, two in the third, and then none; all bars that closed."""
    start = ns("2026-11-29T22:30")
    bars, closed = Bars(start, 500), []
    for second in range(30 * 3600):
        boundary = start + (second + 1) * SECOND_NS
        if second == 0:
            bars.add(1, 510, 2, bought=True, time_ns=boundary - 1)
        if second == 2:
            bars.add(2, 490, 3, bought=False, time_ns=boundary - 2)
            bars.add(3, 505, 1, bought=True, time_ns=boundary - 1)
        closed += bars.roll(boundary)
    return bars, closed


def test_every_interval_closes_at_each_of_its_boundaries_and_longer_bars_hold_the_shorter_ones(
    thirty_hours: tuple[Bars, list[tuple[str, Bar]]],
):
    _, closed = thirty_hours
    count = {interval: sum(each == interval for each, _ in closed) for interval in INTERVALS}
    whole = Bar(0, 0, 510, 510, 490, 505, 6, 510 * 2 + 490 * 3 + 505, 3, 3, 510 * 2 + 505, 1, 3)
    first = {interval: next((bar for each, bar in closed if each == interval), None) for interval in INTERVALS}
    for interval in ("1m", "30m", "1h", "1d", "1w", "1M"):
        whole.open_ns, whole.end_ns = bounds(interval, ns("2026-11-29T22:30"))
        assert first[interval] == whole
    assert count == {
        "1s": 108000,
        "1m": 1800,
        "3m": 600,
        "5m": 360,
        "15m": 120,
        "30m": 60,
        "1h": 30,
        "2h": 15,
        "4h": 8,
        "6h": 5,
        "8h": 4,
        "12h": 3,
        "1d": 2,
        "3d": 1,
        "1w": 1,
        "1M": 1,
    }


def test_an_interval_without_trades_is_flat_at_the_last_price(thirty_hours: tuple[Bars, list[tuple[str, Bar]]]):
    bars, _ = thirty_hours
    opened, ends = bounds("1h", ns("2026-12-01T04:30"))
    assert bars.current("1h") == Bar(opened, ends, 505, 505, 505, 505)


def test_the_day_lets_go_of_trades_older_than_24_hours(thirty_hours: tuple[Bars, list[tuple[str, Bar]]]):
    bars, _ = thirty_hours
    day = bars.day()
    assert (day.trades, day.open, day.high, day.low, day.lots) == (0, 505, 505, 505, 0)


def test_the_day_holds_all_trades_before_it_is_over():
    start = ns("2026-11-24T00:00")
    bars = Bars(start, 500)
    for second in range(DAY_NS // SECOND_NS // 24 + 61):
        boundary = start + (second + 1) * SECOND_NS
        bars.add(second, 500 + second % 7, 1, bought=True, time_ns=boundary - 1)
        bars.roll(boundary)
    day = bars.day()
    assert (day.trades, day.first_id, day.last_id, day.low, day.high, day.lots) == (3661, 0, 3660, 500, 506, 3661)


def test_history_is_bounded(thirty_hours: tuple[Bars, list[tuple[str, Bar]]]):
    bars, _ = thirty_hours
    assert (len(bars.closed("1s")), len(bars.closed("1m")), len(bars.closed("1h"))) == (1500, 1500, 30)
