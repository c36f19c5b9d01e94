"""The demo, as a person without a terminal runs it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.eventually import eventually

PROCESSES = Path("/proc")

pytestmark = pytest.mark.slow


async def demo(seconds: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.demo",
        env={**os.environ, "SECONDS_TO_RUN": seconds},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


def children(pid: int) -> dict[str, int]:
    """What that process has started, by the words of its command."""
    found = {}
    for process in PROCESSES.glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[" ".join((process / "cmdline").read_text().split("\0")[2:5]).strip()] = int(process.name)
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return found


def told(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    words = (PROCESSES / str(pid) / "environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


async def test_the_demo_runs_a_whole_bus_and_its_audit_balances():
    process = await demo("4")
    said, _ = await process.communicate()
    lines = said.decode().splitlines()
    assert (process.returncode, lines[-1], any("trades:BTC-USDT" in line for line in lines)) == (0, "balanced", True)


@pytest.mark.skipif(not PROCESSES.is_dir(), reason="needs /proc to find the worker")
async def test_a_worker_that_dies_is_noticed_and_named():
    process = await demo("60")
    await eventually(lambda: "ingest run" in children(process.pid))
    worker = children(process.pid)["ingest run"]
    name = told(worker)["INGEST_EXCHANGE"]
    os.kill(worker, signal.SIGKILL)
    said, _ = await process.communicate()
    ended = [line for line in said.decode().splitlines() if "ended by itself" in line]
    assert (process.returncode, ended) == (1, [f"{name} worker ended by itself:"])


async def test_a_demo_that_is_asked_to_stop_prints_its_audit():
    process = await demo("60")
    while b"entries/s" not in await process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    said, _ = await process.communicate()
    assert (process.returncode, said.decode().splitlines()[-1]) == (0, "balanced")
