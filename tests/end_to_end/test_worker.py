"""A worker between a simulated exchange and a real Redis."""

import asyncio
import json
import time

import pytest

from ingest.audit import audit
from ingest.connection import AttemptsUsedUp, Patience
from ingest.contract.codec import decode
from ingest.exchanges.symbols import UnknownSymbols
from ingest.simulator.server import simulated_binance
from tests.end_to_end.running import CHANNELS, QUICK, make_worker, working
from tests.eventually import eventually

SYMBOLS = ("BTC/USDT", "ETH/USDT")
pytestmark = pytest.mark.slow


async def entries(redis, channel, symbol=""):
    key = f"md:{{binance}}:{channel}" + (f":{symbol.replace('/', '-')}" if symbol else "")
    return [decode(entry_id, fields) for entry_id, fields in await redis.xrange(key)]


async def flows(redis, least=20):
    """Every stream of every symbol has entries, trades at least so many."""

    async def enough():
        counts = [await redis.xlen(f"md:{{binance}}:{c}:{s.replace('/', '-')}") for c in CHANNELS for s in SYMBOLS]
        return min(counts) > 0 and counts[0] >= least

    await eventually(enough)


async def states(redis):
    return [entry.event.state for entry in await entries(redis, "status")]


async def test_what_the_exchange_says_is_what_is_written(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated_binance(symbols=SYMBOLS, rate=300, ledger=ledger) as exchange:
        async with working(redis, exchange, SYMBOLS) as worker:
            await flows(redis)
            exchange.stopping.set()
            await eventually(lambda: worker.connections[0].state != "CONNECTED")
    report = await audit(redis, [ledger], time.time_ns())
    assert (report.balanced, await states(redis)) == (
        True,
        ["CONNECTING", "CONNECTED", "RECONNECTING", *(await states(redis))[3:-1], "DISCONNECTED"],
    )


async def test_after_cut_connections_every_trade_is_there_and_every_lost_change_is_registered(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated_binance(symbols=SYMBOLS, rate=300, ledger=ledger) as exchange:
        async with working(redis, exchange, SYMBOLS) as worker:
            for cut in range(1, 4):
                await flows(redis, least=30 * cut)
                await exchange.drop_all()
                await eventually(lambda wanted=cut + 1: worker.connections[0].counters.connects >= wanted)
            await flows(redis, least=150)
            exchange.stopping.set()
            await eventually(lambda: worker.connections[0].state != "CONNECTED")
    report = await audit(redis, [ledger], time.time_ns())
    trades = [int(entry.s) for entry in await entries(redis, "trades", "BTC/USDT")]
    assert (report.balanced, trades) == (True, list(range(trades[0], trades[-1] + 1)))


async def test_a_hole_in_the_trades_is_filled_by_rest_and_said_in_order(redis):
    async with simulated_binance(symbols=SYMBOLS, rate=300) as exchange, working(redis, exchange, SYMBOLS):
        await flows(redis)
        exchange.strike("gap:trades:BTC/USDT")

        async def backfilled():
            return any(e.event.backfilled for e in await entries(redis, "trades", "BTC/USDT"))

        await eventually(backfilled)
        trades = [int(entry.s) for entry in await entries(redis, "trades", "BTC/USDT")]
        assert trades == list(range(trades[0], trades[-1] + 1))


async def test_a_broken_book_starts_anew_alone(redis):
    async with simulated_binance(symbols=SYMBOLS, rate=300) as exchange, working(redis, exchange, SYMBOLS):
        await flows(redis)
        exchange.strike("gap:orderbook:BTC/USDT")

        async def second_epoch():
            return [e for e in await entries(redis, "orderbook", "BTC/USDT") if e.epoch == 2 and e.type == "snapshot"]

        await eventually(second_epoch)
        kinds = [e.type for e in await entries(redis, "orderbook", "BTC/USDT") if e.type != "delta"]
        others = {e.epoch for e in await entries(redis, "orderbook", "ETH/USDT") if e.epoch is not None}
        assert (kinds, others) == (["status", "snapshot", "status", "status", "gap", "snapshot", "status"], {1})


GARBAGE = [b"\x00\xff binary", "{", '{"stream":"btcusdt@trade","data":{"p":"NaN"}}', '{"what":"new"}', "[" * 5000]


async def test_garbage_is_counted_and_everything_else_still_arrives(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated_binance(symbols=SYMBOLS, rate=300, ledger=ledger) as exchange:
        async with working(redis, exchange, SYMBOLS) as worker:
            await flows(redis)
            for garbage in GARBAGE:
                await exchange.say(garbage)
            await eventually(lambda: worker.connections[0].counters.skipped == len(GARBAGE))
            await flows(redis, least=60)
            exchange.stopping.set()
            await eventually(lambda: worker.connections[0].state != "CONNECTED")
            assert worker.connections[0].counters.connects == 1
    assert (await audit(redis, [ledger], time.time_ns())).balanced


async def test_a_frame_sent_twice_is_written_once(redis):
    async with simulated_binance(symbols=SYMBOLS, rate=0) as exchange, working(redis, exchange, SYMBOLS) as worker:
        await eventually(lambda: worker.connections and worker.connections[0].state == "CONNECTED")
        trade = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 5, "p": "1.0", "q": "2.0", "T": 1, "m": True, "M": True}
        for trade_id in (5, 5, 6, 5):
            await exchange.say(json.dumps({"stream": "btcusdt@trade", "data": {**trade, "t": trade_id}}))

        async def written():
            return [entry.s for entry in await entries(redis, "trades", "BTC/USDT")] == ["5", "6"]

        await eventually(written)


async def test_a_frame_that_is_too_large_costs_the_connection_and_no_more(redis):
    patience = Patience(backoff=QUICK.backoff, max_frame_bytes=50_000)
    async with simulated_binance(symbols=SYMBOLS, rate=300) as exchange:
        async with working(redis, exchange, SYMBOLS, patience=patience) as worker:
            await flows(redis)
            await exchange.say("x" * 60_000)
            await eventually(lambda: worker.connections[0].counters.connects == 2)
            await flows(redis, least=60)


async def test_unknown_symbols_end_the_worker_with_near_names(redis):
    async with simulated_binance(symbols=SYMBOLS) as exchange:
        with pytest.raises(UnknownSymbols, match="BTC/USTD is not traded, did you mean BTC/USDT"):
            await make_worker(redis, exchange, ("BTC/USTD",)).run(asyncio.Event())


async def test_when_the_attempts_are_used_up_it_says_so_and_ends(redis):
    class Elsewhere:
        stream_url = "ws://127.0.0.1:9"

    patience = Patience(backoff=QUICK.backoff, attempts=3)
    async with simulated_binance(symbols=SYMBOLS) as exchange:
        Elsewhere.rest_url = exchange.rest_url
        with pytest.raises(AttemptsUsedUp, match="3 attempts failed in a row"):
            await make_worker(redis, Elsewhere, SYMBOLS, patience=patience).run(asyncio.Event())
    failed = ["CONNECTING", "ERROR", "RECONNECTING"]
    assert await states(redis) == [*failed, *failed, "CONNECTING", "ERROR", "TERMINATED"]


async def test_a_connection_that_is_cut_before_any_data_counts_as_failed(redis):
    """It opens, and subscriptions are acknowledged; that does not reset the count of failures."""
    patience = Patience(backoff=QUICK.backoff, attempts=3)
    async with simulated_binance(symbols=SYMBOLS, rate=0) as exchange:
        worker = make_worker(redis, exchange, SYMBOLS, patience=patience, channels=("orderbook",))
        running = asyncio.create_task(worker.run(asyncio.Event()))
        for attempt in range(1, 4):
            await eventually(lambda: [e for e in worker.connections if e.counters.frames >= attempt])  # noqa: B023
            await exchange.drop_all()
        with pytest.raises(AttemptsUsedUp):
            await running
