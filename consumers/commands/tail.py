"""`consume tail`: entries as they are written."""

import asyncio
import re
from typing import Annotated

import typer
from redis.asyncio import Redis
from rich.console import Console
from rich.text import Text

from consumers.commands.given import WRONG_SETTINGS, AsJson, look_on, settings
from consumers.console.lines import as_json, as_line
from consumers.console.tail import follow, newest
from consumers.patterns import Patterns
from ingest.contract.keys import BadName
from ingest.process import end


def tail(
    pattern: Annotated[str, typer.Argument(help="EXCHANGE:CHANNEL:SYMBOL with * for any, or a key")] = "*",
    as_objects: AsJson = False,
    start: Annotated[str, typer.Option("--from", help="0, $ (from now on) or an entry's id")] = "$",
    latest: Annotated[bool, typer.Option("--latest", help="Only the newest entry of each stream")] = False,
) -> None:
    """Print entries as they are written; no group notices."""
    given = settings()
    if not re.fullmatch(r"\$|\d{1,19}(-\d{1,19})?", start):
        end(f"--from {start!r} is no place in a stream; expected 0, $ or an id as in 1767225600000-0", WRONG_SETTINGS)
    try:
        patterns = Patterns([pattern])
    except BadName as bad:
        end(str(bad), WRONG_SETTINGS)

    async def show(redis: Redis, stopping: asyncio.Event) -> None:
        console = Console(highlight=False, soft_wrap=True)
        batches = newest(redis, pattern, stopping) if latest else follow(redis, patterns, start, stopping)
        async for entries in batches:
            if as_objects:
                typer.echo("\n".join(map(as_json, entries)))
            else:
                console.print(Text("\n").join(map(as_line, entries)))

    look_on(given, show)
