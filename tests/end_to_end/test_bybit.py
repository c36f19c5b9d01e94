"""A worker before a simulated Bybit: a socket, REST, and a real Redis."""

import time

import pytest

from ingest.audit import audit
from ingest.contract.codec import decode
from ingest.contract.events import Gap
from ingest.contract.keys import StreamKey
from ingest.simulator.server import simulated
from tests.end_to_end.running import CHANNELS, working
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USDT", "ETH/USDT")
KEYS = [StreamKey("bybit", channel, symbol) for channel in CHANNELS for symbol in SYMBOLS]
TRADES, BOOK = KEYS[0], StreamKey("bybit", "orderbook", "ETH/USDT")


async def entries(redis, key):
    return [decode(entry_id, fields) for entry_id, fields in await redis.xrange(str(key))]


async def flows(redis, least=20):
    """Every stream has entries, trades at least so many."""

    async def enough():
        counts = [await redis.xlen(str(key)) for key in KEYS]
        return min(counts) > 0 and counts[0] >= least

    await eventually(enough)


def complete(said):
    """Whether ids, which nobody promises to be counted, leave none out here."""
    ids = sorted(int(entry.s) for entry in said if entry.type == "trade")
    return ids == list(range(ids[0], ids[-1] + 1))


async def test_what_it_says_is_written_also_after_cuts_and_holes(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated("bybit", symbols=SYMBOLS, rate=250, ledger=ledger) as exchange:
        async with working(redis, exchange, SYMBOLS, name="bybit") as worker:
            await flows(redis)
            exchange.strike("gap:trades:BTC/USDT")
            exchange.strike("gap:orderbook:ETH/USDT")
            for cut in (1, 2):
                await flows(redis, least=80 * cut)
                await exchange.drop_all()
                await eventually(lambda wanted=cut + 1: worker.connections[0].counters.connects >= wanted)
            await flows(redis, least=250)
            exchange.stopping.set()
            await eventually(lambda: worker.connections[0].state != "CONNECTED")
    report = await audit(redis, [ledger], time.time_ns())
    verdicts = {stream.key: stream.verdict for stream in report.streams}
    states = [entry.event.state for entry in await entries(redis, BOOK) if entry.type == "status"]
    trades = await entries(redis, TRADES)
    told = [entry for entry in trades if isinstance(entry.event, Gap)]
    assert (report.balanced, complete(trades) or told != [], states.count("suspect"), states[-2:]) == (
        True,
        True,
        1,
        ["live", "stale"],
    )
    assert (verdicts[str(TRADES)], verdicts[str(BOOK)]) == ("not provable: opaque ids", "proven")


async def test_a_trade_that_did_not_come_is_found_by_its_neighbours_and_comes_late(redis):
    async with (
        simulated("bybit", symbols=SYMBOLS, rate=150) as exchange,
        working(redis, exchange, SYMBOLS, name="bybit"),
    ):
        await flows(redis, least=80)
        exchange.strike("gap:trades:BTC/USDT")

        async def late():
            return [entry for entry in await entries(redis, TRADES) if entry.late]

        await eventually(late)
        assert complete(await entries(redis, TRADES))


async def test_what_two_workers_hear_stands_there_once(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated("bybit", symbols=SYMBOLS, rate=250, ledger=ledger) as exchange:
        async with (
            working(redis, exchange, SYMBOLS, name="bybit") as one,
            working(redis, exchange, SYMBOLS, name="bybit") as two,
        ):
            await flows(redis)
            for cut in (1, 2):
                await flows(redis, least=80 * cut)
                await exchange.drop_all()
                for worker in (one, two):
                    await eventually(lambda w=worker, wanted=cut + 1: w.connections[0].counters.connects >= wanted)
            await flows(redis, least=250)
            exchange.stopping.set()
            await eventually(lambda: all(w.connections[0].state != "CONNECTED" for w in (one, two)))
    report = await audit(redis, [ledger], time.time_ns())
    ids = [entry.s for entry in await entries(redis, TRADES) if entry.type == "trade"]
    assert (report.balanced, len(ids)) == (True, len(set(ids)))
