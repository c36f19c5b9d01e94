import io
import json

from rich.console import Console

from consumers.console.lag import Lag, as_json, lags, table
from tests.consumers.producing import BTC, ETH, GROUP, put, reader, take


async def test_lag_is_by_the_numbers_of_the_entries_whatever_was_trimmed(redis):
    await put(redis, BTC, range(1, 11))
    await put(redis, ETH, range(1, 4))
    async with reader(redis) as trades:
        await take(trades, 13)
    await put(redis, BTC, range(11, 31))
    await redis.xtrim(str(BTC), maxlen=5, approximate=False)

    assert await lags(redis) == (
        Lag(group=GROUP, key=BTC, n=30, handled_n=10, handled=10),
        Lag(group=GROUP, key=ETH, n=3, handled_n=3, handled=3),
    )
    assert [lag.lag for lag in await lags(redis)] == [20, 0]


async def test_a_group_that_has_handled_nothing_of_a_generation_is_behind_by_all_of_it(redis):
    await put(redis, BTC, range(1, 11))
    async with reader(redis) as trades:
        await take(trades, 10)
    await redis.hset(BTC.state, mapping={"g": "new", "n": 4})

    assert await lags(redis) == (Lag(group=GROUP, key=BTC, n=4, handled_n=0, handled=10),)


def test_a_lag_is_shown_to_people_and_to_programs():
    lag = Lag(group=GROUP, key=BTC, n=1234, handled_n=1230, handled=5000)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table([lag]))

    assert json.loads(as_json(lag)) == {
        "group": "alerts",
        "stream": "md:{binance}:trades:BTC-USDT",
        "n": 1234,
        "handled_n": 1230,
        "lag": 4,
        "handled": 5000,
    }
    assert console.export_text().splitlines()[-1].split() == [
        "alerts",
        "binance",
        "trades",
        "BTC/USDT",
        "1,234",
        "1,230",
        "4",
        "5,000",
    ]
