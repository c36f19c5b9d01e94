"""A worker whose Redis takes nothing for a while, and whose disk is small or sick."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from ingest.audit import audit
from ingest.contract.codec import decode
from ingest.simulator.server import simulated_binance
from tests.end_to_end.running import make_worker
from tests.eventually import eventually
from tests.ingest.spilling import spilling

SYMBOLS = ("BTC/USDT", "ETH/USDT")
TRADES = "md:{binance}:trades:BTC-USDT"
BOOK = "md:{binance}:orderbook:BTC-USDT"
BOUND = 100
pytestmark = pytest.mark.slow


@asynccontextmanager
async def refusing(redis):
    """Memory is full."""
    await redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        await redis.config_set("maxmemory", 0)


@asynccontextmanager
async def hearing(redis, exchange, spill):
    """A worker at work; at the end it has heard all that the exchange said, and written it."""
    worker = make_worker(redis, exchange, SYMBOLS, bound=BOUND, spill=spill)
    stopping = asyncio.Event()
    running = asyncio.create_task(worker.run(stopping))
    try:
        await eventually(lambda: redis.xlen(TRADES))
        yield worker
        publisher = worker._publisher
        await eventually(lambda: publisher.counters.spilled == 0 and publisher.counters.unconfirmed == 0)
        for symbol in ("BTC-USDT", "ETH-USDT"):
            await eventually(lambda symbol=symbol: redis.exists(f"md:{{binance}}:candles-1m:{symbol}"))
            for channel in ("trades", "orderbook"):
                await flows_again(redis, f"md:{{binance}}:{channel}:{symbol}")
        exchange.stopping.set()
        await eventually(lambda: worker.connections[0].state != "CONNECTED")
    finally:
        stopping.set()
        await running


async def flows_again(redis, key):
    """It says what was heard live, and goes on to."""
    for _ in range(2):
        before = await newest(redis, key)
        await eventually(lambda before=before: said_live_since(redis, key, before))


async def said_live_since(redis, key, before):
    entry = await newest(redis, key)
    return entry.id != before.id and (entry.type == "delta" or (entry.type == "trade" and not entry.event.backfilled))


async def newest(redis, key):
    ((entry_id, fields),) = await redis.xrevrange(key, count=1)
    return decode(entry_id, fields)


async def trades(redis):
    return [int(fields[b"s"]) for _, fields in await redis.xrange(TRADES) if fields[b"type"] == b"trade"]


async def whole_and_balanced(redis, ledger):
    found = await trades(redis)
    return (await audit(redis, [ledger], time.time_ns())).balanced, found == list(range(found[0], found[-1] + 1))


async def epochs(redis):
    return {decode(entry_id, fields).epoch for entry_id, fields in await redis.xrange(BOOK)} - {None}


async def test_with_a_full_disk_the_sockets_wait_and_what_is_cut_off_is_refilled_or_registered(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated_binance(symbols=SYMBOLS, rate=500, ledger=ledger) as exchange:
        with spilling(tmp_path, cap_bytes=50_000) as spill:
            async with hearing(redis, exchange, spill) as worker:
                publisher = worker._publisher
                async with refusing(redis):
                    await eventually(lambda: publisher.full)
                    held = publisher.counters.queued + publisher.counters.unconfirmed
                    said = exchange_says(ledger)
                    await eventually(lambda: exchange_says(ledger) > said + 100_000)
                    await exchange.drop_all()  # as exchanges do with those who do not read
                    still_held = publisher.counters.queued + publisher.counters.unconfirmed
                waited_s = publisher.counters.waited_s
    assert (held, spill.size_bytes <= 50_000, waited_s > 0, len(await epochs(redis)) > 1) == (
        still_held,
        True,
        True,
        True,
    )
    assert await whole_and_balanced(redis, ledger) == (True, True)


def exchange_says(ledger):
    return ledger.stat().st_size


async def test_what_the_disk_loses_is_refilled_or_registered(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated_binance(symbols=SYMBOLS, rate=500, ledger=ledger) as exchange:
        with spilling(tmp_path, cap_bytes=1 << 24) as spill:
            async with hearing(redis, exchange, spill) as worker:
                publisher = worker._publisher
                async with refusing(redis):
                    await eventually(lambda: publisher.counters.spilled > 300)
                    (segment,) = (tmp_path / "binance" / "0").glob("*.seg")
                    changed = bytearray(segment.read_bytes())
                    changed[len(changed) // 2] ^= 1
                    with segment.open("r+b") as file:
                        file.write(changed[: len(changed) // 2 + 1])
    assert (publisher.counters.lost_on_disk > 0, await whole_and_balanced(redis, ledger)) == (True, (True, True))
