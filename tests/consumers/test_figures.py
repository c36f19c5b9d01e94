import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.figures import Latencies


@given(st.lists(st.integers(0, 10**14), min_size=1, max_size=50), st.sampled_from([0.01, 0.5, 0.99, 1.0]))
def test_quantiles_are_right_within_seven_percent(latencies_ns, share):
    latencies = Latencies()
    for latency_ns in latencies_ns:
        latencies.add(latency_ns)

    ordered = sorted(latency_ns // 1000 for latency_ns in latencies_ns)
    exact = next(us for place, us in enumerate(ordered, 1) if place >= share * len(ordered))
    assert latencies.quantile_us(share) == pytest.approx(exact, rel=0.07, abs=0.5)


def test_latencies_are_forgotten_after_two_turns():
    latencies = Latencies()
    latencies.add(5_000)
    seen = [latencies.quantile_us(0.5)]
    for _ in range(2):
        latencies.turn()
        seen.append(latencies.quantile_us(0.5))

    assert seen == [5, 5, 0]


def test_a_latency_below_zero_or_beyond_all_bounds_is_counted():
    latencies = Latencies()
    latencies.add(-5)
    latencies.add(1 << 70)

    assert latencies.quantile_us(0.5) == 0
    assert latencies.quantile_us(1.0) > 10**12
