import io
import json

import pytest
from msgspec.structs import replace
from rich.console import Console

from consumers.console.lag import Lag, ago, as_json, lags, table
from ingest.contract.keys import groups, handled
from tests.consumers.producing import BTC, ETH, GROUP, look_at, put, reader, take

NOTHING_TO_DO = {"pending": 0, "behind_ms": 0, "oldest_pending_ms": 0}


def without_times(found):
    return tuple(replace(lag, behind_ms=0, oldest_pending_ms=0) for lag in found)


async def test_lag_is_by_the_numbers_of_the_entries_whatever_was_trimmed(redis):
    await put(redis, BTC, range(1, 11))
    await put(redis, ETH, range(1, 4))
    async with reader(redis) as trades:
        await take(trades, 13)
    await put(redis, BTC, range(11, 31))
    await redis.xtrim(str(BTC), maxlen=5, approximate=False)

    found = await lags(redis)
    assert without_times(found) == (
        Lag(group=GROUP, key=BTC, n=30, handled_n=10, handled=10),
        Lag(group=GROUP, key=ETH, n=3, handled_n=3, handled=3, **NOTHING_TO_DO),
    )
    assert [lag.lag for lag in found] == [20, 0]


async def test_a_group_that_has_handled_nothing_of_a_generation_is_behind_by_all_of_it(redis):
    await put(redis, BTC, range(1, 11))
    async with reader(redis) as trades:
        await take(trades, 10)
    await redis.hset(BTC.state, mapping={"g": "new", "n": 4})

    assert await lags(redis) == (Lag(group=GROUP, key=BTC, n=4, handled_n=0, handled=10),)


async def write(redis, *ages_ms):
    """Entries that were written so long ago, and a group that stands at the beginning."""
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    await put(redis, BTC, [1])  # so that it is registered
    await redis.delete(str(BTC))
    for n, age_ms in enumerate(ages_ms, start=1):
        await redis.xadd(str(BTC), {"n": n, "g": "g"}, id=f"{now_ms - age_ms}-0")
    await redis.hset(BTC.state, mapping={"g": "g", "n": len(ages_ms)})
    await redis.hset(groups("binance"), GROUP, "trades")
    await redis.hset(handled("binance", GROUP), str(BTC), "- 0 0")
    await redis.xgroup_create(str(BTC), GROUP, "0")


@pytest.mark.parametrize(
    ("given", "acked", "pending", "behind", "oldest_pending"),
    [
        (0, [], 0, 30, 0),
        (2, [], 2, 30, 30),
        (2, [0], 1, 20, 20),
        (2, [0, 1], 0, 10, 0),
        (3, [0, 2], 1, 20, 20),
        (3, [0, 1, 2], 0, 0, 0),
    ],
)
async def test_time_is_that_of_the_oldest_entry_not_handled_pending_or_not(
    redis, given, acked, pending, behind, oldest_pending
):
    await write(redis, 30 * 60_000, 20 * 60_000, 10 * 60_000)
    if given:
        await redis.xreadgroup(GROUP, "me", {str(BTC): ">"}, count=given)
    ids = [entry_id for entry_id, _ in await redis.xrange(str(BTC))]
    for each in acked:
        await redis.xack(str(BTC), GROUP, ids[each])

    (lag,) = await lags(redis)
    assert (lag.pending, lag.behind_ms // 60_000, lag.oldest_pending_ms // 60_000) == (pending, behind, oldest_pending)


async def test_a_group_or_a_stream_that_is_gone_is_no_error(redis):
    await write(redis, 1000)
    await redis.xgroup_destroy(str(BTC), GROUP)
    group_gone = await lags(redis)
    await redis.delete(str(BTC))

    assert group_gone == await lags(redis) == (Lag(group=GROUP, key=BTC, n=1, handled_n=0, handled=0),)


async def test_what_the_readers_hold_is_pending(redis):
    await put(redis, BTC, range(1, 11))
    async with reader(redis) as trades:
        await look_at(trades, 10)

    assert [lag.pending for lag in await lags(redis)] == [10]


def printed(shown):
    """As 80 columns have it."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(shown)
    return console.export_text()


def test_a_lag_is_shown_to_people_and_to_programs():
    lag = Lag(
        group=GROUP, key=BTC, n=1234, handled_n=1230, handled=5000, pending=3, behind_ms=90_000, oldest_pending_ms=4_200
    )
    assert json.loads(as_json(lag)) == {
        "group": "alerts",
        "stream": "md:{binance}:trades:BTC-USDT",
        "n": 1234,
        "handled_n": 1230,
        "lag": 4,
        "handled": 5000,
        "behind_ms": 90_000,
        "pending": 3,
        "oldest_pending_ms": 4_200,
    }
    shown = printed(table([lag])).splitlines()[-1].split()
    assert shown == ["alerts", "binance:trades:BTC/USDT", "1,234", "1,230", "4", "1.5m", "3", "4.2s"]


def test_a_stretch_of_time_is_short():
    assert [ago(ms) for ms in (0, 7, 999, 1000, 59_999, 90_000, 5_400_000)] == [
        "-",
        "7ms",
        "999ms",
        "1.0s",
        "60.0s",
        "1.5m",
        "1.5h",
    ]
