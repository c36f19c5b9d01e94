"""`ingest symbols`: what there is, and what is heard of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from redis.exceptions import RedisError

from ingest.commands.given import FAILED, WRONG_SETTINGS, exchange_of, redis_at, rest_of, settings, symbols_in
from ingest.contract.keys import BadName, control
from ingest.exchanges.exchange import Exchange, FetchFailed, SkipFrame
from ingest.exchanges.symbols import UnknownSymbols, find, paid_in
from ingest.process import end, log_to_stderr
from ingest.settings import IngestSettings


def symbols(
    exchange: Annotated[str, typer.Argument(help="Whose")],
    quote: Annotated[str, typer.Option(help="Those that are paid for in this")] = "",
    add: Annotated[str, typer.Option(help="Have its workers hear these, separated by commas")] = "",
    remove: Annotated[str, typer.Option(help="Have its workers not hear these")] = "",
) -> None:
    """What an exchange trades, a symbol a line; or change what its workers hear, while they run."""
    given = settings()
    log_to_stderr(given.log_level)
    try:
        switches = dict.fromkeys(symbols_in(add), "on") | dict.fromkeys(symbols_in(remove), "off")
        found = asyncio.run(_symbols(given, exchange_of(exchange), quote, switches))
    except (UnknownSymbols, BadName) as wrong:
        end(str(wrong), WRONG_SETTINGS)
    except SkipFrame as bad:
        end(f"{exchange} does not say what it trades: {bad.reason}", FAILED)
    except (RedisError, OSError) as away:
        end(f"no Redis: {away}", FAILED)
    if isinstance(found, FetchFailed):
        end(f"{exchange} does not say what it trades: {found.reason}", FAILED)
    for symbol in found:
        typer.echo(symbol)


async def _symbols(
    given: IngestSettings, exchange: Exchange, quote: str, switches: Mapping[str, str]
) -> Sequence[str] | FetchFailed:
    """Sorted, those that trade now; or none, if there was something to switch, and it is."""
    redis = redis_at(given.bus())
    try:
        async with rest_of(given, exchange, redis) as rest:
            answer = await rest.get(exchange.list_instruments())
        if isinstance(answer, FetchFailed):
            return answer
        instruments = exchange.instruments(answer)
        if switches:
            find([symbol for symbol, switch in switches.items() if switch == "on"], instruments, exchange.name)
            await redis.hset(control(exchange.name), items=[part for each in switches.items() for part in each])
            return ()
        return paid_in(quote, instruments, exchange.name)
    finally:
        await redis.aclose()
