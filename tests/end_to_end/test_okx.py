"""A worker before a simulated OKX: two sockets, REST, and a real Redis."""

import time

import pytest

from ingest.audit import audit
from ingest.contract.codec import decode
from ingest.contract.keys import StreamKey
from ingest.simulator.server import simulated
from tests.end_to_end.running import CHANNELS, working
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USDT", "ETH/USDT")
KEYS = [StreamKey("okx", channel, symbol) for channel in CHANNELS for symbol in SYMBOLS]


async def entries(redis, key):
    return [decode(entry_id, fields) for entry_id, fields in await redis.xrange(str(key))]


async def flows(redis, least=20):
    """Every stream has entries, trades at least so many."""

    async def enough():
        counts = [await redis.xlen(str(key)) for key in KEYS]
        return min(counts) > 0 and counts[0] >= least

    await eventually(enough)


async def proven(redis, ledger):
    """Whether everything adds up; and the ids of trades, which leave none out."""
    report = await audit(redis, [ledger], time.time_ns())
    ids = [int(entry.s) for entry in await entries(redis, KEYS[0]) if entry.type == "trade"]
    return report.balanced, ids == list(range(ids[0], ids[-1] + 1))


async def test_what_it_says_on_both_paths_is_written_also_after_cuts_and_holes(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated("okx", symbols=SYMBOLS, rate=300, ledger=ledger) as exchange:
        async with working(redis, exchange, SYMBOLS, name="okx") as worker:
            await flows(redis)
            paths = sorted(connection.path for connection in worker.connections)
            exchange.strike("gap:trades:BTC/USDT")
            exchange.strike("gap:orderbook:ETH/USDT")
            for cut in (1, 2):
                await flows(redis, least=60 * cut)
                await exchange.drop_all()
                wanted = cut + 1
                await eventually(lambda wanted=wanted: all(c.counters.connects >= wanted for c in worker.connections))
            await flows(redis, least=250)
            exchange.stopping.set()
            await eventually(lambda: all(c.state != "CONNECTED" for c in worker.connections))
    states = [entry.event.state for entry in await entries(redis, KEYS[5]) if entry.type == "status"]
    assert (await proven(redis, ledger), paths, states.count("suspect"), states[-2:]) == (
        (True, True),
        ["/ws/v5/business", "/ws/v5/public"],
        1,
        ["live", "stale"],
    )


async def test_before_a_service_upgrade_other_connections_take_over_and_nobody_notices(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated("okx", symbols=SYMBOLS, rate=300, ledger=ledger) as exchange:
        async with working(redis, exchange, SYMBOLS, name="okx") as worker:
            await flows(redis)
            await eventually(lambda: all(c.state == "CONNECTED" for c in worker.connections))
            before = {connection.name for connection in worker.connections}
            exchange.strike("notice")
            await eventually(lambda: before.isdisjoint(c.name for c in worker.connections), 30)
            await flows(redis, least=200)
            said = [entry for key in KEYS for entry in await entries(redis, key)]
            exchange.stopping.set()
            await eventually(lambda: all(c.state != "CONNECTED" for c in worker.connections))
    interruptions = {entry.type for entry in said if getattr(entry.event, "state", "") in ("stale", "suspect")}
    gaps = [entry for entry in said if entry.type == "gap"]
    assert (await proven(redis, ledger), interruptions, gaps) == ((True, True), set(), [])
