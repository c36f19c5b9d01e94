"""Whatever an entry or a handler does, it ends where it is written that it ends, and nothing else stops."""

import asyncio
import os
import sys
import time

import msgpack
import pytest

from consumers import letters
from consumers.append import append
from consumers.reader import Reader
from consumers.services import lines
from consumers.services.lines import ATTEMPTS, run
from ingest.contract import keys
from ingest.contract.events import Event, Trade
from ingest.contract.keys import StreamKey
from tests.eventually import eventually

BTC, ETH = (StreamKey("binance", "trades", f"{base}/USDT") for base in ("BTC", "ETH"))
GOOD = {"price": "1", "amount": "1", "side": "buy", "received_ns": 1}
PARTITIONS = pytest.mark.parametrize("partition", ["symbol", "whole", "none"])


def trade(key, number):
    body = Trade(price=str(number), amount="1", side="buy", received_ns=number)
    return Event(key, str(number), body, "dense", first=str(number))


class Notes:
    """Notes what it has handled, and does what it is told with the second trade of BTC."""

    name = "notes"
    channels = ("trades",)

    def __init__(self, partition, second=None):
        self.partition = partition
        self.second = second
        self.seen = []

    async def handle(self, delivery):
        if self.second and (delivery.key, delivery.entry.s) == (BTC, "2"):
            await self.second()
        self.seen.append((delivery.key.symbol[:3], delivery.entry.n))


async def served(redis, service, done, **options):
    """Run the service until that many were handled and what is dead is dead; the figures."""
    stopping = asyncio.Event()
    more = {"partition": service.partition, "channels": service.channels, "block_ms": 20, "lease_ms": 1000}
    async with Reader(redis, group=service.name, **more) as reader:
        task = asyncio.create_task(run(service, reader, stopping, **options))
        try:
            await eventually(done)
        finally:
            stopping.set()
            await task
        return reader.figures["binance"]


async def reasons(redis):
    return [(letter.stream, letter.fields[b"n"], letter.reason) async for letter in letters.found(redis)]


BAD_ENTRIES = {
    "truncated": (msgpack.packb(GOOD)[:-3], "unreadable: Input data was truncated"),
    "not a map": (msgpack.packb([1, 2]), "unreadable: Expected `object`, got `array`"),
    "empty": (b"", "unreadable: Input data was truncated"),
    "deep": (b"\x91" * 100_000, "unreadable: "),
    "extension": (msgpack.packb(GOOD | {"price": msgpack.ExtType(4, b"x")}), "unreadable: Expected `str`, got `ext`"),
    "timestamp": (msgpack.packb(GOOD | {"price": msgpack.Timestamp(1)}), "unreadable: Expected `str`, got `ext`"),
    "NaN": (msgpack.packb(GOOD | {"price": "NaN"}), "unreadable: "),
    "10 MB price": (msgpack.packb(GOOD | {"price": "1" * 10_000_000}), "unreadable: "),
    "17 MB": (msgpack.packb(GOOD | {"other": b"x" * (17 << 20)}), "unreadable: 17825"),
    "no data": (None, "unreadable: without the header field b'data'"),
}


@PARTITIONS
@pytest.mark.parametrize("bad", BAD_ENTRIES)
async def test_an_entry_that_cannot_be_read_is_a_dead_letter_and_the_others_are_handled(redis, partition, bad):
    data, reason = BAD_ENTRIES[bad]
    await put_second(redis, {"v": "1", "type": "trade"} | ({} if data is None else {"data": data}))
    notes = Notes(partition)
    figures = await served(redis, notes, lambda: len(notes.seen) == 3 and redis.hlen(keys.buried("binance", "notes")))

    ((stream, n, told),) = await reasons(redis)
    assert (sorted(notes.seen), stream, n) == ([("BTC", 1), ("BTC", 3), ("ETH", 1)], str(BTC), b"2")
    assert told.startswith(reason)
    assert (figures.unreadable, figures.dead, figures.skipped, figures.stopped) == (1, 1, 0, 0)
    assert (await redis.xpending(str(BTC), "notes"))["pending"] == 0


async def put_second(redis, fields):
    """Append three trades, the second of which has these fields, and one of another symbol."""
    await append(redis, [trade(BTC, 1)])
    g = await redis.hget(BTC.state, "g")
    await redis.xadd(str(BTC), {"n": "2", "g": g, "s": "2", **fields})
    await redis.hset(BTC.state, mapping={"n": 2, "last": 2})
    await append(redis, [trade(BTC, 3)])
    await append(redis, [trade(ETH, 1)])


@PARTITIONS
@pytest.mark.parametrize("header", [{"g": "two words"}, {"g": ""}, {"n": "-2"}, {"n": "1" * 30}, {"n": "two"}])
async def test_an_entry_whose_place_makes_no_sense_is_a_dead_letter_too(redis, partition, header):
    await put_second(redis, {"v": "1", "type": "trade", "data": msgpack.packb(GOOD)} | header)
    notes = Notes(partition)
    await served(redis, notes, lambda: len(notes.seen) == 3 and redis.hlen(keys.buried("binance", "notes")))

    assert sorted(notes.seen) == [("BTC", 1), ("BTC", 3), ("ETH", 1)]
    assert (await redis.xpending(str(BTC), "notes"))["pending"] == 0


@PARTITIONS
@pytest.mark.parametrize(
    "data",
    [GOOD | {"later": msgpack.ExtType(4, b"x")}, GOOD | {"later": b"x" * 10_000_000}],
    ids=["extension", "10 MB"],
)
async def test_fields_that_are_not_known_are_ignored_whatever_is_in_them(redis, partition, data):
    await put_second(redis, {"v": "1", "type": "trade", "data": msgpack.packb(data)})
    notes = Notes(partition)
    figures = await served(redis, notes, lambda: len(notes.seen) == 4)

    assert (sorted(notes.seen), figures.dead) == ([("BTC", 1), ("BTC", 2), ("BTC", 3), ("ETH", 1)], 0)


@PARTITIONS
async def test_an_unknown_type_is_acknowledged_and_counted(redis, partition):
    await put_second(redis, {"v": "1", "type": "funding", "data": b"\xc1"})
    notes = Notes(partition)
    figures = await served(redis, notes, lambda: len(notes.seen) == 3)

    assert (sorted(notes.seen), figures.skipped, figures.dead) == ([("BTC", 1), ("BTC", 3), ("ETH", 1)], 1, 0)
    assert (await redis.xpending(str(BTC), "notes"))["pending"] == 0


@PARTITIONS
async def test_an_unknown_version_stops_its_stream_and_is_no_dead_letter(redis, partition):
    await put_second(redis, {"v": "2", "type": "trade", "data": b"\xc1"})
    notes = Notes(partition)
    figures = await served(redis, notes, lambda: len(notes.seen) == 2)

    assert (sorted(notes.seen), figures.stopped, figures.dead) == ([("BTC", 1), ("ETH", 1)], 1, 0)
    assert await redis.exists(keys.dead_letters("binance", "notes")) == 0


async def _raises():
    raise ZeroDivisionError


async def _hangs():
    await asyncio.Event().wait()


async def _cancels():
    raise asyncio.CancelledError


async def _asks_for_nonsense():
    raise lines.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


@PARTITIONS
@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (_raises, "ZeroDivisionError"),
        (_hangs, "TimeoutError"),
        (_cancels, "RuntimeError: the handler was cancelled"),
        (_asks_for_nonsense, "ResponseError: WRONGTYPE Operation against a key holding the wrong kind of value"),
    ],
)
async def test_what_a_handler_fails_on_is_a_dead_letter_after_five_attempts(
    redis, monkeypatch, partition, does, reason
):
    monkeypatch.setattr(lines, "FIRST_PAUSE_SECONDS", 0.001)
    attempts = []

    async def second():
        attempts.append(time.monotonic())
        await does()

    await append(redis, [trade(BTC, number) for number in (1, 2, 3)])
    await append(redis, [trade(ETH, 1)])
    notes = Notes(partition, second)
    dead = keys.dead_letters("binance", "notes")
    await served(redis, notes, lambda: len(notes.seen) == 3 and redis.exists(dead), time_limit_s=0.05)

    assert (sorted(notes.seen), len(attempts)) == ([("BTC", 1), ("BTC", 3), ("ETH", 1)], ATTEMPTS)
    assert await reasons(redis) == [(str(BTC), b"2", reason)]
    assert await redis.exists(keys.tries("binance", "notes")) == 0


@pytest.mark.parametrize("partition", ["symbol", "none"])
async def test_while_a_handler_hangs_the_other_parts_go_on(redis, partition):
    await append(redis, [trade(BTC, number) for number in (1, 2, 3)])
    notes = Notes(partition, _hangs)
    others = []

    async def go_on():
        if ("BTC", 1) in notes.seen and len(others) < 5:
            others.append(len(others) + 1)
            await append(redis, [trade(ETH, others[-1])])
        return ("ETH", 5) in notes.seen

    await served(redis, notes, go_on, time_limit_s=0.5)

    assert [n for symbol, n in notes.seen if symbol == "ETH"] == [1, 2, 3, 4, 5]
    assert await reasons(redis) == []


@PARTITIONS
async def test_a_redis_that_is_away_is_no_failure_of_the_handler(redis, monkeypatch, partition):
    monkeypatch.setattr(lines, "wait_seconds", lambda _: 0.001)
    attempts = []

    async def away():
        attempts.append(1)
        if len(attempts) < 30:
            raise lines.RedisError("away")

    await append(redis, [trade(BTC, number) for number in (1, 2, 3)])
    notes = Notes(partition, away)
    await served(redis, notes, lambda: len(notes.seen) == 3)

    assert (sorted(notes.seen), len(attempts), await reasons(redis)) == ([("BTC", n) for n in (1, 2, 3)], 30, [])


async def test_failures_count_over_the_processes_that_had_them(redis, monkeypatch):
    monkeypatch.setattr(lines, "FIRST_PAUSE_SECONDS", 0.3)
    await append(redis, [trade(BTC, number) for number in (1, 2)])
    attempts, dead = [], keys.dead_letters("binance", "notes")

    async def second():
        attempts.append(1)
        raise ZeroDivisionError

    for lives in range(1, 6):
        notes = Notes("symbol", second)
        await served(redis, notes, lambda lives=lives: len(attempts) == lives or redis.exists(dead))

    assert (len(attempts), await reasons(redis)) == (ATTEMPTS, [(str(BTC), b"2", "ZeroDivisionError")])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["exits", "blocks"])
@pytest.mark.parametrize("partition", ["symbol", "none"])
async def test_an_entry_that_ends_its_process_each_time_is_a_dead_letter_at_last(redis, redis_server, partition, way):
    await append(redis, [trade(BTC, number) for number in range(1, 6)])
    await append(redis, [trade(ETH, number) for number in range(1, 6)])
    lives = 0
    stopped = asyncio.Event()

    async def orchestrate():
        nonlocal lives
        while not stopped.is_set():
            lives += 1
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.consumers.services.deadly", partition, way),
                env={**os.environ, "CONSUMER_REDIS_URL": redis_server.url},
                stderr=asyncio.subprocess.DEVNULL,
            )
            ends = [asyncio.create_task(waiting) for waiting in (process.wait(), stopped.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if process.returncode is None:
                process.terminate()
            await process.wait()
            ends[1].cancel()

    orchestrator = asyncio.create_task(orchestrate())
    handled = "handled:{binance}"
    try:
        await eventually(lambda: _all_but_one(redis, handled), within_seconds=25)
    finally:
        stopped.set()
        await orchestrator

    ((stream, n, reason),) = await reasons(redis)
    assert (stream, n, reason) == (str(BTC), b"2", "3 deliveries came to no end")
    assert lives == 4
    assert set(await redis.hvals(handled)) == {b"1"}


async def _all_but_one(redis, handled):
    return await redis.hlen(handled) == 9 and await redis.exists(keys.dead_letters("binance", "deadly"))
