import json
import os
import signal
import subprocess
import sys

import pytest
import structlog
from typer.testing import CliRunner

from consumers.__main__ import app
from consumers.append import append
from consumers.services.strategy import EXAMPLE
from ingest.contract import keys
from ingest.contract.events import Event, Fill
from ingest.contract.keys import StreamKey
from tests.consumers.producing import BTC, ETH, blocked, put, reader, standing, take
from tests.consumers.services import scene
from tests.eventually import eventually

NOBODY = "redis://:s3cret@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _log_as_before():
    yield
    structlog.reset_defaults()


def consume(*arguments: str, url: str = NOBODY, **variables: str) -> tuple[int, str, str]:
    """Exit code, what it answered, what it said besides."""
    result = CliRunner().invoke(app, arguments, env={"CONSUMER_REDIS_URL": url, **variables})
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("lag",),
        ("tail",),
        ("replay", "*"),
        ("run", "bot"),
        ("run", "risk"),
        ("run", "order"),
        ("run", "position"),
        ("kill", "on"),
    ],
)
def test_wrong_settings_are_a_line_each_and_nothing_connects(command):
    code, answer, said = consume(*command, CONSUMER_COUNT="0", CONSUMER_BLOCK_MS="long")

    assert (code, answer, said.splitlines()) == (
        2,
        "",
        [
            "CONSUMER_BLOCK_MS: Input should be a valid integer, unable to parse string as an integer",
            "CONSUMER_COUNT: Input should be greater than or equal to 1",
        ],
    )


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("CONSUMER_FEES", "'x' says no fees; expected EXCHANGE:MAKER:TAKER, as in binance:0.0002:0.0004"),
        ("CONSUMER_MAX_POSITION", "'x' says no amount; expected SYMBOL:AMOUNT, as in BTC/USDT:0.5"),
    ],
)
def test_limits_and_fees_that_are_none_are_refused(variable, said):
    assert consume("run", "risk", **{variable: "x"}) == (2, "", f"{variable}: {said}\n")


@pytest.mark.slow
async def test_the_kill_switch_says_where_it_is_on(redis, redis_server):
    await put(redis, BTC, [1])
    said = [alone(redis_server.url, "kill", *step)[1:] for step in (["on", "kraken"], ["on"], ["off"])]
    assert said == [
        ("", "nothing is known of kraken; there are: binance\n"),
        ("the kill switch is on at *, at binance\n", ""),
        ("the kill switch is on nowhere\n", ""),
    ]


def test_a_kill_switch_of_no_exchange_is_refused():
    code, _, said = consume("kill", "on", "a b")
    assert (code, said[:30]) == (2, "'a b' is not a name of an exch")


@pytest.mark.slow
async def test_positions_whose_fills_are_gone_are_not_rebuilt(redis, redis_server):
    name = StreamKey("binance", "fills", "BTC/USDT")
    await append(redis, [scene.fill("a", "buy", "1", "1"), scene.fill("b", "buy", "1", "1")])
    await redis.xtrim(str(name), maxlen=1, approximate=False)
    assert alone(redis_server.url, "run", "position", "--rebuild") == (
        1,
        "",
        f"{name}: 1 fills are gone; nothing was changed, what is kept knows more\n",
    )


def test_a_place_to_begin_that_is_none_is_refused():
    assert consume("tail", "--from", "yesterday") == (
        2,
        "",
        "--from 'yesterday' is no place in a stream; expected 0, $ or an id as in 1767225600000-0\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("*", "--from", "yesterday"), "'yesterday' is no place in a stream; "),
        (("*", "--speed", "fast"), "--speed 'fast' is no pace; "),
        (("*", "--follow", "--to", "9"), "whoever follows "),
        (("*", "--follow", "--speed", "1"), "at a speed of 1 "),
        (("a:b:c:d",), "'a:b:c:d' names no streams; "),
    ],
)
def test_a_replay_that_makes_no_sense_is_refused(arguments, said):
    code, answer, words = consume("replay", *arguments)

    assert (code, answer, words[: len(said)]) == (2, "", said)


def test_streams_that_can_be_none_are_not_waited_for():
    code, _, said = consume("tail", "a:b:c:d")

    assert (code, said.partition(";")[0]) == (2, "'a:b:c:d' names no streams")


def test_a_strategy_that_is_none_is_refused():
    code, _, said = consume("run", "bot", "--strategy", "nowhere:Nothing")

    assert (code, said.partition(": ")[0]) == (2, "'nowhere:Nothing'")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--replay", "yesterday"), "'yesterday' is no place in a stream; "),
        (("--replay", "-1h", "--speed", "fast"), "--speed 'fast' is no pace; "),
        (("--recorded",), "--recorded says what to hear on history: give --replay, too"),
        (("--replay", "-1h", "--strategy", EXAMPLE, "--strategy", f"b={EXAMPLE}"), "--replay is of one strategy"),
    ],
)
def test_a_history_for_a_bot_that_makes_no_sense_is_refused(arguments, said):
    code, answer, words = consume("run", "bot", *arguments)

    assert (code, answer, words[: len(said)]) == (2, "", said)


def test_lag_without_redis_says_where_it_looked_and_not_the_password():
    code, _, said = consume("lag")

    assert code == 1
    assert said.startswith("no Redis at redis://:***@127.0.0.1:1/0: ")
    assert "s3cret" not in said


async def test_lag_is_a_table_or_json(redis, redis_server):
    await put(redis, BTC, range(1, 6))
    async with reader(redis) as trades:
        await take(trades, 5)
    await put(redis, BTC, range(6, 9))

    table = await answered(redis_server.url, "lag")
    objects = await answered(redis_server.url, "lag", "--json")

    assert table.splitlines()[-1].split()[:5] == ["alerts", "binance:trades:BTC/USDT", "8", "5", "3"]
    assert [json.loads(line)["lag"] for line in objects.splitlines()] == [3]


async def test_an_audit_is_a_table_or_json_and_its_exit_code_says_whether_it_balances(redis, redis_server):
    await put(redis, BTC, range(1, 5))
    async with reader(redis) as trades:
        await take(trades, 4)
    await put(redis, BTC, [5])
    balanced = start(redis_server.url, "audit")
    table, said = balanced.communicate(timeout=20)
    await redis.xgroup_setid(str(BTC), "alerts", "$")
    unbalanced = start(redis_server.url, "audit", "--json")
    objects, _ = unbalanced.communicate(timeout=20)

    assert (balanced.returncode, said) == (0, "unaccounted for: 0 entries\n")
    assert table.splitlines()[-1].split() == ["alerts", "binance:trades:BTC/USDT", "5", "4", "0", "0", "1", "balanced"]
    assert (unbalanced.returncode, json.loads(objects)["unaccounted"]) == (1, 1)


@pytest.mark.slow
async def test_tail_prints_what_is_written_until_it_is_interrupted(redis, redis_server):
    await put(redis, BTC, [1])
    people = start(redis_server.url, "tail", "md:*:trades:*", "--from", "0")
    programs = start(redis_server.url, "tail", "--json", "--from", "0")
    await eventually(lambda: both(redis, "xread"))
    await put(redis, BTC, [2])
    await eventually(lambda: both(redis, "xread"))
    shown, objects = (ended(process, signal.SIGINT) for process in (people, programs))

    assert (people.returncode, programs.returncode) == (0, 0)
    assert [line.split()[1:] for line in shown.splitlines()] == [
        f"binance trades BTC/USDT trade s={number} buy 0.5 @ 64000.10".split() for number in (1, 2)
    ]
    assert [json.loads(line)["data"]["received_ns"] for line in objects.splitlines()] == [1, 2]


@pytest.mark.slow
async def test_a_replay_is_byte_by_byte_what_it_was_and_ends(redis, redis_server):
    await put(redis, BTC, range(1, 301))
    await put(redis, ETH, range(1, 301))
    ways = (("--json",), ("--json", "--from", "-15m", "--speed", "1000"), ("binance:trades:*",))
    once, again, shown = [await answered(redis_server.url, "replay", "*:trades", *way) for way in ways]

    assert (once == again, len(shown.splitlines())) == (True, 600)
    assert [json.loads(line)["data"]["received_ns"] for line in once.splitlines()] == [*range(1, 301)] * 2


@pytest.mark.slow
async def test_a_replay_that_follows_says_when_it_is_live_and_ends_when_it_is_interrupted(redis, redis_server):
    await put(redis, BTC, [1])
    process = start(redis_server.url, "replay", "binance:trades:BTC/USDT", "--from", "-1h", "--follow", "--json")
    await eventually(lambda: blocked(redis, "xread"))
    await put(redis, BTC, [2])
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    ended(process, signal.SIGINT)

    assert ([line.get("s", line) for line in lines], process.returncode) == (
        ["1", {"live": True, "replayed": 1}, "2"],
        0,
    )


@pytest.mark.slow
async def test_a_replay_of_nothing_says_so(redis, redis_server):
    process = start(redis_server.url, "replay", "bybit")
    answer, said = process.communicate(timeout=20)

    words = "no stream has such a name; `consume tail` shows which there are\n"
    assert (process.returncode, answer, said) == (1, "", words)


@pytest.mark.slow
async def test_a_service_runs_until_it_is_terminated_and_leaves_nothing_pending(redis, redis_server):
    fills = StreamKey("binance", "fills", "BTC/USDT")
    body = Fill(
        fill_id="f",
        order_id="o",
        intent_id="i",
        account="paper",
        side="buy",
        price="3",
        amount="2",
        fees=(),
        liquidity="taker",
        exchange_ns=1,
        received_ns=1,
    )
    await append(redis, [Event(key=fills, s="f", body=body, rule="window")])
    process = start(redis_server.url, "run", "position")
    await eventually(lambda: redis.exists(keys.position("binance", "paper", "BTC/USDT")))
    ended(process, signal.SIGTERM)

    assert process.returncode == 0
    assert await standing(redis, fills, "position") == (1, 1, 0)


@pytest.mark.slow
async def test_a_service_waits_for_a_redis_that_is_not_there():
    process = start(NOBODY, "run", "order")
    lines = [json.loads(process.stderr.readline()) for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=10)

    assert [line["event"] for line in lines] == ["started", "no Redis", "no Redis"]
    assert process.returncode == 0
    assert "s3cret" not in f"{lines}{rest}"


def alone(url: str, *arguments: str) -> tuple[int, str, str]:
    """The same of a command that ends by itself, as a process of its own."""
    process = start(url, *arguments)
    answer, said = process.communicate(timeout=60)
    return process.returncode, answer, said


def start(url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "consumers", *arguments],
        env={**os.environ, "CONSUMER_REDIS_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], how: signal.Signals) -> str:
    """What it has printed until it ended."""
    process.send_signal(how)
    return process.communicate(timeout=10)[0]


async def answered(url: str, *arguments: str) -> str:
    return start(url, *arguments).communicate(timeout=20)[0]


async def both(redis, command: str) -> bool:
    return len(await blocked(redis, command)) == 2
