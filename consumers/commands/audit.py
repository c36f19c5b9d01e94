"""`consume audit`: the readers' half of the promise, checked."""

import typer
from redis.asyncio import Redis
from rich.console import Console

from consumers.audit import accounts
from consumers.commands.given import FAILED, AsJson, ask, settings
from consumers.console.accounts import as_json, table


def audit(as_objects: AsJson = False) -> None:
    """Account for every entry that each group was to handle; the exit code is 1 if any is unaccounted for."""

    async def show(redis: Redis) -> None:
        found = await accounts(redis)
        if as_objects:
            for each in found:
                typer.echo(as_json(each))
        elif found:
            Console(highlight=False).print(table(found))
        unaccounted = sum(each.unaccounted for each in found)
        typer.echo(f"unaccounted for: {unaccounted:,} entries", err=True)
        if unaccounted:
            raise typer.Exit(FAILED)

    ask(settings(), show)
