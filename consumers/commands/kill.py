"""`consume kill`: all trading off in one step, or on again."""

from enum import StrEnum
from typing import Annotated

import typer
from redis.asyncio import Redis

from consumers.commands.given import FAILED, WRONG_SETTINGS, ask, settings
from consumers.services import killing
from ingest.contract.keys import BadName, check_name
from ingest.process import end


class Switch(StrEnum):
    """Where the kill switch is to be."""

    ON = "on"
    OFF = "off"


def kill(
    switch: Annotated[Switch, typer.Argument(help="on or off")],
    exchanges: Annotated[
        list[str] | None, typer.Argument(help="At these exchanges; unless named, at all there are and will be")
    ] = None,
) -> None:
    """Switch all trading off, or on again: once this returns nothing becomes an order, and no order is filled."""
    try:
        named = [check_name(exchange) for exchange in exchanges or ()]
    except BadName as bad:
        end(str(bad), WRONG_SETTINGS)

    async def go(redis: Redis) -> None:
        try:
            is_on = await killing.switch(redis, named, on=switch is Switch.ON)
        except killing.NoSuchExchange as strange:
            end(str(strange), FAILED)
        typer.echo(f"the kill switch is on {', '.join(f'at {each}' for each in is_on) or 'nowhere'}")

    ask(settings(), go)
