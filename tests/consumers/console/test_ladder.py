import asyncio
import io
import os
import pty
import signal
import subprocess
import sys
from decimal import Decimal

import pytest
from rich.console import Console

from consumers.append import append
from consumers.book import Level, LiveBook
from consumers.console.ladder import Ladder, look, plain, render
from tests.consumers.services.scene import book, key, ticker
from tests.eventually import eventually

BOOK = key("orderbook")


def level(price, amount):
    return Level(Decimal(price), Decimal(amount))


LADDER = Ladder(
    key=BOOK,
    live=True,
    as_of="1767225600250-0",
    bids=[level("99.5", "2"), level("99", "1")],
    asks=[level("100.50", "4")],
    last="100.1",
)


def shown(ladder, depth):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(ladder, depth))
    return [line.split() for line in console.export_text().splitlines()]


def test_a_ladder_has_asks_above_bids_and_always_as_many_lines():
    assert shown(LADDER, 2) == [
        ["00:00:00.250", "binance", "BTC/USDT", "live", "99.5", "x", "2", "|", "100.50", "x", "4", "last", "100.1"],
        [],
        [],
        ["100.50", "4", "4", "█" * 24],
        ["1.00", "spread"],
        ["99.5", "2", "2", "█" * 12],
        ["99", "1", "3", "█" * 6],
    ]


@pytest.mark.parametrize(
    ("ladder", "line"),
    [
        (LADDER, "00:00:00.250  binance BTC/USDT  live  99.5 x 2 | 100.50 x 4  last 100.1"),
        (Ladder(key=BOOK, live=False, as_of="0-0"), "00:00:00.000  binance BTC/USDT  not live: no snapshot yet  - | -"),
        (
            Ladder(key=BOOK, live=False, as_of="1-0", trouble="odd"),
            "00:00:00.001  binance BTC/USDT  not live: odd  - | -",
        ),
    ],
)
def test_a_ladder_is_a_line_without_a_terminal(ladder, line):
    assert plain(ladder) == line


async def test_a_look_is_the_book_and_the_last_price_as_they_stand(redis):
    await append(
        redis,
        [
            book(7, bids=(("99", "1"), ("98", "2")), asks=(("101", "3"),)),
        ],
    )
    await append(redis, [ticker(1, last="100.5")])
    seen = await look(redis, LiveBook(BOOK), 1)

    assert (seen.live, seen.bids, seen.asks, seen.last, seen.trouble) == (
        True,
        [level("99", "1")],
        [level("101", "3")],
        "100.5",
        "",
    )


async def test_an_entry_of_a_later_schema_is_the_reason_why_it_is_not_live(redis):
    await append(redis, [book(7)])
    live = LiveBook(BOOK)
    await look(redis, live, 1)
    await redis.xadd(str(BOOK), {"v": "2", "type": "delta", "n": "2", "g": "g", "s": "8", "data": b"\x80"})
    seen = await look(redis, live, 1)

    assert (seen.live, seen.trouble) == (False, "schema version b'2'; this reader knows b'1'")


def started(url, *arguments, **streams):
    return subprocess.Popen(
        [sys.executable, "-m", "consumers", "book", *arguments],
        env={**os.environ, "CONSUMER_REDIS_URL": url, "COLUMNS": "80", "LINES": "40", "TERM": "xterm"},
        stderr=subprocess.PIPE,
        **streams,
    )


@pytest.mark.slow
async def test_the_command_prints_a_line_a_second_and_ends_in_order(redis, redis_server):
    await append(redis, [book(7)])
    process = started(redis_server.url, "binance", "BTC/USDT", stdout=subprocess.PIPE, text=True)
    line = await asyncio.to_thread(process.stdout.readline)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)

    assert line.split("  ")[1:] == ["binance BTC/USDT", "live", "99 x 1 | 101 x 1\n"]
    assert (process.returncode, errors) == (0, "")


@pytest.mark.slow
async def test_the_command_draws_a_ladder_in_a_terminal_and_leaves_it_in_order(redis, redis_server):
    await append(redis, [book(7)])
    ours, theirs = pty.openpty()
    process = started(redis_server.url, "binance", "BTC/USDT", "--depth", "3", stdout=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    drawn = b""

    def read(until):
        nonlocal drawn
        try:
            drawn += os.read(ours, 1 << 16)
        except BlockingIOError:
            pass
        except OSError:
            return True
        return until in drawn

    await eventually(lambda: read("█".encode()))
    process.send_signal(signal.SIGINT)
    await eventually(lambda: process.poll() is not None)
    await eventually(lambda: read(b"\x1b[?25h"))
    _, errors = process.communicate()
    os.close(ours)

    assert (process.returncode, errors) == (0, b"")


@pytest.mark.slow
async def test_a_book_that_does_not_exist_is_named_with_those_that_do(redis, redis_server):
    await append(redis, [book(7)])
    process = started(redis_server.url, "binance", "BTC/USD", stdout=subprocess.PIPE, text=True)
    answer, said = process.communicate(timeout=20)

    assert (process.returncode, answer, said) == (
        1,
        "",
        "no order book of BTC/USD at binance; there are: binance BTC/USDT\n",
    )
