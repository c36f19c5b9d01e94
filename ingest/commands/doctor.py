"""`ingest doctor`: what a worker will need, looked at before it runs."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from ingest.commands.given import address, exchange_of, redis_at, rest_of, settings
from ingest.doctor import Row, look_at_exchange, look_at_redis
from ingest.exchanges.exchange import Exchange
from ingest.process import log_to_stderr
from ingest.settings import IngestSettings

_ITS_OWN = {"stream_url": None, "rest_url": None}


def doctor(
    exchanges: Annotated[list[str] | None, typer.Argument(help="Which; INGEST_EXCHANGE unless said")] = None,
) -> None:
    """Look at what workers with these INGEST_* variables would need. The exit code is 1 for warnings, 2 for faults."""
    given = settings()
    log_to_stderr(given.log_level)
    rows = asyncio.run(_look(given, [exchange_of(name) for name in exchanges or [given.exchange]]))
    for row in rows:
        typer.echo(f"{row.verdict.name.lower():8} {row.what:18} {row.found}")
    raise typer.Exit(max(row.verdict for row in rows))


async def _look(given: IngestSettings, exchanges: Sequence[Exchange]) -> list[Row]:
    """The addresses in the settings are those of the exchange that they are for."""
    redis = redis_at(given.bus())
    try:
        rows = await look_at_redis(redis)
        for exchange in exchanges:
            own = given if exchange.name == given.exchange else given.model_copy(update=_ITS_OWN)
            url = address(own.stream_url, exchange.stream_url)
            channels = [channel for channel in given.channels if channel in exchange.channels]
            rows += await look_at_exchange(exchange, rest_of(own, exchange, redis), url, given.listed(), channels)
        return rows
    finally:
        await redis.aclose()
