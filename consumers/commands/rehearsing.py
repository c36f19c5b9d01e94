"""`consume run bot --replay`: a bot on history, as a command."""

import asyncio

import typer
from redis.asyncio import Redis

from consumers.commands.given import FAILED, WRONG_SETTINGS, look_on
from consumers.commands.replay import pace
from consumers.console.rehearsed import as_json, as_line, outcome
from consumers.replay import Replay, Replayed
from consumers.services.rehearsal import Rehearsal
from consumers.settings import ConsumerSettings
from ingest.contract.events import Fill
from ingest.process import end


def rehearse(
    rehearsal: Rehearsal, given: ConsumerSettings, start: str, until: str | None, speed: str, as_objects: bool
) -> None:
    """Show it what was recorded, and print what comes of it."""

    async def show(redis: Redis, stopping: asyncio.Event) -> None:
        names = [
            f"{exchange}:{channel}:{symbol}"
            for exchange in given.exchanges or ("*",)
            for channel in rehearsal.channels
            for symbol in given.symbols or ("*",)
        ]
        try:
            again = Replay(redis, names, start=start, until=until, speed=pace(speed), stopping=stopping)
        except ValueError as wrong:
            end(str(wrong), WRONG_SETTINGS)
        await _print(again, rehearsal, as_objects)
        if not again.streams:
            end("no stream has anything that the strategy hears; `consume tail` shows which there are", FAILED)

    look_on(given, show)


async def _print(again: Replay, rehearsal: Rehearsal, as_objects: bool) -> None:
    async for step in again:
        if not isinstance(step, Replayed):
            continue
        for event in rehearsal.take(step):
            if as_objects:
                typer.echo(as_json(event))
            elif isinstance(event.body, Fill):
                typer.echo(as_line(event, event.body, rehearsal))
            elif event.key.channel == "status":
                typer.echo(f"{event.key.exchange:<8} {event.body}", err=True)
    for line in outcome(rehearsal):
        typer.echo(line, err=as_objects)
