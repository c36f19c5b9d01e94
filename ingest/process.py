"""How a process of ours runs, a worker or a service: until it is asked to stop, telling people or machines."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import structlog
import typer


def until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run until the work ends, or SIGINT or SIGTERM asks it to."""

    async def main() -> None:
        stopping = asyncio.Event()
        for asked in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(asked, stopping.set)
        await work(stopping)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def log_to_stderr(level: str) -> None:
    """Readable lines for a person, JSON for a machine; both to stderr, stdout is for answers."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def end(message: str, code: int) -> NoReturn:
    """Say why on stderr, and be over."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on every platform; asyncio's own loop does the same, slower
        return None
    return uvloop.new_event_loop
