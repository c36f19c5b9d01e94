"""Token buckets, in one process and shared through Redis by all behind one address."""

import asyncio
import time
from unittest.mock import patch

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import ingest.simulator.binance.rest
from deploy.local_redis import free_port, local_redis
from ingest.contract.keys import limit
from ingest.exchanges.exchange import Fetch, Limit
from ingest.limits import SCRIPT, SHARES, Budget, TokenBucket
from ingest.rest import Rest
from ingest.simulator.server import simulated_binance
from tests.eventually import eventually

S = 1_000_000_000
KEY = limit("binance", "weight")
GENEROUS = Limit(10_000, 10_000)
takes = st.tuples(st.integers(0, 40), st.integers(0, 30), st.sampled_from((0, 0, 0, 700, 5_000)))


def test_a_burst_is_free_and_what_is_beyond_waits_its_turn():
    bucket = TokenBucket(capacity=100, per_second=10)
    assert [bucket.take(50, S) for _ in range(4)] == [0, 0, 5, 10]


def test_time_refills_it_and_never_above_its_capacity():
    bucket = TokenBucket(capacity=100, per_second=10)
    bucket.take(100, S)
    assert [bucket.take(100, 6 * S), bucket.take(50, 10_000 * S), bucket.take(51, 10_000 * S)] == [5, 0, 0.1]


class Model:
    """What the script does, with 20 at once and ten a second; time in ms."""

    def __init__(self) -> None:
        self.tokens, self.at, self.closed = 20.0, 0, 0

    def take(self, now: int, amount: int, close: int) -> list[int]:
        self.tokens, self.at = min(20.0, self.tokens + (now - self.at) / 100), now
        if close:
            self.closed, self.tokens = max(self.closed, now + close), min(self.tokens, 0.0)
        if self.closed <= now:
            self.tokens -= amount
        return [-int(min(0.0, self.tokens) * 100 // 1), max(0, self.closed - now)]


@given(st.lists(takes, max_size=30))
def test_the_script_does_what_its_model_does(history):
    """However long nobody asks, so that the bucket expires or not; each step is a multiple of 100 ms."""
    model, redis, now_ms = Model(), fakeredis.FakeRedis(), 1_795_335_330_000
    model.at = now_ms
    for tenths, amount, close_ms in history:
        now_ms += tenths * 100
        with patch("time.time", return_value=now_ms / 1000):
            said = redis.eval(SCRIPT, 1, KEY, amount, 20, 10, close_ms)
        assert said == model.take(now_ms, amount, close_ms)


async def test_a_bucket_that_is_full_again_is_forgotten(redis):
    await redis.eval(SCRIPT, 1, KEY, 5, 20, 10, 0)
    await redis.eval(SCRIPT, 1, limit("binance", "connects"), 0, 20, 10, 60_000)
    assert 0 < await redis.pttl(KEY) <= 500 < 50_000 < await redis.pttl(limit("binance", "connects")) <= 60_000


async def spent(budgets: list[Budget], seconds: float) -> list[float]:
    """When each of many askers, all at once and again and again, was let go."""
    times: list[float] = []
    until_s = time.monotonic() + seconds

    async def ask(budget: Budget) -> None:
        while time.monotonic() < until_s:
            await budget.spend()
            times.append(time.monotonic())

    await asyncio.gather(*(ask(budget) for budget in budgets for _ in range(5)))
    return times


@pytest.mark.slow
async def test_two_processes_together_never_exceed_the_limit(redis, redis_server):
    other = Redis.from_url(redis_server.url, retry=Retry(NoBackoff(), 0))
    times = await spent([Budget(each, "binance", "weight", Limit(20, 50)) for each in (redis, other)], 1)
    await other.aclose()
    allowed = 20 + 50 * (times[-1] - times[0] + 0.2)  # the first to ask was answered a little later
    assert 20 < len(times) <= allowed


@pytest.mark.slow
async def test_without_redis_each_takes_a_quarter():
    nobody = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    times = await spent([Budget(nobody, "binance", "weight", Limit(20, 40))], 1)
    allowed = 20 / SHARES + 40 / SHARES * (times[-1] - times[0] + 0.2)
    assert 20 / SHARES < len(times) <= allowed


@pytest.mark.slow
async def test_a_redis_that_does_not_answer_is_not_waited_for():
    with local_redis() as server:
        redis = Redis.from_url(server.url, retry=Retry(NoBackoff(), 0), socket_timeout=2)
        blocking = Redis.from_url(server.url)
        await blocking.execute_command("CLIENT", "PAUSE", 1_500)
        budget = Budget(redis, "binance", "weight", GENEROUS)
        async with asyncio.timeout(1):
            for _ in range(20):
                await budget.spend()
        await budget.settle()
        await redis.aclose()
        await blocking.aclose()


@pytest.mark.slow
@pytest.mark.parametrize("away", [False, True])
async def test_what_the_exchange_told_one_holds_for_all_and_for_itself_without_redis(redis, away):
    if away:
        redis = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    one, two = (Budget(redis, "binance", "weight", GENEROUS) for _ in range(2))
    begun_s = time.monotonic()
    await one.obey(429, "1")
    await (one if away else two).spend()
    assert time.monotonic() - begun_s >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("status", "waits"), [(403, True), (404, False)])
async def test_an_exchange_may_ban_in_another_way_and_says_for_how_long(redis, status, waits):
    budget = Budget(redis, "bybit", "weight", GENEROUS, bans={403: 0.3})
    begun_s = time.monotonic()
    await budget.obey(status, "")
    await budget.spend()
    assert (time.monotonic() - begun_s >= 0.29) == waits


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "refused"), [(True, False), (False, True)])
async def test_a_real_exchange_has_to_refuse_only_those_who_do_not_share(redis, monkeypatch, shared, refused):
    """The exchange's minute is made three seconds long, with 100 in it: four processes, each of which spends 40 alone.

    All of it is asked for as such a minute begins, so that those who do not share ask for 160 within it.
    """
    minute_ns = 3 * S
    monkeypatch.setattr(ingest.simulator.binance.rest, "MINUTE_NS", minute_ns)
    monkeypatch.setattr(ingest.simulator.binance.rest, "WEIGHT_A_MINUTE", 100)
    book = Fetch("/api/v3/depth", (("symbol", "BTCUSDT"), ("limit", "100")), 5, "book")
    async with simulated_binance(symbols=("BTC/USDT",), rate=0) as exchange:

        async def ask(name: str) -> set[bool]:
            budget = Budget(redis, "binance", name, Limit(40, 18))
            async with Rest(exchange.rest_url, budget) as rest:
                answers = await asyncio.gather(*(rest.get(book) for _ in range(8)))
                return {isinstance(answer, bytes) for answer in answers}

        await eventually(lambda: time.time_ns() % minute_ns < minute_ns // 10)
        said = await asyncio.gather(*(ask("weight" if shared else f"weight:{i}") for i in range(4)))
    assert (False in set.union(*said)) == refused
