"""`make bench`: what each stage costs on this machine, beside the straightforward way, as a table."""

import asyncio
import logging
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog
import uvloop

from consumers import connect
from deploy.local_redis import LocalRedis, NoRedis, local_redis
from tests.benchmarks import costs, plain, stages
from tests.benchmarks.latency import Latency, latencies
from tests.benchmarks.measuring import Cost, middle
from tests.benchmarks.recording import SYMBOLS, Recording, record
from tests.benchmarks.scene import Scene, events
from tests.benchmarks.sender import Sender, sender

_ROUNDS = 40
_REPETITIONS = 3
_WITHIN_SECONDS = 60
"""No stage takes a tenth of it."""

Stage = Callable[[Scene], Awaitable[Cost]]


class Row(NamedTuple):
    """A stage, and the straightforward way to the same end."""

    name: str
    ours: Stage
    plain: Stage | None = None


ROWS = (
    Row("decode: frame → event, books kept", stages.decode, plain.decode),
    Row("encode: events → calls of 500", stages.pack),
    Row("append: events → Redis", stages.append, plain.append),
    Row("the server's limit for these calls", stages.limit),
    Row("line: WebSocket → Redis", stages.line, plain.line),
    Row("reader: Redis → handler, shared", stages.read, plain.read),
    Row("reader: Redis → handler, owned", stages.read_owned, plain.read),
    Row("service: Redis → handler, owned", stages.serve),
    Row("service: effect and ack in one step", stages.commit),
    Row("snapshot of a book", stages.snapshot),
)


def main() -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    recording = record(_ROUNDS)
    try:
        with local_redis("--maxmemory", "1gb") as server, sender(recording) as exchange:
            uvloop.run(_run(server, exchange, recording))
    except NoRedis as none:
        sys.exit(str(none))


async def _run(server: LocalRedis, exchange: Sender, recording: Recording) -> None:
    redis = connect(server.url)
    scene = Scene(recording, events(recording), redis, exchange)
    about = await redis.info("server")
    size = sum(map(len, recording.frames)) // len(recording.frames)
    _say(
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, "
        f"{about.get('server_name', 'redis')} {about.get('valkey_version', about['redis_version'])}; "
        f"{len(recording.frames):,} frames of {size} bytes, {len(SYMBOLS)} symbols; medians of {_REPETITIONS}"
    )
    measured: dict[Stage, list[Cost]] = {}
    for _ in range(_REPETITIONS):
        for row in ROWS:
            for stage in (row.ours, row.plain):
                if stage:
                    async with asyncio.timeout(_WITHIN_SECONDS):
                        measured.setdefault(stage, []).append(await stage(scene))
    _print({stage: middle(several) for stage, several in measured.items()})
    for latency in await latencies(scene, server.url):
        _say(_latency(latency))
    await redis.aclose()


def _print(middles: dict[Stage, Cost]) -> None:
    heads = ("events/s", "CPU µs", "server µs", "plain events/s", "CPU µs", "server µs", "events/s", "CPU")
    _line("", heads)
    for name, ours, straightforward in ROWS:
        cost = middles[ours]
        cells: tuple[str, ...] = (f"{cost.rate:,.0f}", f"{cost.own_us:.1f}", f"{cost.server_us:.1f}")
        if straightforward:
            other = middles[straightforward]
            cells += (f"{other.rate:,.0f}", f"{other.own_us:.1f}", f"{other.server_us:.1f}")
            cells += (f"× {cost.rate / other.rate:.2f}", f"× {cost.own_us / other.own_us:.2f}")
        _line(name, cells)
    _line("line, share of the server's limit", (f"{middles[stages.line].rate / middles[stages.limit].rate:.0%}",))


def _line(name: str, cells: tuple[str, ...]) -> None:
    _say(f"{name:37}" + "".join(f"{cell:>15}" if i in (0, 3) else f"{cell:>10}" for i, cell in enumerate(cells)))


def _latency(latency: Latency) -> str:
    name = f"latency at {latency.rate:,}/s, socket → handler"
    return f"{name:42}p50 {latency.p50:.2f} ms, p99 {latency.p99:.2f} ms, p99.9 {latency.p999:.2f} ms"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is what the command is for


if __name__ == "__main__":
    costs.main() if sys.argv[1:] == ["costs"] else main()
