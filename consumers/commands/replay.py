"""`consume replay`: entries again, from any place."""

import asyncio
import re
from typing import Annotated

import typer
from redis.asyncio import Redis
from rich.console import Console

from consumers.commands.given import FAILED, WRONG_SETTINGS, AsJson, look_on, settings
from consumers.console.played import as_json, as_line
from consumers.patience import MAX
from consumers.replay import Replay
from ingest.process import end


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
    given = settings()

    async def show(redis: Redis, stopping: asyncio.Event) -> None:
        try:
            again = Replay(
                redis, streams, start=start, until=until, speed=pace(speed), follow=follow, stopping=stopping
            )
        except ValueError as wrong:
            end(str(wrong), WRONG_SETTINGS)
        await _print(again, as_objects)

    look_on(given, show)


async def _print(again: Replay, as_objects: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    async for step in again:
        if as_objects or not console.is_terminal:
            typer.echo(as_json(step) if as_objects else as_line(step).plain)
        else:
            console.print(as_line(step))
    if not again.streams:
        end("no stream has such a name; `consume tail` shows which there are", FAILED)


def pace(text: str) -> float:
    """A speed as a person says it. Raises ValueError."""
    if text == "max":
        return MAX
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text):
        raise ValueError(f"--speed {text!r} is no pace; expected max or a number such as 1 or 10")
    return float(text)
