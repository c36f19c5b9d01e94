"""`ingest audit`: the promise, checked."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from redis.exceptions import RedisError

from ingest.audit import Report, table
from ingest.audit import audit as read_audit
from ingest.commands.given import FAILED, redis_at, settings
from ingest.process import end


def audit(
    ledger: Annotated[
        list[Path], typer.Option(help="Compare with what a simulated exchange wrote here; may be given several times")
    ] = [],  # noqa: B006 - typer's way to say: none
    as_json: Annotated[bool, typer.Option("--json", help="For machines, instead of tables")] = False,
) -> None:
    """Prove that nothing is lost: streams by their ids and numbers, and by ledgers; groups by their streams."""
    bus = settings().bus()
    try:
        report = asyncio.run(_audit(bus, ledger))
    except RedisError as away:
        end(f"no Redis to audit: {away}", FAILED)
    except (OSError, ValueError) as wrong:
        end(f"cannot audit: {wrong}", FAILED)
    typer.echo(report.json() if as_json else table(report))
    raise typer.Exit(0 if report.balanced else FAILED)


async def _audit(bus: str, ledgers: Sequence[Path]) -> Report:
    redis = redis_at(bus)
    try:
        return await read_audit(redis, ledgers, time.time_ns())
    finally:
        await redis.aclose()
