"""The `ingest` command: the only place that reads settings and puts the parts together."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import structlog
import typer
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ingest.backoff import Backoff
from ingest.connection import AttemptsUsedUp, Patience
from ingest.exchanges import EXCHANGES
from ingest.exchanges.exchange import Stop
from ingest.exchanges.symbols import UnknownSymbols
from ingest.limits import TokenBucket
from ingest.metrics import serve_metrics
from ingest.publisher import CannotAppend, Publisher
from ingest.rest import Rest
from ingest.settings import IngestSettings, WrongSettings, read_settings
from ingest.worker import Worker

WRONG_SETTINGS = 2
ATTEMPTS_USED_UP = 3

app = typer.Typer(help="Exchange WebSockets in, Redis Streams out.", no_args_is_help=True, add_completion=False)


@app.command()
def run() -> None:
    """Run one exchange's worker; all it is told stands in INGEST_* variables."""
    settings = _settings()
    _log(settings.log_level)
    try:
        _until_stopped(lambda stopping: _work(settings, stopping))
    except UnknownSymbols as wrong:
        _end(str(wrong), WRONG_SETTINGS)
    except AttemptsUsedUp as used_up:
        _end(str(used_up), ATTEMPTS_USED_UP)
    except (CannotAppend, Stop) as hopeless:
        _end(str(hopeless), 1)


async def _work(settings: IngestSettings, stopping: asyncio.Event) -> None:
    exchange = EXCHANGES[settings.exchange]()
    redis = _redis(settings.bus())
    publisher = Publisher(redis, exchange.name, bound=settings.buffer_events)
    rest = Rest(
        _address(settings.rest_url, exchange.rest_url), TokenBucket(exchange.weight_at_once, exchange.weight_per_s)
    )
    backoff = Backoff(settings.retry_first_s, settings.retry_most_s, settings.retry_factor, settings.retry_jitter)
    worker = Worker(
        exchange,
        symbols=settings.symbols,
        channels=settings.channels,
        stream_url=_address(settings.stream_url, exchange.stream_url),
        patience=Patience(
            settings.timeout_s,
            settings.ping_every_s,
            settings.pong_within_s,
            backoff,
            settings.attempts,
            settings.max_frame_bytes,
        ),
        publisher=publisher,
        rest=rest,
    )
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, worker, publisher)
    try:
        await worker.run(stopping)
    finally:
        await redis.aclose()


def _redis(url: str) -> Redis:
    """A client that never retries on its own: a silent second try could double what the first one did."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5, socket_connect_timeout=5)


def _address(override: object, own: str) -> str:
    return str(override).rstrip("/") if override else own


def _settings() -> IngestSettings:
    try:
        settings = read_settings()
        settings.bus()
    except WrongSettings as wrong:
        _end(str(wrong), WRONG_SETTINGS)
    except OSError as unreadable:
        _end(f"INGEST_REDIS_URL_FILE: {unreadable}", WRONG_SETTINGS)
    return settings


def _until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run until the work ends, or SIGINT or SIGTERM asks it to."""

    async def main() -> None:
        stopping = asyncio.Event()
        for asked in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(asked, stopping.set)
        await work(stopping)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on every platform; asyncio's own loop does the same, slower
        return None
    return uvloop.new_event_loop


def _log(level: str) -> None:
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


def _end(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def main() -> None:
    """The entry point of the command."""
    app()


if __name__ == "__main__":
    main()
