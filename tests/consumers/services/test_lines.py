"""What a service has in hand when it is asked to stop, and how often something is tried, as the README says it."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

import consumers
from consumers.reader import Reader
from consumers.services import lines
from consumers.services.service import Served
from ingest.contract import keys
from ingest.contract.keys import StreamKey
from tests.consumers.producing import ids, put, standing
from tests.eventually import eventually

README = (Path(consumers.__file__).parent / "README.md").read_text(encoding="utf-8")
SYMBOLS = [StreamKey("binance", "trades", f"{base}/USDT") for base in ("BTC", "ETH")]


class Slow:
    """Begins with what it is handed, and ends when it is told to."""

    name = "slow"
    channels = ("trades",)

    def __init__(self, partition):
        self.partition = partition
        self.begun = []
        self.go_on = asyncio.Event()

    async def handle(self, delivery):
        self.begun.append(delivery)
        await self.go_on.wait()


class Observed(Reader):
    """Says when it reads no more."""

    async def __aiter__(self):
        async for delivery in super().__aiter__():
            yield delivery
        self.ended.set()


async def serving(redis, service, stopping, ended):
    options = {"partition": service.partition, "channels": service.channels, "block_ms": 20}
    async with Observed(redis, group=service.name, **options) as reader:
        reader.ended = ended
        return await lines.run(service, reader, stopping)


async def in_all(redis):
    """What was acknowledged of the symbols in all, and what is pending."""
    return [(await standing(redis, key, "slow"))[1:] for key in SYMBOLS]


@pytest.mark.parametrize("partition", ["symbol", "whole", "none"])
async def test_what_is_in_hand_is_finished_and_acknowledged(redis, partition):
    for key in SYMBOLS:
        await put(redis, key, [1, 2, 3])
    slow, stopping, ended = Slow(partition), asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(serving(redis, slow, stopping, ended))
    await eventually(lambda: _pending(redis, 6))
    await eventually(lambda: slow.begun)
    stopping.set()
    await eventually(ended.is_set)
    slow.go_on.set()

    assert await running == Served(6, 0, 0)
    assert sorted((delivery.key, *ids([delivery])) for delivery in slow.begun) == [
        (key, number) for key in SYMBOLS for number in (1, 2, 3)
    ]
    assert await in_all(redis) == [(3, 0), (3, 0)]


async def _pending(redis, count):
    with_group = [await redis.xinfo_groups(str(key)) for key in SYMBOLS]
    return sum(group["pending"] for groups in with_group for group in groups) == count


@pytest.mark.parametrize("partition", ["symbol", "none"])
async def test_what_does_not_come_to_an_end_in_time_is_left_pending(redis, monkeypatch, partition):
    monkeypatch.setattr(lines, "FINISH_WITHIN_SECONDS", 0.05)
    for key in SYMBOLS:
        await put(redis, key, [1])
    slow, stopping = Slow(partition), asyncio.Event()
    running = asyncio.create_task(serving(redis, slow, stopping, asyncio.Event()))
    await eventually(lambda: len(slow.begun) == 2)
    stopping.set()

    assert await running == Served(0, 0, 0)
    assert await in_all(redis) == [(0, 1), (0, 1)]


async def test_after_each_failure_it_waits_twice_as_long(redis, monkeypatch):
    monkeypatch.setattr(lines, "FIRST_PAUSE_SECONDS", 0.02)
    await put(redis, SYMBOLS[0], [1])
    failing, stopping, at = Slow("symbol"), asyncio.Event(), []

    async def handle(_):
        at.append(asyncio.get_running_loop().time())
        raise ZeroDivisionError

    failing.handle = handle
    running = asyncio.create_task(serving(redis, failing, stopping, asyncio.Event()))
    await eventually(lambda: redis.exists(keys.dead_letters("binance", "slow")))
    stopping.set()
    await running

    assert [later - before >= 0.02 * 2**i for i, (before, later) in enumerate(pairwise(at))] == [True] * 4


def test_the_readme_says_how_often_something_is_tried():
    assert f"| after {lines.ATTEMPTS} attempts, " in README
    assert f"| after {lines.DELIVERIES} deliveries " in README
    assert (lines.ATTEMPTS, lines.DELIVERIES) == (5, 16)
