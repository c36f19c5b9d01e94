"""What every command is given: settings and Redis, and how it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from consumers.client import connect
from consumers.settings import ConsumerSettings, WrongSettings, read_settings, redacted
from ingest.process import end, log_to_stderr, until_stopped

FAILED = 1
WRONG_SETTINGS = 2

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line")]


def settings() -> ConsumerSettings:
    """Those of CONSUMER_* variables; wrong ones end the command."""
    try:
        given = read_settings()
    except WrongSettings as wrong:
        end(str(wrong), WRONG_SETTINGS)
    log_to_stderr(given.log_level)
    return given


def ask(given: ConsumerSettings, do: Callable[[Redis], Awaitable[None]]) -> None:
    """Ask Redis once; where there is none, that ends the command."""

    async def asking(_: asyncio.Event) -> None:
        redis = connect(str(given.redis_url))
        try:
            await do(redis)
        except (RedisError, OSError) as error:
            end(f"no Redis at {redacted(str(given.redis_url))}: {error}", FAILED)
        finally:
            await redis.aclose()

    until_stopped(asking)


def look_on(given: ConsumerSettings, do: Callable[[Redis, asyncio.Event], Awaitable[None]]) -> None:
    """Be with Redis until asked to stop; what is done waits for it by itself."""

    async def looking(stopping: asyncio.Event) -> None:
        redis = connect(str(given.redis_url))
        try:
            await do(redis, stopping)
        finally:
            await redis.aclose()

    until_stopped(looking)
