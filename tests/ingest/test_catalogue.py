"""What an exchange trades, as all can read it: the table, and each change of a status once, whoever saw it."""

import asyncio
from itertools import pairwise

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.catalogue import Catalogue, compare
from ingest.contract import instruments, keys
from ingest.contract.codec import decode
from ingest.contract.events import Status
from ingest.contract.instruments import Listed
from ingest.exchanges.exchange import Instrument
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.server import simulated
from tests.end_to_end.running import working
from tests.eventually import eventually
from tests.ingest.retention.scene import janitor, told

BTC = Instrument("BTC/USDT", "BTCUSDT", True, "TRADING", "0.01", "0.00001", "5.0")
ETH = Instrument("ETH/USDT", "ETHUSDT", True, "TRADING")
SECOND = 1_000_000_000


def row(instrument: Instrument, status: str, seen_ns: int) -> Listed:
    base, quote = instrument.symbol.split("/")
    return Listed(
        symbol=instrument.symbol,
        native=instrument.native,
        base=base,
        quote=quote,
        status=status,
        native_status=instrument.status,
        seen_ns=seen_ns,
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        min_notional=instrument.min_notional,
    )


def traded(*those: Instrument) -> dict[str, Instrument]:
    return {each.symbol: each for each in those}


def halted(instrument: Instrument, word: str = "HALT") -> Instrument:
    return Instrument(instrument.symbol, instrument.native, False, word)


def test_what_is_new_is_written_and_is_no_change():
    assert compare({}, traded(BTC, halted(ETH)), 7) == ([row(BTC, "trading", 7), row(halted(ETH), "halted", 7)], [])


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (halted(BTC), "halted"),
        (Instrument("BTC/USDT", "BTCUSDT", True, "cancel_only", halted=True), "halted"),
        (Instrument("BTC/USDT", "BTCUSDT", False, "delisted"), "delisted"),
    ],
)
def test_a_change_is_written_with_its_record(now: Instrument, status: str):
    known = {"BTC/USDT": row(BTC, "trading", 7)}
    assert compare(known, traded(now), 8) == ([row(now, status, 8)], [f"{status} BTC/USDT 8 {now.status}"])


def test_what_is_on_the_list_no_more_is_delisted_once_and_may_come_back():
    known = {"BTC/USDT": row(BTC, "trading", 7)}
    gone = row(BTC, "delisted", 8)
    back = row(BTC, "trading", 10)
    assert [
        compare(known, traded(ETH), 8),
        compare({"BTC/USDT": gone}, {}, 9),
        compare({"BTC/USDT": gone}, traded(BTC), 10),
    ] == [
        ([row(ETH, "trading", 8), gone], ["delisted BTC/USDT 8 TRADING"]),
        ([], []),
        ([back], ["trading BTC/USDT 10 TRADING"]),
    ]


def test_an_older_list_changes_nothing_unless_the_newer_one_is_of_a_wrong_clock():
    older = traded(halted(BTC))
    assert [
        compare({"BTC/USDT": row(BTC, "trading", ahead_s * SECOND)}, older, 0)[1] for ahead_s in (0, 59, 60, 86_400)
    ] == [[], [], ["halted BTC/USDT 0 HALT"], ["halted BTC/USDT 0 HALT"]]


STATES = st.sampled_from([BTC, halted(BTC), Instrument("BTC/USDT", "BTCUSDT", False, "delisted"), None])


@given(st.lists(STATES, min_size=1, max_size=8))
@settings(derandomize=True)
def test_whatever_happens_each_change_of_a_status_is_recorded_and_nothing_else(said):
    """Against a model: `said` is what the exchange lists, one answer after another; None is a list without it."""
    known, records, statuses = {}, [], []
    for at, now in enumerate(said, 1):
        rows, news = compare(known, traded(ETH, *([now] if now else [])), at)
        known |= {each.symbol: each for each in rows}
        records += news
        if "BTC/USDT" in known:
            statuses.append(known["BTC/USDT"].status)
    changes = [after for before, after in pairwise(statuses) if before != after]
    assert [record.split(" ")[0] for record in records] == changes


async def table(redis) -> dict[str, Listed]:
    rows = await redis.hgetall(keys.instruments("binance"))
    return {symbol.decode(): instruments.decode(value) for symbol, value in rows.items()}


async def test_any_client_reads_it(redis):
    catalogue = Catalogue(redis, "binance")
    catalogue.take(traded(BTC), 7)
    await catalogue.write()
    assert msgpack.unpackb(await redis.hget("md:{binance}:instruments", "BTC/USDT")) == {
        "symbol": "BTC/USDT",
        "native": "BTCUSDT",
        "base": "BTC",
        "quote": "USDT",
        "status": "trading",
        "native_status": "TRADING",
        "seen_ns": 7,
        "tick_size": "0.01",
        "lot_size": "0.00001",
        "min_notional": "5.0",
    }


async def test_however_many_workers_see_a_change_it_is_told_once(redis):
    workers = [Catalogue(redis, "binance") for _ in range(4)]
    for at, now in enumerate((BTC, halted(BTC), halted(BTC), BTC)):
        for worker in workers:
            worker.take(traded(now), at * SECOND)
        while any(worker._news for worker in workers):
            await asyncio.gather(*(worker.write() for worker in workers))
    await redis.sadd(keys.EXCHANGES, "binance")
    for _ in range(2):
        await janitor(redis, keep_s=900).round()
    assert (await table(redis), await told(redis)) == (
        {"BTC/USDT": row(BTC, "trading", 3 * SECOND)},
        [
            Status(state="halted", reason="BTC/USDT is halted (status HALT)", symbol="BTC/USDT"),
            Status(state="trading", reason="BTC/USDT is trading (status TRADING)", symbol="BTC/USDT"),
        ],
    )


async def test_what_could_not_be_written_is_written_later_and_what_cannot_be_read_is_written_anew(redis):
    catalogue = Catalogue(redis, "binance")
    catalogue.take(traded(BTC), 7)
    await redis.set(keys.instruments("binance"), "another's")
    await catalogue.write()
    await redis.delete(keys.instruments("binance"))
    await redis.hset(keys.instruments("binance"), "BTC/USDT", b"\xc1")
    await catalogue.write()
    assert await table(redis) == {"BTC/USDT": row(BTC, "trading", 7)}


@pytest.mark.slow
@pytest.mark.parametrize("name", DIALECTS)
async def test_what_an_exchange_halts_is_told_once_by_two_workers(redis, name):
    symbols = ("BTC/USDT", "ETH/USDT")
    quick = {"name": name, "channels": ("trades",), "refresh_every_s": 0.2}

    async def statuses():
        await janitor(redis, keep_s=900).round()
        rows = await redis.hgetall(keys.instruments(name))
        said = [decode(*entry).event for entry in await redis.xrange(f"md:{{{name}}}:status")]
        return (
            {symbol.decode(): instruments.decode(value).status for symbol, value in rows.items()},
            [(each.symbol, each.state) for each in said if each.symbol],
        )

    def are(wanted):
        async def met():
            return await statuses() == wanted

        return met

    async with simulated(name, symbols=symbols) as exchange:
        async with working(redis, exchange, symbols, **quick), working(redis, exchange, symbols, **quick):
            await eventually(are((dict.fromkeys(symbols, "trading"), [])))
            exchange.strike("halt::BTC/USDT@0s/2s")
            told_of = [("BTC/USDT", "halted")]
            await eventually(are(({"BTC/USDT": "halted", "ETH/USDT": "trading"}, told_of)))
            await eventually(are((dict.fromkeys(symbols, "trading"), [*told_of, ("BTC/USDT", "trading")])))
