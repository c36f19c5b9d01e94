"""`consume lag`: how far each group is behind."""

import typer
from redis.asyncio import Redis
from rich.console import Console

from consumers.commands.given import AsJson, ask, settings
from consumers.console.lag import as_json, lags, table


def lag(as_objects: AsJson = False) -> None:
    """Print how far each group is behind on each stream: entries, time, and what its readers hold."""

    async def show(redis: Redis) -> None:
        found = await lags(redis)
        if as_objects:
            for each in found:
                typer.echo(as_json(each))
        elif found:
            Console(highlight=False).print(table(found))
        else:
            typer.echo("no group is registered; `consume run bot` starts one", err=True)

    ask(settings(), show)
