"""`consume run`: a service, until it is asked to stop."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import structlog
import typer
from msgspec import structs
from redis.asyncio import Redis

from consumers import stored
from consumers.commands.given import FAILED, WRONG_SETTINGS, AsJson, ask, look_on, settings
from consumers.commands.rehearsing import rehearse
from consumers.partition import ACCOUNT_PARTS
from consumers.reader import Reader
from consumers.services import lines, rebuilding
from consumers.services.bot import Bot
from consumers.services.fees import fees
from consumers.services.limits import Limits, by_symbol
from consumers.services.notes import Terms
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.position import Positions
from consumers.services.rehearsal import Rehearsal
from consumers.services.risk import Risk
from consumers.services.service import Service
from consumers.services.strategy import EXAMPLE, BadStrategy, load_strategies
from consumers.settings import ConsumerSettings, redacted
from consumers.watchdog import end_if_stuck
from ingest.process import end

app = typer.Typer(help="Run a service until SIGINT or SIGTERM.", no_args_is_help=True)


@app.command()
def bot(
    strategy: Annotated[
        list[str], typer.Option(help="[NAME=]module:Class, which the current folder may hold; again for another bot")
    ] = [EXAMPLE],  # noqa: B006 - typer reads it
    replay: Annotated[
        str | None, typer.Option(help="On history from there on, and on paper: start, an id, a time (UTC), or -1h")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Where the history ends; unless given, now")] = None,
    speed: Annotated[
        str, typer.Option(help="Of the history: 1 as it was written, 10 ten times as fast, or max")
    ] = "max",
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Of the history: hear its orders and fills of then, instead of paper's")
    ] = False,
    as_objects: AsJson = False,
) -> None:
    """Show prices to strategies, and append what they wish as intents.

    Reads the channels that the strategy has methods for; of orders and fills, it hears its own.

    Writes intents; and in status that a strategy has failed.

    With --replay, it reads order books and trades besides, writes nothing, and prints fills, profit and drawdown; with
    --json everything, intents and orders, too. Orders are executed on paper, and of these the strategy hears; with
    --recorded none is, and it hears of those that were: unless it was changed since, it wishes what it did then.

    Settings: CONSUMER_ACCOUNT; with --replay, CONSUMER_FEES and CONSUMER_LATENCY_MS.
    """
    given = settings()
    try:
        kinds = load_strategies(strategy, given.group or "bot")
    except BadStrategy as bad:
        end(str(bad), WRONG_SETTINGS)
    if recorded and replay is None:
        end("--recorded says what to hear on history: give --replay, too", WRONG_SETTINGS)
    if replay is not None:
        if len(kinds) > 1:
            end("--replay is of one strategy at a time", WRONG_SETTINGS)
        ((name, kind),) = kinds.items()
        venue = None if recorded else Paper(fees(given.fees), given.latency_ms * 1_000_000)
        rehearsal = Rehearsal(Terms(bot=name, kind=kind, account=given.account), venue)
        rehearse(rehearsal, given, replay, until, speed, as_objects)
        return
    look_on(
        given,
        lambda redis, stopping: _serve(
            [Bot(redis, name, kind, account=given.account) for name, kind in kinds.items()], redis, given, stopping
        ),
    )


@app.command()
def position(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First put what all fills add up to in the place of what is kept")
    ] = False,
) -> None:
    """Keep what each account holds, and what it is worth.

    Reads fills and tickers.

    Writes positions, and a hash for each of them.
    """
    given = settings()
    if rebuild:
        ask(given, lambda redis: _rebuild(redis, given))
    serve(lambda redis: Positions(redis, given.group or "position"), given)


@app.command()
def risk() -> None:
    """Let intents become orders, or refuse them with a reason.

    Reads intents, orders, fills, tickers, instruments and the kill switch.

    Writes approved, and orders that are rejected.

    Settings: CONSUMER_MAX_*, CONSUMER_PRICE_*.
    """
    given = settings()
    limits = Limits(
        order_amount=by_symbol(given.max_amount),
        position=by_symbol(given.max_position),
        order_notional=given.max_value,
        exposure=given.max_exposure,
        orders_per_s=given.max_orders_per_s,
        price_band=given.price_band,
        price_age_ms=given.price_age_ms,
    )
    serve(lambda redis: Risk(redis, given.group or "risk", limits=limits), given)


@app.command()
def order() -> None:
    """Execute approved intents on paper, by real books and trades.

    Reads approved, trades, order books and the kill switch.

    Writes orders and fills.

    Settings: CONSUMER_FEES, CONSUMER_LATENCY_MS.
    """
    given = settings()
    venue = Paper(fees(given.fees), given.latency_ms * 1_000_000)
    serve(lambda redis: Orders(redis, given.group or "order", venue=venue), given)


async def _rebuild(redis: Redis, given: ConsumerSettings) -> None:
    for key in await stored.streams(redis):
        wanted = key.exchange in (given.exchanges or (key.exchange,)) and key.symbol in (given.symbols or (key.symbol,))
        if key.channel != "fills" or not wanted:
            continue
        rebuilt = await rebuilding.rebuild(redis, key, time.time_ns())
        if rebuilt.missing:
            end(f"{key}: {rebuilt.missing} fills are gone; nothing was changed, what is kept knows more", FAILED)
        said = f"changed: {', '.join(rebuilt.changed)}" if rebuilt.changed else "to the last digit as it was"
        typer.echo(f"{key.exchange} {key.symbol}: {rebuilt.fills} fills of {rebuilt.accounts} accounts, {said}")


def serve(make: Callable[[Redis], Service], given: ConsumerSettings) -> None:
    """Run the service until SIGINT or SIGTERM."""
    look_on(given, lambda redis, stopping: _serve([make(redis)], redis, given, stopping))


async def _serve(services: Sequence[Service], redis: Redis, given: ConsumerSettings, stopping: asyncio.Event) -> None:
    for service in services:
        log = structlog.get_logger().bind(service=service.name)
        log.info("started", redis=redacted(str(given.redis_url)), channels=" ".join(service.channels))
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(end_if_stuck(given.time_limit_s, over))
        try:
            async with asyncio.TaskGroup() as serving:
                for service in services:
                    for reader in _readers(redis, service, given):
                        serving.create_task(_read(service, reader, given, stopping))
        finally:
            over.set()


async def _read(service: Service, reader: Reader, given: ConsumerSettings, stopping: asyncio.Event) -> None:
    async with reader:
        served = await lines.run(service, reader, stopping, time_limit_s=given.time_limit_s)
    structlog.get_logger().info("stopped", service=service.name, **structs.asdict(served))


def _readers(redis: Redis, service: Service, given: ConsumerSettings) -> list[Reader]:
    """One, but for a service that is several groups."""
    several = service.partition == "account"
    return [
        Reader(
            redis,
            group=f"{service.name}.{part}" if several else service.name,
            consumer=given.consumer or socket.gethostname(),
            partition=service.partition,
            part=part,
            channels=service.channels,
            exchanges=given.exchanges,
            symbols=given.symbols,
            block_ms=given.block_ms,
            count=given.count,
            in_hand=given.in_hand,
            claim_idle_ms=given.claim_idle_ms,
            lease_ms=given.lease_ms,
        )
        for part in range(ACCOUNT_PARTS if several else 1)
    ]
