"""The `consume` command: the only place that reads settings and puts the parts together."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import structlog
import typer
from msgspec import structs
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from consumers import letters, stored
from consumers.console import dead, played
from consumers.console.ladder import plain, render, watch
from consumers.console.lag import as_json as lag_as_json
from consumers.console.lag import lags, table
from consumers.console.lines import Seen, as_json, as_line
from consumers.console.tail import follow, newest
from consumers.group import connect
from consumers.letters import Letter
from consumers.partition import ACCOUNT_PARTS
from consumers.patience import MAX
from consumers.patterns import Patterns
from consumers.reader import Reader
from consumers.replay import Replay
from consumers.services import killing
from consumers.services import service as services
from consumers.services.bot import Bot
from consumers.services.fees import fees
from consumers.services.limits import Limits, by_symbol
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.position import Positions
from consumers.services.risk import Risk
from consumers.services.service import Service
from consumers.services.strategy import EXAMPLE, BadStrategy, load_strategy
from consumers.settings import ConsumerSettings, WrongSettings, read_settings, redacted
from consumers.watchdog import end_if_stuck
from ingest.contract.keys import BadName, StreamKey, check_name, parse_symbol
from ingest.process import end, log_to_stderr, until_stopped

WRONG_SETTINGS = 2

app = typer.Typer(help="Redis Streams in, effects out.", no_args_is_help=True, add_completion=False)
run = typer.Typer(help="Run a service until SIGINT or SIGTERM.", no_args_is_help=True)
app.add_typer(run, name="run")
dlq = typer.Typer(help="Entries that a group could not handle.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")

OfExchange = Annotated[str, typer.Argument(help="As in binance")]
OfGroup = Annotated[str, typer.Argument(help="As in position")]
SomeLetters = Annotated[list[str] | None, typer.Argument(help="As `consume dlq list` names them")]
EveryLetter = Annotated[bool, typer.Option("--all", help="All of the group's")]


class Switch(StrEnum):
    """Where the kill switch is to be."""

    ON = "on"
    OFF = "off"


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
        end(str(bad), WRONG_SETTINGS)
    _run(lambda redis: Bot(redis, settings.group or "bot", kind, account=settings.account), settings)


@run.command()
def position() -> None:
    """Keep what each account holds, and what it is worth, from fills and tickers."""
    settings = _settings()
    _run(lambda redis: Positions(redis, settings.group or "position"), settings)


@run.command()
def risk() -> None:
    """Let intents become orders, or refuse them with a reason.

    Reads intents, orders and fills, the latest ticker, instruments and the kill switch; writes approved, and to orders
    what is refused.
    """
    settings = _settings()
    limits = Limits(
        order_amount=by_symbol(settings.max_amount),
        position=by_symbol(settings.max_position),
        order_notional=settings.max_value,
        exposure=settings.max_exposure,
        orders_per_s=settings.max_orders_per_s,
        price_band=settings.price_band,
        price_age_ms=settings.price_age_ms,
    )
    _run(lambda redis: Risk(redis, settings.group or "risk", limits=limits), settings)


@run.command()
def order() -> None:
    """Execute approved intents on paper, by real books and trades.

    Reads approved, trades and order books; writes orders and fills.
    """
    settings = _settings()
    venue = Paper(fees(settings.fees), settings.latency_ms * 1_000_000)
    _run(lambda redis: Orders(redis, settings.group or "order", venue=venue), settings)


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
        end(f"--from {start!r} is no place in a stream; expected 0, $ or an id as in 1767225600000-0", WRONG_SETTINGS)
    try:
        patterns = Patterns([pattern])
    except BadName as bad:
        end(str(bad), WRONG_SETTINGS)
    until_stopped(
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
    until_stopped(
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
        end(str(bad), WRONG_SETTINGS)
    until_stopped(lambda stopping: _book(settings, key, depth, stopping))


@app.command()
def kill(
    switch: Annotated[Switch, typer.Argument(help="on or off")],
    exchanges: Annotated[
        list[str] | None, typer.Argument(help="At these exchanges; at all there are and will be unless named")
    ] = None,
) -> None:
    """Switch all trading off, or on again: once this returns nothing becomes an order, and no order is filled."""
    settings = _settings()

    async def go(redis: Redis) -> None:
        is_on = await killing.switch(redis, list(map(check_name, exchanges or ())), on=switch is Switch.ON)
        typer.echo(f"the kill switch is on at: {', '.join(is_on) or 'no exchange'}")

    try:
        until_stopped(lambda _: _with_redis(settings, go))
    except BadName as bad:
        end(str(bad), WRONG_SETTINGS)


@app.command()
def lag(as_objects: AsJson = False) -> None:
    """Print how many entries each group is behind on each stream."""
    settings = _settings()
    until_stopped(lambda stopping: _lag(settings, as_objects))


@dlq.command("list")
def list_letters(
    exchange: Annotated[str, typer.Option(help="Of one exchange")] = "",
    group: Annotated[str, typer.Option(help="Of one group")] = "",
    as_objects: AsJson = False,
) -> None:
    """Print all dead letters, a line each."""
    settings = _settings()
    until_stopped(lambda _: _with_redis(settings, lambda redis: _list_letters(redis, exchange, group, as_objects)))


@dlq.command()
def show(
    exchange: OfExchange, group: OfGroup, letter: Annotated[str, typer.Argument()], as_object: AsJson = False
) -> None:
    """Print one dead letter, with all that is known of it."""
    settings = _settings()
    until_stopped(
        lambda _: _with_redis(settings, lambda redis: _show_letter(redis, exchange, group, letter, as_object))
    )


@dlq.command()
def redrive(exchange: OfExchange, group: OfGroup, some: SomeLetters = None, every: EveryLetter = False) -> None:
    """Have the group handle dead letters after all, as the entries that they were."""
    _with_letters(letters.redrive, "redriven", exchange, group, some, every)


@dlq.command()
def drop(exchange: OfExchange, group: OfGroup, some: SomeLetters = None, every: EveryLetter = False) -> None:
    """Forget dead letters."""
    _with_letters(letters.drop, "dropped", exchange, group, some, every)


def _with_letters(
    do: Callable[[Redis, Letter], Awaitable[bool]],
    done: str,
    exchange: str,
    group: str,
    some: list[str] | None,
    every: bool,
) -> None:
    if bool(some) == every:
        end("which letters? name them, as `consume dlq list` does, or say --all", WRONG_SETTINGS)
    settings = _settings()

    async def go(redis: Redis) -> None:
        async for letter in _letters(redis, exchange, group, some):
            typer.echo(f"{letter.id} {done if await do(redis, letter) else 'is gone'}")

    until_stopped(lambda _: _with_redis(settings, go))


async def _letters(redis: Redis, exchange: str, group: str, some: list[str] | None) -> AsyncIterator[Letter]:
    if some is None:
        async for letter in letters.found(redis, exchange, group):
            yield letter
    for letter_id in some or ():
        yield await _letter(redis, exchange, group, letter_id)


async def _letter(redis: Redis, exchange: str, group: str, letter_id: str) -> Letter:
    if not re.fullmatch(r"\d{1,19}-\d{1,19}", letter_id):
        end(f"{letter_id!r} is no letter; expected an id as in 1767225600000-0", WRONG_SETTINGS)
    letter = await letters.one(redis, exchange, group, letter_id)
    return letter or end(f"no letter {letter_id} of the group {group} at {exchange}", 1)


async def _list_letters(redis: Redis, exchange: str, group: str, as_objects: bool) -> None:
    found = [letter async for letter in letters.found(redis, exchange, group)]
    if as_objects:
        for letter in found:
            typer.echo(dead.as_json(letter))
    elif found:
        Console(highlight=False).print(dead.table(found))
    else:
        typer.echo("no dead letters", err=True)


async def _show_letter(redis: Redis, exchange: str, group: str, letter_id: str, as_object: bool) -> None:
    letter = await _letter(redis, exchange, group, letter_id)
    typer.echo(dead.as_json(letter) if as_object else "\n".join(dead.lines(letter)))


async def _with_redis(settings: ConsumerSettings, do: Callable[[Redis], Awaitable[None]]) -> None:
    redis = connect(str(settings.redis_url))
    try:
        await do(redis)
    except (RedisError, OSError) as error:
        end(f"no Redis at {redacted(str(settings.redis_url))}: {error}", 1)
    finally:
        await redis.aclose()


def _run(make: Callable[[Redis], Service], settings: ConsumerSettings) -> None:
    until_stopped(lambda stopping: _serve(make, settings, stopping))


async def _serve(make: Callable[[Redis], Service], settings: ConsumerSettings, stopping: asyncio.Event) -> None:
    redis = connect(str(settings.redis_url))
    service = make(redis)
    log = structlog.get_logger().bind(service=service.name)
    log.info("started", redis=redacted(str(settings.redis_url)), channels=" ".join(service.channels))
    over = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(end_if_stuck(settings.time_limit_s, over))
            try:
                async with asyncio.TaskGroup() as serving:
                    for reader in _readers(redis, service, settings):
                        serving.create_task(_read(service, reader, settings, stopping))
            finally:
                over.set()
    finally:
        await redis.aclose()


async def _read(service: Service, reader: Reader, settings: ConsumerSettings, stopping: asyncio.Event) -> None:
    async with reader:
        served = await services.run(service, reader, stopping, time_limit_s=settings.time_limit_s)
    structlog.get_logger().info("stopped", service=service.name, **structs.asdict(served))


def _readers(redis: Redis, service: Service, settings: ConsumerSettings) -> list[Reader]:
    """One, but for a service that is several groups."""
    several = service.partition == "account"
    return [
        Reader(
            redis,
            group=f"{service.name}.{part}" if several else service.name,
            consumer=settings.consumer or socket.gethostname(),
            partition=service.partition,
            part=part,
            channels=service.channels,
            exchanges=settings.exchanges,
            symbols=settings.symbols,
            block_ms=settings.block_ms,
            count=settings.count,
            in_hand=settings.in_hand,
            claim_idle_ms=settings.claim_idle_ms,
            lease_ms=settings.lease_ms,
        )
        for part in range(ACCOUNT_PARTS if several else 1)
    ]


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
        end(str(wrong), WRONG_SETTINGS)
    console = Console(highlight=False, soft_wrap=True)
    async for step in asked:
        if as_objects or not console.is_terminal:
            typer.echo(played.as_json(step) if as_objects else played.as_line(step).plain)
        else:
            console.print(played.as_line(step))
    await redis.aclose()
    if not asked.streams:
        end("no stream has such a name; `consume tail` shows which there are", 1)


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
        end(f"no Redis at {redacted(str(settings.redis_url))}: {error}", 1)
    if key not in books:
        there = ", ".join(f"{each.exchange} {each.symbol}" for each in books) or "none"
        end(f"no order book of {key.symbol} at {key.exchange}; there are: {there}", 1)
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
        end(f"no Redis at {redacted(str(settings.redis_url))}: {error}", 1)
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
        end(str(wrong), WRONG_SETTINGS)
    log_to_stderr(settings.log_level)
    return settings


def main() -> None:
    """The entry point of the command."""
    app()


if __name__ == "__main__":
    main()
