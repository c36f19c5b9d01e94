"""Connections that are replaced before the exchange cuts them: nobody downstream can tell."""

import time

import pytest

import ingest.exchanges.binance
import ingest.exchanges.subscriptions
from ingest.audit import audit
from ingest.contract.codec import decode
from ingest.simulator.server import simulated_binance
from tests.end_to_end.running import CHANNELS, working
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USDT", "ETH/USDT")
S = 1_000_000_000


async def interruptions(redis) -> set[str]:
    """Whatever tells a reader that somebody did not listen for a while."""
    found = set()
    for channel in CHANNELS:
        for symbol in SYMBOLS:
            for entry in await redis.xrange(f"md:{{binance}}:{channel}:{symbol.replace('/', '-')}"):
                said = decode(*entry)
                if said.type == "gap" or getattr(said.event, "state", "") in ("stale", "suspect"):
                    found.add(f"{said.type} in {channel}")
                if getattr(said.event, "backfilled", None) or (said.epoch or 1) > 1:
                    found.add(f"{channel} begun anew")
    return found


async def connection_states(redis, name: str) -> list[str]:
    statuses = [decode(*entry).event for entry in await redis.xrange("md:{binance}:status")]
    return [status.state for status in statuses if status.connection == name]


@pytest.mark.parametrize("rate", [300, 6])
async def test_the_next_connection_delivers_before_the_one_before_it_goes(redis, tmp_path, monkeypatch, rate):
    monkeypatch.setattr(ingest.exchanges.binance, "_RENEW_FROM_NS", 1 * S)
    monkeypatch.setattr(ingest.exchanges.binance, "_RENEW_TO_NS", 2 * S)
    ledger, asked = tmp_path / "ledger.jsonl", set()
    async with simulated_binance(symbols=SYMBOLS, rate=rate, ledger=ledger) as exchange:
        async with working(redis, exchange, SYMBOLS) as worker:
            get = worker._rest.get

            async def spy(fetch):
                asked.add(fetch.path)
                return await get(fetch)

            monkeypatch.setattr(worker._rest, "get", spy)
            await eventually(lambda: worker.connections and worker.connections[0].name == "binance-5", 50)
            told = await interruptions(redis)
            exchange.stopping.set()
            await eventually(lambda: worker.connections[0].state != "CONNECTED")
    report = await audit(redis, [ledger], time.time_ns())
    # Best prices are compared now and then, which fills no hole.
    assert (report.balanced, told, asked - {"/api/v3/ticker/bookTicker"}) == (
        True,
        set(),
        {"/api/v3/exchangeInfo", "/api/v3/depth"},
    )
    assert await connection_states(redis, "binance-2") == ["CONNECTING", "CONNECTED", "DISCONNECTED"]


async def test_a_connection_that_is_cut_instead_is_a_matter_for_everybody(redis):
    """The control: the same look at what a cut leaves behind finds it."""
    async with simulated_binance(symbols=SYMBOLS, rate=300) as exchange:
        async with working(redis, exchange, SYMBOLS) as worker:
            everything = len(CHANNELS) * len(SYMBOLS)
            await eventually(lambda: worker.connections and len(worker.connections[0].flowing()) == everything)
            await exchange.drop_all()

            async def told():
                return {"status in orderbook", "status in ticker"} <= await interruptions(redis)

            await eventually(told)


async def test_who_took_over_tells_what_is_missing_when_ids_begin_anew(redis, monkeypatch):
    monkeypatch.setattr(ingest.exchanges.binance, "_RENEW_FROM_NS", 1 * S)
    monkeypatch.setattr(ingest.exchanges.binance, "_RENEW_TO_NS", 2 * S)
    async with simulated_binance(symbols=SYMBOLS, rate=300) as exchange:
        async with working(redis, exchange, SYMBOLS) as worker:
            await eventually(lambda: worker.connections and worker.connections[0].name == "binance-2", 50)
            monkeypatch.setattr(ingest.exchanges.binance, "_RENEW_FROM_NS", 1000 * S)
            exchange.strike("series")

            async def told() -> bool:
                entries = await redis.xrange("md:{binance}:ticker:BTC-USDT")
                kinds = [(said.type, said.s.partition("~")[2][:1]) for said in (decode(*entry) for entry in entries)]
                anew = next((i for i, kind in enumerate(kinds) if kind == ("ticker", "1")), 0)
                return anew > 0 and "status" in [kind for kind, _ in kinds[:anew]]

            await eventually(told)


async def test_who_took_over_from_one_that_was_deaf_to_a_ticker_tells_that_nobody_listened(redis, monkeypatch):
    monkeypatch.setattr(ingest.exchanges.binance, "_SILENT_NS", 1 * S)
    monkeypatch.setattr(ingest.exchanges.subscriptions, "LOOK_EVERY_NS", S // 2)
    async with simulated_binance(symbols=SYMBOLS, rate=300) as exchange:
        async with working(redis, exchange, SYMBOLS) as worker:
            await eventually(lambda: worker.connections and len(worker.connections[0].flowing()) > len(SYMBOLS), 50)
            exchange.strike("silent:ticker:BTC/USDT@0s/10s")
            await eventually(lambda: worker.connections[0].name == "binance-2", 50)
            ticker = "md:{binance}:ticker:BTC-USDT"
            before = await redis.xlen(ticker)

            async def heard() -> bool:
                return await redis.xlen(ticker) > before + 2

            await eventually(heard, 50)
    later = [decode(*entry) for entry in (await redis.xrange(ticker))[before:]]
    assert [getattr(said.event, "state", said.type) for said in later[:2]] == ["stale", "ticker"]
