"""`ingest normalize`: recorded frames, and what they mean."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ingest.commands.given import WRONG_SETTINGS
from ingest.exchanges import EXCHANGES, READERS
from ingest.exchanges.exchange import SkipFrame
from ingest.normalize import normalize as normalized
from ingest.process import end


class Books(StrEnum):
    """How books are shown."""

    SYNCED = "synced"
    RAW = "raw"


def normalize(
    exchange: Annotated[str, typer.Argument(help="Whose frames")],
    symbols: Annotated[str, typer.Option(help="Show these alone, separated by commas")] = "",
    instruments: Annotated[
        Path | None, typer.Option(help="Its list of instruments, as REST answers it: symbols are then BASE/QUOTE")
    ] = None,
    snapshot: Annotated[
        Path | None, typer.Option(help="A book, as REST answers it, for the first symbol whose book is heard")
    ] = None,
    book: Annotated[Books, typer.Option(help="`raw` shows changes whether they join or not")] = Books.SYNCED,
) -> None:
    """Frames, one a line and perhaps EPOCH_SECONDS<tab> before it, to normalized events as lines of JSON."""
    if exchange not in READERS:
        end(f"{exchange}: there are only frames of {', '.join(READERS)}", WRONG_SETTINGS)
    try:
        found = EXCHANGES[exchange]().instruments(instruments.read_bytes()) if instruments else {}
        reader = READERS[exchange]({each.native: each.symbol for each in found.values()}, raw_books=book is Books.RAW)
        if snapshot:
            reader.snapshot(snapshot.read_bytes())
    except SkipFrame as wrong:
        end(f"normalize {exchange}: {wrong.reason}", WRONG_SETTINGS)
    except OSError as unreadable:
        end(f"normalize {exchange}: {unreadable}", WRONG_SETTINGS)
    for said in normalized(reader, sys.stdin.buffer, [name.strip() for name in symbols.split(",") if name.strip()]):
        typer.echo(said.text, err=said.wrong)
