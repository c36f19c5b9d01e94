"""`consume dlq`: what groups could not handle, to be seen, handled after all, or forgotten."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

import typer
from redis.asyncio import Redis
from rich.console import Console

from consumers import letters
from consumers.commands.given import FAILED, WRONG_SETTINGS, AsJson, ask, settings
from consumers.console import dead
from consumers.letters import Letter
from ingest.process import end

app = typer.Typer(help="Entries that a group could not handle.", no_args_is_help=True)

OfExchange = Annotated[str, typer.Argument(help="As in binance")]
OfGroup = Annotated[str, typer.Argument(help="As in position")]
SomeLetters = Annotated[list[str] | None, typer.Argument(help="As `consume dlq list` names them")]
EveryLetter = Annotated[bool, typer.Option("--all", help="All of the group's")]


@app.command("list")
def list_letters(
    exchange: Annotated[str, typer.Option(help="Of one exchange")] = "",
    group: Annotated[str, typer.Option(help="Of one group")] = "",
    as_objects: AsJson = False,
) -> None:
    """Print all dead letters, a line each."""
    ask(settings(), lambda redis: _list_letters(redis, exchange, group, as_objects))


@app.command()
def show(
    exchange: OfExchange, group: OfGroup, letter: Annotated[str, typer.Argument()], as_object: AsJson = False
) -> None:
    """Print one dead letter, with all that is known of it."""
    ask(settings(), lambda redis: _show_letter(redis, exchange, group, letter, as_object))


@app.command()
def redrive(exchange: OfExchange, group: OfGroup, some: SomeLetters = None, every: EveryLetter = False) -> None:
    """Have the group handle dead letters after all, as the entries that they were."""
    _with_letters(letters.redrive, "redriven", exchange, group, some, every)


@app.command()
def drop(exchange: OfExchange, group: OfGroup, some: SomeLetters = None, every: EveryLetter = False) -> None:
    """Forget dead letters."""
    _with_letters(letters.drop, "dropped", exchange, group, some, every)


def _with_letters(
    do: Callable[[Redis, Letter], Awaitable[bool]],
    done: str,
    exchange: str,
    group: str,
    some: list[str] | None,
    every: bool,
) -> None:
    if bool(some) == every:
        end("which letters? name them, as `consume dlq list` does, or say --all", WRONG_SETTINGS)

    async def go(redis: Redis) -> None:
        async for letter in _letters(redis, exchange, group, some):
            typer.echo(f"{letter.id} {done if await do(redis, letter) else 'is gone'}")

    ask(settings(), go)


async def _letters(redis: Redis, exchange: str, group: str, some: list[str] | None) -> AsyncIterator[Letter]:
    if some is None:
        async for letter in letters.found(redis, exchange, group):
            yield letter
    for letter_id in some or ():
        yield await _letter(redis, exchange, group, letter_id)


async def _letter(redis: Redis, exchange: str, group: str, letter_id: str) -> Letter:
    if not re.fullmatch(r"\d{1,19}-\d{1,19}", letter_id):
        end(f"{letter_id!r} is no letter; expected an id as in 1767225600000-0", WRONG_SETTINGS)
    letter = await letters.one(redis, exchange, group, letter_id)
    return letter or end(f"no letter {letter_id} of the group {group} at {exchange}", FAILED)


async def _list_letters(redis: Redis, exchange: str, group: str, as_objects: bool) -> None:
    found = [letter async for letter in letters.found(redis, exchange, group)]
    if as_objects:
        for letter in found:
            typer.echo(dead.as_json(letter))
    elif found:
        Console(highlight=False).print(dead.table(found))
    else:
        typer.echo("no dead letters", err=True)


async def _show_letter(redis: Redis, exchange: str, group: str, letter_id: str, as_object: bool) -> None:
    letter = await _letter(redis, exchange, group, letter_id)
    typer.echo(dead.as_json(letter) if as_object else "\n".join(dead.lines(letter)))
