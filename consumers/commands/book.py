"""`consume book`: an order book as it stands."""

import asyncio
import contextlib
from typing import Annotated

import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.live import Live

from consumers import stored
from consumers.commands.given import FAILED, WRONG_SETTINGS, look_on, settings
from consumers.console.ladder import plain, render, watch
from consumers.settings import redacted
from ingest.contract.keys import BadName, StreamKey, check_name, parse_symbol
from ingest.process import end


def book(
    exchange: Annotated[str, typer.Argument(help="As in binance")],
    symbol: Annotated[str, typer.Argument(help="As in BTC/USDT")],
    depth: Annotated[int, typer.Option(min=1, max=1000, help="Levels a side")] = 10,
) -> None:
    """Show an order book as it stands: a ladder in a terminal, a line a second elsewhere."""
    given = settings()
    try:
        key = StreamKey(check_name(exchange), "orderbook", parse_symbol(symbol))
    except BadName as bad:
        end(str(bad), WRONG_SETTINGS)

    async def show(redis: Redis, stopping: asyncio.Event) -> None:
        try:
            await _find(redis, key)
        except (RedisError, OSError) as error:
            end(f"no Redis at {redacted(str(given.redis_url))}: {error}", FAILED)
        await _draw(redis, key, depth, stopping)

    look_on(given, show)


async def _find(redis: Redis, key: StreamKey) -> None:
    books = [each for each in await stored.streams(redis) if each.channel == key.channel]
    if key not in books:
        there = ", ".join(f"{each.exchange} {each.symbol}" for each in books) or "none"
        end(f"no order book of {key.symbol} at {key.exchange}; there are: {there}", FAILED)


async def _draw(redis: Redis, key: StreamKey, depth: int, stopping: asyncio.Event) -> None:
    console = Console(highlight=False)
    every_seconds = 0.25 if console.is_terminal else 1
    with Live(console=console, auto_refresh=False) if console.is_terminal else contextlib.nullcontext() as screen:
        async for ladder in watch(redis, key, depth, every_seconds, stopping):
            if screen:
                screen.update(render(ladder, depth), refresh=True)
            else:
                typer.echo(plain(ladder))
