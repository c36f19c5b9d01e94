"""`ingest janitor`: retention by itself, where no worker runs."""

import asyncio
import secrets
from typing import Annotated

import typer

from ingest.commands.given import redis_at, settings
from ingest.process import log_to_stderr, until_stopped
from ingest.retention import Janitor
from ingest.settings import IngestSettings


def janitor(
    budget_bytes: Annotated[int, typer.Option(min=0, help="Memory to keep within; 0 for the server's maxmemory")] = 0,
) -> None:
    """Trim the streams of all exchanges; a worker does so too, and of them all one is at work at a time."""
    given = settings()
    log_to_stderr(given.log_level)
    until_stopped(lambda stopping: _keep_house(given, budget_bytes, stopping))


async def _keep_house(given: IngestSettings, budget_bytes: int, stopping: asyncio.Event) -> None:
    redis = redis_at(given.bus())
    owner = secrets.token_hex(8)
    await Janitor(redis, owner=owner, keep_s=given.keep_seconds, budget_bytes=budget_bytes).run(stopping)
    await redis.aclose()
