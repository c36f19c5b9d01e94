"""A whole bus on one machine: Redis, exchanges (simulated or real), a worker for each, services, a live table."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from consumers.console.board import Figures, collect, plain, render
from deploy.local_redis import NoRedis, free_port, local_redis, wait_for_port
from deploy.processes import Process
from ingest.exchanges import EXCHANGES

_SETTLED_WITHIN_S = 15
_NEWS = 4
RATE = "100"
"""Market actions a second at each simulated exchange: five of them, their workers and the services fit on two cores."""
SERVICES = ("bot", "risk", "order", "position")

Source = str
"""`live`, `simulated`, or the folder of a recording."""

console = Console()


class Bus:
    """The processes of one demo, from the exchange to the services."""

    def __init__(self, folder: Path, redis_url: str, exchanges: tuple[str, ...], symbols: str, source: Source) -> None:
        self.redis_url = redis_url
        self.processes: list[Process] = []
        """All of them that were started, from the source to the last reader."""
        self.ledgers: list[Path] = []
        self._folder = folder
        self._symbols = symbols
        self._exchanges = exchanges
        self._source = source

    def start(self) -> None:
        """All of them, those of a kind at once. Raises what `wait_for_port` does."""
        ports = {} if self._source == "live" else {exchange: free_port() for exchange in self._exchanges}
        simulators = {self._simulate(exchange, port): port for exchange, port in ports.items()}
        for simulator, port in simulators.items():
            wait_for_port(port, simulator.alive)
        for exchange in self._exchanges:
            env = {"INGEST_EXCHANGE": exchange, "INGEST_SYMBOLS": self._symbols, "INGEST_REDIS_URL": self.redis_url}
            if port := ports.get(exchange, 0):
                env |= {"INGEST_STREAM_URL": f"ws://127.0.0.1:{port}", "INGEST_REST_URL": f"http://127.0.0.1:{port}"}
            self._start(f"{exchange} worker", "ingest", "run", env=env)
        for name in SERVICES:
            self._start(name, "consumers", "run", name, env={"CONSUMER_REDIS_URL": self.redis_url})

    def _simulate(self, exchange: str, port: int) -> Process:
        record = ["--replay", self._source]
        if self._source == "simulated":
            self.ledgers.append(self._folder / f"{exchange}.jsonl")
            record = ["--ledger", str(self.ledgers[-1])]
        arguments = ["--symbols", self._symbols, "--rate", RATE, "--port", str(port), *record]
        return self._start(f"simulated {exchange}", "ingest", "simulate", exchange, *arguments, env={})

    def _start(self, name: str, module: str, *arguments: str, env: Mapping[str, str]) -> Process:
        process = Process(name, self._folder, module, *arguments, env=env)
        self.processes.append(process)
        return process

    async def stop(self, redis: Redis) -> None:
        """From the source to the last reader, each once it has handled what came before it."""
        for process in self.processes:
            if process.name in SERVICES:
                await self._settled(redis, process.name)
            await asyncio.to_thread(process.end)

    async def _settled(self, redis: Redis, group: str) -> None:
        deadline = time.monotonic() + _SETTLED_WITHIN_S
        while time.monotonic() < deadline:
            figures = await collect(redis)
            if not any(lag.entries for lag in figures.lags if lag.group == group):
                return
            await asyncio.sleep(0.1)


def main(
    live: Annotated[bool, typer.Option(help="Real exchanges instead of simulated ones")] = False,
    exchanges: Annotated[str, typer.Option(help="Which ones, separated by commas")] = ",".join(sorted(EXCHANGES)),
    symbols: Annotated[str, typer.Option(help="What of them, separated by commas")] = "BTC/USDT,ETH/USDT",
    replay: Annotated[str, typer.Option(help="Recorded frames of this folder instead")] = "",
) -> None:
    """Run until Ctrl-C, or for SECONDS_TO_RUN."""
    seconds = float(os.environ.get("SECONDS_TO_RUN") or "inf")
    try:
        with local_redis("--maxmemory", "1gb") as server, _folder() as folder:
            console.print(f"Redis on port {server.port}, data and logs in {folder}", soft_wrap=True)
            source = "live" if live else replay or "simulated"
            bus = Bus(folder, server.url, tuple(exchanges.split(",")), symbols, source)
            try:
                bus.start()
                balanced = asyncio.run(_show(bus, seconds))
            finally:
                for process in reversed(bus.processes):
                    process.end()
            sys.exit(0 if balanced else 1)
    except NoRedis as none:
        sys.exit(str(none))


async def _show(bus: Bus, seconds: float) -> bool:
    stopping = asyncio.Event()
    for asked in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(asked, stopping.set)
    redis = Redis.from_url(bus.redis_url, retry=Retry(NoBackoff(), 0), protocol=2)
    try:
        await _watch(bus, redis, seconds, stopping)
        if dead := [process for process in bus.processes if process.died]:
            for process in dead:
                console.print(f"{process.name} ended by itself:\n{process.last_words()}", style="red", markup=False)
            return False
        console.print("stopping: the exchange first, then each reader once it has handled all before", soft_wrap=True)
        await bus.stop(redis)
        return await _audit(bus)
    finally:
        await redis.aclose()


async def _watch(bus: Bus, redis: Redis, seconds: float, stopping: asyncio.Event) -> None:
    """Show what goes on until the time is up, somebody asks to stop, or a process dies."""
    deadline = time.monotonic() + seconds
    news: list[str] = []
    with _shown() as show:
        while time.monotonic() < deadline and not stopping.is_set() and not any(p.died for p in bus.processes):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(1, max(0, deadline - time.monotonic()))):
                    await stopping.wait()
            fresh = [line for process in bus.processes for line in process.news()]
            news = [*news, *fresh][-_NEWS:]
            show(await collect(redis), news, fresh)


async def _audit(bus: Bus) -> bool:
    """The proof, printed by the command that anybody can run; whether it balances."""
    arguments = [argument for ledger in bus.ledgers for argument in ("--ledger", str(ledger))]
    audit = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ingest", "audit", *arguments, env={**os.environ, "INGEST_REDIS_URL": bus.redis_url}
    )
    return await audit.wait() == 0


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[Figures, list[str], list[str]], None]]:
    """A live table on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield _plainly
        return
    with Live(console=console, screen=False, auto_refresh=False) as live:

        def show(figures: Figures, news: list[str], _fresh: list[str]) -> None:
            lines = [Text(line, style="yellow", overflow="ellipsis", no_wrap=True) for line in news]
            live.update(
                Group(render(figures), *lines, Text("Ctrl-C stops everything and prints the audit", "dim")),
                refresh=True,
            )

        yield show


def _plainly(figures: Figures, _news: list[str], fresh: list[str]) -> None:
    for line in (*plain(figures), *fresh):
        print(line, flush=True)  # noqa: T201 - this is what the command is for


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tickbus-demo-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    typer.run(main)
