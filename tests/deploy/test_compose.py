"""The compose file: what it names is there; and, with an engine, the whole of it on simulated exchanges."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ingest.__main__ import app
from ingest.exchanges import EXCHANGES
from ingest.settings import read_settings
from tests.eventually import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
SERVICES = ("bot", "risk", "order", "position")
PROJECT = "tickbus-test"
SIMULATED = ("--env-file", str(DEPLOY / "env" / "sim.env"))
LEDGERS = [text for name in sorted(EXCHANGES) for text in ("--ledger", f"/var/lib/tickbus/ledgers/{name}.jsonl")]
_SETTLED_WITHIN_S = 120


def test_every_exchange_has_a_service_and_a_simulated_one_and_so_has_every_consumer():
    services = set(re.findall(r"^  ([a-z-]+):$", TEXT.partition("\nservices:")[2].partition("\nvolumes:")[0], re.M))
    assert services == {*EXCHANGES, *(f"sim-{name}" for name in EXCHANGES), *SERVICES, "redis"}


@pytest.mark.parametrize("name", sorted(EXCHANGES))
def test_what_a_worker_is_told_is_right(name, monkeypatch):
    for line in (DEPLOY / "env" / f"{name}.env").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            monkeypatch.setenv(*line.split("=", 1))
    assert read_settings().exchange == name


def test_simulated_exchanges_are_started_with_options_that_there_are():
    options = set(re.findall(r"--[a-z]+", " ".join(re.findall(r"\[ingest, simulate[^\]]+\]", TEXT))))
    said = CliRunner().invoke(app, ["simulate", "--help"], env={"COLUMNS": "200"}).output
    assert (len(options) > 3, sorted(option for option in options if option not in said)) == (True, [])


def compose(*arguments: str, may_fail: bool = False) -> str:
    """Its output."""
    command = ["docker", "compose", "--project-name", PROJECT, "-f", str(DEPLOY / "compose.yaml"), *SIMULATED]
    ran = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    if ran.returncode and not may_fail:
        raise AssertionError(f"docker compose {' '.join(arguments)}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}")
    return ran.stdout


@contextlib.contextmanager
def running() -> Iterator[None]:
    build = os.environ.get("COMPOSE_BUILD")
    if build:
        subprocess.run([build, "-q"], env={**os.environ, "COMPOSE_FILE": str(DEPLOY / "compose.yaml")}, check=True)
    else:
        compose("build", "-q")
    try:
        compose("up", "-d", "--scale", "binance=2", "--wait", "--wait-timeout", "180")
        yield
    finally:
        compose("--profile", "*", "down", "-v", "-t", "10")


def balanced() -> bool:
    """What the audit says, that knows the ledgers."""
    command = ("ingest", "audit", "--json", *LEDGERS)
    bus = ("-e", "INGEST_REDIS_URL=redis://redis:6379/0")
    report = json.loads(compose("run", "--rm", "-T", "--no-deps", *bus, "sim-binance", *command, may_fail=True))
    return report["balanced"] and not report["under_way"]


def reached() -> set[str]:
    """The exchanges of which entries have been handled."""
    lags = (json.loads(line) for line in compose("exec", "-T", "bot", "consume", "lag", "--json").splitlines())
    return {re.search(r"\{(.+)\}", lag["stream"])[1] for lag in lags if lag["handled"]}


def restarts(container: str) -> list[str]:
    form = "{{.RestartCount}} {{.State.Health.Status}}"
    return docker("inspect", "--format", form, container).split()


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=True).stdout.strip()


needs_an_engine = pytest.mark.skipif(
    not os.environ.get("COMPOSE_TEST") or not (os.environ.get("COMPOSE_BUILD") or shutil.which("docker")),
    reason="needs a Docker engine, and is asked for by `make compose-test`",
)


@needs_an_engine
@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_all_exchanges_reach_the_consumers_and_a_worker_that_crashes_comes_back():
    with running():
        await settled(lambda: reached() == set(EXCHANGES))
        crashed = compose("ps", "-q", "kraken").strip()
        # Not `docker kill`, which would count as a wish of ours.
        os.kill(int(docker("inspect", "--format", "{{.State.Pid}}", crashed)), signal.SIGKILL)
        await settled(lambda: restarts(crashed) == ["1", "healthy"])
        compose("stop", *(f"sim-{name}" for name in EXCHANGES))
        await settled(balanced)


async def settled(condition: Callable[[], bool]) -> None:
    await eventually(lambda: asyncio.to_thread(condition), _SETTLED_WITHIN_S)
