"""The programs of consumers/README.md, taken from there and run as they stand."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import consumers
from consumers import LiveBook, stored
from consumers.append import append
from ingest.audit import audit
from ingest.contract import keys
from ingest.contract.keys import StreamKey
from ingest.simulator.server import simulated_binance
from tests.consumers.producing import BTC, put
from tests.consumers.test_book import KEY as BOOK
from tests.consumers.test_book import delta, gap, snapshot
from tests.end_to_end.running import working
from tests.eventually import eventually

# The first test of a language gets its packages, or compiles.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
HERE = Path(__file__).parent
README = (Path(consumers.__file__).parent / "README.md").read_text(encoding="utf-8")
GO_PACKAGES = Path("/usr/share/gocode")
GROUP = "elsewhere"


def block(language, name=""):
    """The code there in that language, which begins with that name."""
    return re.search(rf"^```{language}\n((?:// )?{re.escape(name)}.*?)^```", README, re.DOTALL | re.MULTILINE)[1]


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """Says how to run a program of Node.js, with its packages."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not here: no node and npm on PATH")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    got = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True
    )
    if got.returncode and "CI" not in os.environ:
        pytest.skip(f"npm cannot get its packages: {got.stderr[-200:]}")
    assert got.returncode == 0, got.stderr
    for name in ("reader.mjs", "book.mjs"):
        (folder / name).write_text(block("js", name), encoding="utf-8")
    return lambda name, *arguments: ["node", str(folder / name), *arguments]


@pytest.fixture(scope="session")
def go(tmp_path_factory):
    """The reader as a program, made with the packages that Debian has."""
    if not (shutil.which("go") and (GO_PACKAGES / "src/github.com/gomodule/redigo").exists()):
        pytest.skip("Go is not here: no go on PATH with redigo and msgpack in /usr/share/gocode")
    folder = tmp_path_factory.mktemp("go")
    (folder / "reader.go").write_text(block("go", "reader.go"), encoding="utf-8")
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOCACHE": str(folder / "cache")}
    subprocess.run(["go", "build", "-o", "reader", "reader.go"], cwd=folder, env=env, check=True, timeout=50)
    return [str(folder / "reader")]


class Client:
    """The reader of one language: how it is started, and what its lines say."""

    def __init__(self, url, language, program):
        self.name = f"{language}-1"
        self._json = language == "node"
        address = url if self._json else urlsplit(url).netloc
        self._command = [*program, address, "binance", "trades", "BTC-USDT", GROUP]
        self.errors = ""

    @contextlib.contextmanager
    def running(self):
        """What it has read so far, each trade as (n, s, price, received_ns); it is killed at the end."""
        process = self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(process.stdout.fileno(), False)
        written = bytearray()

        def read():
            if not process.stdout.closed:
                written.extend(process.stdout.read() or b"")
            return [self._trade(line) for line in written.decode().splitlines(keepends=True) if line.endswith("\n")]

        try:
            yield read
        finally:
            process.kill()
            rest, errors = process.communicate(timeout=10)
            written.extend(rest)
            self.errors = errors.decode()

    def _trade(self, line):
        if self._json:
            said = json.loads(line)
            return said["n"], said["s"], said["data"]["price"], int(said["data"]["received_ns"])
        n, s, price, _, received_ns = line.split()
        return int(n), s, price, int(received_ns)


@pytest.fixture(params=["node", "go"])
def client(request, redis_server):
    made = request.getfixturevalue(request.param)
    return Client(redis_server.url, request.param, made("reader.mjs") if request.param == "node" else made)


async def written(redis):
    return [
        (entry.n, entry.s, entry.event.price, entry.event.received_ns)
        async for entry in stored.entries(redis, BTC, after="0-0")
    ]


async def test_it_reads_a_running_bus_to_the_last_digit_and_the_audit_counts_it(redis, client):
    async with simulated_binance(symbols=("BTC/USDT",), rate=300) as exchange:
        async with working(redis, exchange, ("BTC/USDT",), channels=("trades",)):
            with client.running() as read:
                await eventually(lambda: len(read()) > 100)
                exchange.stopping.set()
                await eventually(lambda: all_read(redis, read))
                await eventually(lambda: settled(redis))
                seen = read()
    report = await audit(redis, [], time.time_ns())
    group = next(each for each in report.groups if each.group == GROUP)

    assert seen == await written(redis)
    assert (group.effected, group.pending, group.missing, client.errors) == (len(seen), 0, 0, "")


async def all_read(redis, read):
    return len(read()) == await redis.xlen(str(BTC))


async def settled(redis):
    return (await redis.xpending(str(BTC), GROUP))["pending"] == 0


async def test_what_it_was_given_before_it_died_comes_first(redis, client):
    await put(redis, BTC, range(1, 11))
    await redis.xgroup_create(str(BTC), GROUP, "0")
    await redis.xreadgroup(GROUP, client.name, {str(BTC): ">"}, count=4)

    with client.running() as read:
        await eventually(lambda: len(read()) == 10)
        await eventually(lambda: settled(redis))
        seen = read()

    assert (seen, client.errors) == (await written(redis), "")


async def test_after_it_is_killed_it_goes_on_where_it_was(redis, client):
    await put(redis, BTC, range(1, 2001))
    with client.running() as first:
        await eventually(lambda: len(first()) > 100)
    with client.running() as second:
        await eventually(lambda: second() and settled_to(redis, 2000))

    assert sorted({n for n, *_ in (*first(), *second())}) == [*range(1, 2001)]
    assert (await handled(redis), await settled(redis), client.errors) == ([2000, 2000], True, "")


async def handled(redis):
    """Number of the newest entry that the group has handled, and how many in all."""
    words = await redis.hget(keys.handled("binance", GROUP), str(BTC))
    return [*map(int, words.split()[1:3])] if words else []


async def settled_to(redis, n):
    return (await handled(redis))[:1] == [n]


async def test_a_hole_in_n_is_told(redis, client):
    await put(redis, BTC, range(1, 11))
    ids = [entry_id for entry_id, _ in await redis.xrange(str(BTC))]
    await redis.xdel(str(BTC), *ids[4:6])

    with client.running() as read:
        await eventually(lambda: len(read()) == 8)

    assert "2 entries are missing before " + ids[6].decode() in client.errors


async def test_an_entry_of_a_later_schema_stops_it_and_is_not_acknowledged(redis, client):
    await put(redis, BTC, [1])
    await redis.xadd(str(BTC), {"v": "2", "type": "trade", "n": "2", "g": "g", "s": "2", "data": b"\x80"})

    with client.running() as read:
        await eventually(lambda: len(read()) == 1)
        await eventually(lambda: client.process.poll() is not None)

    pending = (await redis.xpending(str(BTC), GROUP))["pending"]
    assert (len(read()), pending, "is of version 2" in client.errors) == (1, 1, True)


async def test_a_book_late_is_the_book(redis, redis_server, node):
    said, ours = [], []
    for events in (
        [snapshot(1), delta(2, bids=(("98", "2"), ("99", "0.00")))],
        [delta(3, asks=(("100.50", "1"),))],
        [gap(4, 4)],
        [snapshot(5), delta(6, bids=(("99.5", "1"),))],
    ):
        await append(redis, events)
        said.append(json.loads(await printed(*node("book.mjs", redis_server.url, str(BOOK)))))
        live = LiveBook(BOOK)
        await live.refresh(redis)
        bids, asks = live.book.written()
        best = [list(side[0]) for side in (bids, asks)]
        ours.append({"live": live.live, "as_of": (await redis.xrevrange(str(BOOK), count=1))[0][0].decode()})
        ours[-1] |= dict(zip(("bid", "ask"), best, strict=True))

    assert said == ours


async def test_what_is_said_at_a_terminal_works(redis, redis_server):
    if not shutil.which("redis-cli"):
        pytest.skip("redis-cli is not here")
    await put(redis, StreamKey("binance", "trades", "BTC/USDT"), [7])
    commands = block("sh").replace("redis-cli", f"redis-cli -p {urlsplit(redis_server.url).port}")
    lines = (await printed("bash", "-euc", commands)).splitlines()

    entry_id = (await redis.xrange(str(BTC)))[0][0].decode()
    assert (lines[:3], lines.count("trade"), lines.count("7"), lines.count(entry_id)) == (
        [str(BTC), "1", "OK"],
        2,
        2,
        4,
    )


async def printed(*command):
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode(errors="replace")
