"""The `ingest` command, as a process."""

import asyncio
import json
import os
import signal
import sys

import pytest

from deploy.local_redis import LocalRedis, free_port
from ingest.contract import keys
from ingest.contract.append import SCRIPT, batch
from ingest.contract.events import Event, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges import EXCHANGES
from ingest.exchanges.symbols import UnknownSymbols
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.server import simulated, simulated_binance
from tests.end_to_end.running import make_worker
from tests.eventually import eventually

pytestmark = pytest.mark.slow


async def ingest(*arguments: str, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ingest",
        *arguments,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_wrong_settings_are_named_a_line_each_and_nothing_is_connected():
    process = await ingest("run", INGEST_SYMBOLS="BTCUSDT", INGEST_ATTEMPTS="-1", INGEST_REST_URL="ws://x")
    _, said = await process.communicate()
    lines = sorted(line.split(":")[0] for line in said.decode().splitlines())
    assert (process.returncode, lines) == (2, ["INGEST_ATTEMPTS", "INGEST_REST_URL", "INGEST_SYMBOLS"])


async def test_an_unreadable_secret_file_is_a_wrong_setting():
    process = await ingest("run", INGEST_REDIS_URL_FILE="/nowhere/url")
    _, said = await process.communicate()
    assert (process.returncode, said.decode().split(":")[0]) == (2, "INGEST_REDIS_URL_FILE")


async def test_an_unknown_symbol_ends_the_worker_with_near_names(redis_server):
    async with simulated_binance(symbols=("BTC/USDT",)) as exchange:
        process = await ingest(
            "run",
            INGEST_SYMBOLS="BTC/USTD",
            INGEST_REDIS_URL=redis_server.url,
            INGEST_STREAM_URL=exchange.stream_url,
            INGEST_REST_URL=exchange.rest_url,
        )
        _, said = await process.communicate()
    last = said.decode().splitlines()[-1]
    assert (process.returncode, last) == (2, "binance: BTC/USTD is not traded, did you mean BTC/USDT?")


async def test_used_up_attempts_are_exit_code_3(redis_server):
    async with simulated_binance(symbols=("BTC/USDT",)) as exchange:
        process = await ingest(
            "run",
            INGEST_SYMBOLS="BTC/USDT",
            INGEST_ATTEMPTS="2",
            INGEST_RETRY_FIRST_S="0.1",
            INGEST_REDIS_URL=redis_server.url,
            INGEST_STREAM_URL=f"ws://127.0.0.1:{free_port()}",
            INGEST_REST_URL=exchange.rest_url,
        )
        await process.communicate()
    assert process.returncode == 3


async def test_a_redis_that_comes_later_is_waited_for_and_sigterm_ends_in_good_order(tmp_path, redis):
    late = LocalRedis(tmp_path)
    async with simulated_binance(symbols=("BTC/USDT",)) as exchange:
        process = await ingest(
            "run",
            INGEST_SYMBOLS="BTC/USDT",
            INGEST_RETRY_FIRST_S="0.1",
            INGEST_REDIS_URL=late.url,
            INGEST_STREAM_URL=exchange.stream_url,
            INGEST_REST_URL=exchange.rest_url,
        )
        try:
            said = await asyncio.wait_for(process.stderr.readline(), 20)
            await asyncio.to_thread(late.start)

            async def written():
                client = type(redis).from_url(late.url)
                try:
                    return await client.xlen("md:{binance}:trades:BTC-USDT")
                finally:
                    await client.aclose()

            await eventually(written)
            process.send_signal(signal.SIGTERM)
            await process.communicate()
        finally:
            late.stop()
    assert (f"127.0.0.1:{late.port}" in said.decode(), process.returncode) == (True, 0)


async def test_a_right_that_is_taken_away_is_waited_for_and_at_the_end_is_exit_code_1(redis, redis_server, tmp_path):
    key = "md:{binance}:trades:BTC-USDT"
    await redis.execute_command("ACL", "SETUSER", "writer", "reset", "on", ">secret", "~*", "+@all")
    async with simulated_binance(symbols=("BTC/USDT",)) as exchange:
        variables = {
            "INGEST_SYMBOLS": "BTC/USDT",
            "INGEST_REDIS_URL": f"redis://writer:secret@127.0.0.1:{redis_server.port}/0",
            "INGEST_STREAM_URL": exchange.stream_url,
            "INGEST_REST_URL": exchange.rest_url,
            "INGEST_SPILL_FOLDER": str(tmp_path),
        }
        process = await ingest("run", **variables)
        await eventually(lambda: redis.xlen(key))
        await redis.execute_command("ACL", "SETUSER", "writer", "-evalsha")
        while "what_to_do" not in (await asyncio.wait_for(process.stderr.readline(), 20)).decode():
            pass
        still_at_work = process.returncode is None
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        await redis.execute_command("ACL", "SETUSER", "writer", "+evalsha")
        before = await redis.xlen(key)
        successor = await ingest("run", **variables)
        await eventually(lambda: grown(redis, key, before))
        successor.send_signal(signal.SIGTERM)
        await successor.communicate()
    await redis.execute_command("ACL", "DELUSER", "writer")
    assert (still_at_work, process.returncode, "0 events are not written" in said.decode(), successor.returncode) == (
        True,
        1,
        True,
        0,
    )


async def grown(redis, key, before):
    return await redis.xlen(key) > before


async def test_an_audit_of_nothing_balances_and_one_without_redis_says_so(redis, redis_server):
    sound = await ingest("audit", INGEST_REDIS_URL=redis_server.url)
    said, _ = await sound.communicate()
    away = await ingest("audit", INGEST_REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    _, complaint = await away.communicate()
    assert (sound.returncode, said.decode().splitlines()[-1], away.returncode, complaint.decode()[:21]) == (
        0,
        "balanced",
        1,
        "no Redis to audit: Er",
    )


async def test_an_audit_for_machines_says_the_same_and_ends_with_1_if_anything_is_unaccounted_for(redis, redis_server):
    key = StreamKey("binance", "status")
    statuses = [Event(key, f"x.{i}", Status(state="live", reason="start"), "window") for i in range(3)]
    await redis.sadd(keys.EXCHANGES, "binance")
    await redis.eval(SCRIPT, *batch("g", statuses).arguments())
    said = []
    for _ in range(2):
        process = await ingest("audit", "--json", INGEST_REDIS_URL=redis_server.url)
        report, _ = await process.communicate()
        said.append((process.returncode, json.loads(report)["balanced"], json.loads(report)["streams"][0]["verdict"]))
        await redis.xtrim(str(key), maxlen=1, approximate=False)
    assert said == [(0, True, "not provable: no ids"), (1, False, "NOT BALANCED")]


async def test_a_port_that_is_taken_is_named():
    async with simulated_binance(symbols=("BTC/USDT",)) as exchange:
        port = exchange.stream_url.rpartition(":")[2]
        process = await ingest("simulate", "binance", "--port", port)
        _, said = await process.communicate()
    assert (process.returncode, port in said.decode()) == (2, True)


async def said(*arguments: str, **variables: str) -> tuple[int | None, str, str]:
    process = await ingest(*arguments, **variables)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_symbols_are_listed_and_switched(redis, redis_server):
    async with simulated_binance(symbols=("BTC/USDT", "ETH/USDT", "ETH/BTC")) as exchange:
        env = {"INGEST_REDIS_URL": redis_server.url, "INGEST_REST_URL": exchange.rest_url}
        answers = [
            await said("symbols", "binance", **env),
            await said("symbols", "binance", "--quote", "BTC", **env),
            await said("symbols", "binance", "--add", "ETH-BTC,BTC/USDT", "--remove", "ETH/USDT", **env),
            await said("symbols", "binance", "--add", "ETH/EUR", **env),
        ]
    control = await redis.hgetall("md:{binance}:control")
    assert ([(code, out) for code, out, _ in answers], control) == (
        [(0, "BTC/USDT\nETH/BTC\nETH/USDT\n"), (0, "ETH/BTC\n"), (0, ""), (2, "")],
        {b"ETH/BTC": b"on", b"BTC/USDT": b"on", b"ETH/USDT": b"off"},
    )


@pytest.mark.parametrize("name", sorted(EXCHANGES.keys() & DIALECTS.keys()))
async def test_every_exchange_lists_its_symbols_with_or_without_redis(name: str):
    async with simulated(name, symbols=("BTC/USDT", "ETH/USDT", "ETH/BTC"), rate=0) as exchange:
        env = {"INGEST_REDIS_URL": f"redis://127.0.0.1:{free_port()}", "INGEST_REST_URL": exchange.rest_url}
        code, out, _ = await said("symbols", name, "--quote", "usdt", **env)
    assert (code, out) == (0, "BTC/USDT\nETH/USDT\n")


@pytest.mark.parametrize("name", sorted(EXCHANGES.keys() & DIALECTS.keys()))
async def test_of_every_exchange_a_wrong_symbol_ends_the_worker_with_near_names(redis, name: str):
    async with simulated(name, symbols=("BTC/USDT", "ETH/USDT"), rate=0) as exchange:
        with pytest.raises(UnknownSymbols, match=rf"{name}: BTC/USTD is not traded, did you mean BTC/USDT"):
            await make_worker(redis, exchange, ("BTC/USTD",), name=name).run(asyncio.Event())


async def test_the_doctor_looks_at_several_exchanges(redis_server):
    async with simulated("kraken", symbols=("BTC/USDT",), rate=0) as exchange:
        env = {
            "INGEST_EXCHANGE": "kraken",
            "INGEST_SYMBOLS": "BTC/USDT",
            "INGEST_REDIS_URL": redis_server.url,
            "INGEST_STREAM_URL": exchange.stream_url,
            "INGEST_REST_URL": exchange.rest_url,
        }
        one = await said("doctor", "kraken", **env)
        unknown = await said("doctor", "kraken", "nowhere", **env)
    assert (
        [line.split()[1] for line in one[1].splitlines()],
        unknown[0],
        "there is no exchange 'nowhere'" in unknown[2],
    ) == (
        ["redis", "persistence", "memory", *["kraken"] * 4],
        2,
        True,
    )


async def test_the_doctors_exit_code_is_that_of_the_worst_row(redis, redis_server):
    async with simulated_binance(symbols=("BTC/USDT",)) as exchange:
        env = {
            "INGEST_REDIS_URL": redis_server.url,
            "INGEST_STREAM_URL": exchange.stream_url,
            "INGEST_REST_URL": exchange.rest_url,
        }
        well = await said("doctor", **env, INGEST_SYMBOLS="BTC/USDT")
        ill = await said("doctor", **env, INGEST_SYMBOLS="BTC/USD")
    verdicts = [line.split()[0] for line in well[1].splitlines()]
    assert (well[0], ill[0], verdicts) == (1, 2, ["ok", "warning", "warning", "ok", "ok", "ok", "ok"])


@pytest.mark.parametrize(
    ("fault", "why"),
    [("gpa:trades", "there are gap, garble"), ("gap:trades:SOL/USDT", "of symbols BTC/USDT, ETH/USDT")],
)
async def test_a_fault_that_cannot_be_is_told_what_there_is(fault: str, why: str):
    process = await ingest("simulate", "binance", "--fault", "drop@10s", "--fault", fault)
    _, said = await process.communicate()
    assert (process.returncode, why in said.decode()) == (2, True)
