"""What consumers/README.md shows works as it stands."""

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest

import consumers
from consumers import letters
from consumers.append import append
from consumers.reader import Reader
from consumers.services.lines import run
from ingest.contract import keys
from tests.consumers.producing import BTC, ETH, put, trade
from tests.eventually import eventually

TEXT = (Path(consumers.__file__).parent / "README.md").read_text(encoding="utf-8")


def shown(name):
    """The class of that name, from the README."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if f"class {name}:" in block)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    return names[name]


async def serve(redis, service, done):
    stopping = asyncio.Event()
    options = {"partition": service.partition, "channels": service.channels, "block_ms": 20, "lease_ms": 300}
    async with Reader(redis, group=service.name, **options) as reader:
        running = asyncio.create_task(run(service, reader, stopping))
        await eventually(done)
        stopping.set()
        return await running


async def test_the_service_counts_what_was_traded(redis):
    await put(redis, BTC, range(1, 6))
    await put(redis, ETH, [1])

    async def counted():
        return await redis.hgetall("volume:{binance}") == {b"BTC/USDT": b"2.5", b"ETH/USDT": b"0.5"}

    await serve(redis, shown("Volume")(), counted)


async def test_the_recipe_for_sql_has_each_effect_once_through_crashes_and_a_redis_that_forgets(redis, tmp_path):
    await put(redis, BTC, range(1, 6))
    database = sqlite3.connect(tmp_path / "volumes.db")

    def trades():
        return dict(database.execute("SELECT symbol, trades FROM volumes"))

    class Crashing(shown("Volumes")):
        async def handle(self, delivery):
            await super().handle(delivery)
            if delivery.entry.s == "3":
                raise SystemExit

    with pytest.raises(SystemExit):
        await _crash(redis, Crashing(database))
    assert trades() == {"BTC/USDT": 3}

    await serve(redis, shown("Volumes")(database), lambda: trades() == {"BTC/USDT": 5})
    # What Redis forgot is sent again, under another generation.
    await redis.flushall()
    await append(redis, [trade(BTC, number) for number in range(3, 8)])

    async def handled():
        return (await redis.hget(keys.handled("binance", "volumes"), str(BTC)) or b"").split()[1:2] == [b"5"]

    await serve(redis, shown("Volumes")(database), handled)
    assert trades() == {"BTC/USDT": 7}

    class Refusing(shown("Volumes")):
        async def handle(self, delivery):
            if delivery.entry.s == "8":
                raise ZeroDivisionError
            await super().handle(delivery)

    await put(redis, BTC, [8, 9])
    await serve(redis, Refusing(database), lambda: redis.exists(keys.dead_letters("binance", "volumes")))
    (letter,) = [letter async for letter in letters.found(redis)]
    await letters.redrive(redis, letter)
    await serve(redis, shown("Volumes")(database), lambda: trades() == {"BTC/USDT": 9})
    database.close()


async def test_the_recipe_for_what_is_outside_names_each_effect_once_whatever_is_sent_again(redis):
    await put(redis, BTC, range(1, 6))
    told = []

    async def tell(name, amount):
        told.append((name, amount))

    async def tell_and_die(name, amount):
        await tell(name, amount)
        if name.endswith("/3"):
            raise SystemExit

    with pytest.raises(SystemExit):
        await _crash(redis, shown("Alarms")(tell_and_die))
    await serve(redis, shown("Alarms")(tell), lambda: len(told) == 3 + 5)
    # What Redis forgot is sent again, under another generation.
    await redis.flushall()
    await append(redis, [trade(BTC, number) for number in range(3, 8)])
    await serve(redis, shown("Alarms")(tell), lambda: len(told) == 3 + 5 + 5)

    assert set(told) == {(f"alarms/{BTC}/{number}", "0.5") for number in range(1, 8)}


async def _crash(redis, service):
    options = {"partition": service.partition, "channels": service.channels, "block_ms": 20, "lease_ms": 300}
    async with Reader(redis, group=service.name, **options) as reader:
        async for delivery in reader:
            delivery.hold()
            await service.handle(delivery)
