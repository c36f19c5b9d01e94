"""The `consume` command: the only place that reads settings and puts the parts together."""

import asyncio
import contextlib
import logging
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any, NoReturn

import structlog
import typer
from msgspec import structs
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from consumers import stored
from consumers.console import played
from consumers.console.ladder import plain, render, watch
from consumers.console.lag import as_json as lag_as_json
from consumers.console.lag import lags, table
from consumers.console.lines import Seen, as_json, as_line
from consumers.console.tail import follow, newest
from consumers.group import connect
from consumers.patience import MAX
from consumers.patterns import Patterns
from consumers.reader import Reader
from consumers.replay import Replay
from consumers.services import service as services
from consumers.services.bot import Bot
from consumers.services.order import Orders
from consumers.services.position import Positions
from consumers.services.service import Service
from consumers.services.strategy import EXAMPLE, BadStrategy, load_strategy
from consumers.settings import ConsumerSettings, WrongSettings, read_settings, redacted
from ingest.contract.keys import BadName, StreamKey, check_name, parse_symbol

WRONG_SETTINGS = 2

app = typer.Typer(help="Redis Streams in, effects out.", no_args_is_help=True, add_completion=False)
run = typer.Typer(help="Run a service until SIGINT or SIGTERM.", no_args_is_help=True)
app.add_typer(run, name="run")

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line")]


@run.command()
def bot(
    strategy: Annotated[str, typer.Option(help="module:Class, which the current folder may hold")] = EXAMPLE,
) -> None:
    """Show prices to a strategy, and append what it wishes as intents."""
    settings = _settings()
    try:
        kind = load_strategy(strategy)
    except BadStrategy as bad:
        _end(str(bad), WRONG_SETTINGS)
    _run(lambda redis: Bot(redis, settings.group or "bot", kind, account=settings.account), settings)


@run.command()
def position() -> None:
    """Keep what each account holds, and what it is worth, from fills and tickers."""
    settings = _settings()
    _run(lambda redis: Positions(redis, settings.group or "position"), settings)


@run.command()
def order() -> None:
    """Fill intents on paper against the live book."""
    settings = _settings()
    _run(lambda redis: Orders(redis, settings.group or "order"), settings)


@app.command()
def tail(
    pattern: Annotated[str, typer.Argument(help="EXCHANGE:CHANNEL:SYMBOL with * for any, or a key")] = "*",
    as_objects: AsJson = False,
    start: Annotated[str, typer.Option("--from", help="0, $ (from now on) or an entry's id")] = "$",
    latest: Annotated[bool, typer.Option("--latest", help="Only the newest entry of each stream")] = False,
) -> None:
    """Print entries as they are written; no group notices."""
    settings = _settings()
    if not re.fullmatch(r"\$|\d{1,19}(-\d{1,19})?", start):
        _end(f"--from {start!r} is no place in a stream; expected 0, $ or an id as in 1767225600000-0", WRONG_SETTINGS)
    try:
        patterns = Patterns([pattern])
    except BadName as bad:
        _end(str(bad), WRONG_SETTINGS)
    _until_stopped(
        lambda stopping: _tail(
            settings,
            as_objects,
            lambda redis: newest(redis, pattern, stopping) if latest else follow(redis, patterns, start, stopping),
        )
    )


@app.command()
def replay(
    streams: Annotated[list[str], typer.Argument(help="EXCHANGE:CHANNEL:SYMBOL with * for any, or keys")],
    start: Annotated[
        str, typer.Option("--from", help="start, an entry's id, a time (UTC), or -15m (s, m, h, d)")
    ] = "start",
    until: Annotated[str | None, typer.Option("--to", help="The same; unless given, what is there now")] = None,
    speed: Annotated[str, typer.Option(help="1 as it was written, 10 ten times as fast, or max")] = "max",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what is written meanwhile, without a hole")
    ] = False,
    as_objects: AsJson = False,
) -> None:
    """Print entries again from any place, merged by time; no group notices."""
    settings = _settings()
    _until_stopped(
        lambda stopping: _replay(
            settings,
            as_objects,
            lambda redis: Replay(
                redis, streams, start=start, until=until, speed=_speed(speed), follow=follow, stopping=stopping
            ),
        )
    )


@app.command()
def book(
    exchange: Annotated[str, typer.Argument(help="As in binance")],
    symbol: Annotated[str, typer.Argument(help="As in BTC/USDT")],
    depth: Annotated[int, typer.Option(min=1, max=1000, help="Levels a side")] = 10,
) -> None:
    """Show an order book as it stands: a ladder in a terminal, a line a second elsewhere."""
    settings = _settings()
    try:
        key = StreamKey(check_name(exchange), "orderbook", parse_symbol(symbol))
    except BadName as bad:
        _end(str(bad), WRONG_SETTINGS)
    _until_stopped(lambda stopping: _book(settings, key, depth, stopping))


@app.command()
def lag(as_objects: AsJson = False) -> None:
    """Print how many entries each group is behind on each stream."""
    settings = _settings()
    _until_stopped(lambda stopping: _lag(settings, as_objects))


def _run(make: Callable[[Redis], Service], settings: ConsumerSettings) -> None:
    _until_stopped(lambda stopping: _serve(make, settings, stopping))


async def _serve(make: Callable[[Redis], Service], settings: ConsumerSettings, stopping: asyncio.Event) -> None:
    redis = connect(str(settings.redis_url))
    service = make(redis)
    log = structlog.get_logger().bind(service=service.name)
    log.info("started", redis=redacted(str(settings.redis_url)), channels=" ".join(service.channels))
    reader = Reader(
        redis,
        group=service.name,
        consumer=settings.consumer or socket.gethostname(),
        channels=service.channels,
        exchanges=settings.exchanges,
        symbols=settings.symbols,
        block_ms=settings.block_ms,
        count=settings.count,
        claim_idle_ms=settings.claim_idle_ms,
    )
    try:
        async with reader:
            served = await services.run(service, reader, stopping)
        log.info("stopped", **structs.asdict(served))
    finally:
        await redis.aclose()


async def _tail(
    settings: ConsumerSettings, as_objects: bool, entries_of: Callable[[Redis], AsyncIterator[list[Seen]]]
) -> None:
    redis = connect(str(settings.redis_url))
    console = Console(highlight=False, soft_wrap=True)
    async for entries in entries_of(redis):
        if as_objects:
            typer.echo("\n".join(map(as_json, entries)))
        else:
            console.print(Text("\n").join(map(as_line, entries)))
    await redis.aclose()


async def _replay(settings: ConsumerSettings, as_objects: bool, make: Callable[[Redis], Replay]) -> None:
    redis = connect(str(settings.redis_url))
    try:
        asked = make(redis)
    except ValueError as wrong:
        _end(str(wrong), WRONG_SETTINGS)
    console = Console(highlight=False, soft_wrap=True)
    async for step in asked:
        if as_objects or not console.is_terminal:
            typer.echo(played.as_json(step) if as_objects else played.as_line(step).plain)
        else:
            console.print(played.as_line(step))
    await redis.aclose()
    if not asked.streams:
        _end("no stream has such a name; `consume tail` shows which there are", 1)


def _speed(text: str) -> float:
    """Raises ValueError."""
    if text == "max":
        return MAX
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text):
        raise ValueError(f"--speed {text!r} is no pace; expected max or a number such as 1 or 10")
    return float(text)


async def _book(settings: ConsumerSettings, key: StreamKey, depth: int, stopping: asyncio.Event) -> None:
    redis = connect(str(settings.redis_url))
    try:
        books = [each for each in await stored.streams(redis) if each.channel == key.channel]
    except (RedisError, OSError) as error:
        _end(f"no Redis at {redacted(str(settings.redis_url))}: {error}", 1)
    if key not in books:
        there = ", ".join(f"{each.exchange} {each.symbol}" for each in books) or "none"
        _end(f"no order book of {key.symbol} at {key.exchange}; there are: {there}", 1)
    console = Console(highlight=False)
    every_seconds = 0.25 if console.is_terminal else 1
    with Live(console=console, auto_refresh=False) if console.is_terminal else contextlib.nullcontext() as screen:
        async for seen in watch(redis, key, depth, every_seconds, stopping):
            if screen:
                screen.update(render(seen, depth), refresh=True)
            else:
                typer.echo(plain(seen))
    await redis.aclose()


async def _lag(settings: ConsumerSettings, as_objects: bool) -> None:
    redis = connect(str(settings.redis_url))
    try:
        found = await lags(redis)
    except (RedisError, OSError) as error:
        _end(f"no Redis at {redacted(str(settings.redis_url))}: {error}", 1)
    finally:
        await redis.aclose()
    if as_objects:
        for each in found:
            typer.echo(lag_as_json(each))
    elif found:
        Console(highlight=False).print(table(found))
    else:
        typer.echo("no group is registered; `consume run bot` starts one", err=True)


def _settings() -> ConsumerSettings:
    try:
        settings = read_settings()
    except WrongSettings as wrong:
        _end(str(wrong), WRONG_SETTINGS)
    _configure_log(settings.log_level)
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


def _configure_log(level: str) -> None:
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
