"""`ingest simulate`: the other end, for demo and tests."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import structlog
import typer

from ingest.commands.given import WRONG_SETTINGS, symbols_in
from ingest.process import end, log_to_stderr, until_stopped
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.faults import HELP as FAULTS
from ingest.simulator.faults import parse as parse_fault
from ingest.simulator.replay import replayed_binance
from ingest.simulator.server import simulate as simulate_exchange

_RECORDED = "binance"

log = structlog.get_logger()


def simulate(
    exchange: Annotated[str, typer.Argument(help=f"Whose dialect to speak: {', '.join(DIALECTS)}")],
    symbols: Annotated[str, typer.Option(help="What to trade, separated by commas")] = "BTC/USDT,ETH/USDT",
    rate: Annotated[int, typer.Option(min=0, help="Market actions a second over all symbols")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed trades the same")] = 1,
    series: Annotated[
        int, typer.Option(min=0, max=7, help="How often it has begun to count anew, each time from lower ids")
    ] = 0,
    host: Annotated[str, typer.Option(help="Whose connections to take; 0.0.0.0 for everybody's")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="For WebSocket and REST; 0 for a free one")] = 0,
    ledger: Annotated[Path | None, typer.Option(help="Write each event here before it is sent")] = None,
    replay: Annotated[Path | None, typer.Option(help="Speak the recorded frames of this folder instead")] = None,
    fault: Annotated[list[str], typer.Option(metavar="FAULT", help=FAULTS)] = [],  # noqa: B006 - typer's way to say: none
) -> None:
    """Be an exchange: a seeded market, or a recording of Binance, behind a real WebSocket and REST server."""
    if exchange not in DIALECTS:
        end(f"no exchange {exchange!r} can be simulated; there are: {', '.join(DIALECTS)}", WRONG_SETTINGS)
    log_to_stderr("info")
    if replay is not None and exchange != _RECORDED:
        end(f"simulate {exchange}: recordings are of {_RECORDED}", WRONG_SETTINGS)
    try:
        wanted = symbols_in(symbols)
        if replay is not None:
            until_stopped(lambda stopping: _replay(stopping, replay, host, port, fault))
        else:
            faults = [parse_fault(text) for text in fault]
            until_stopped(
                lambda stopping: simulate_exchange(
                    exchange,
                    stopping,
                    symbols=wanted,
                    rate=rate,
                    seed=seed,
                    series=series,
                    host=host,
                    port=port,
                    ledger=ledger,
                    faults=faults,
                )
            )
    except (OSError, ValueError) as wrong:
        end(f"simulate {exchange}: {wrong}", WRONG_SETTINGS)


async def _replay(stopping: asyncio.Event, folder: Path, host: str, port: int, faults: Sequence[str]) -> None:
    async with replayed_binance(folder=folder, host=host, port=port) as exchange:
        for fault in faults:
            exchange.strike(fault)
        log.info("recorded exchange", stream_url=exchange.stream_url, rest_url=exchange.rest_url)
        await exchange.run_until(stopping)
