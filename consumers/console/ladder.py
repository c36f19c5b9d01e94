"""`consume book`: an order book as a ladder, asks above bids, as it stands at each look."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.table import Table
from rich.text import Text

from consumers.book import Level, LiveBook
from consumers.latest import latest_ticker
from consumers.patience import Patience, pause
from ingest.contract.codec import UnreadableEntry
from ingest.contract.keys import StreamKey

_BAR = 24


class Ladder(Struct, frozen=True):
    """A book at one moment."""

    key: StreamKey
    live: bool
    """Whether it is complete; else the levels are those that were."""
    as_of: str
    """The id of the entry."""
    bids: Sequence[Level] = ()
    """Best first."""
    asks: Sequence[Level] = ()
    """Best first."""
    last: str = ""
    """The price that the ticker says was paid last; with a `?` if nobody hears that stream for now."""
    trouble: str = ""
    """Why it could not be read."""


async def watch(
    redis: Redis, key: StreamKey, depth: int, every_seconds: float, stopping: asyncio.Event
) -> AsyncIterator[Ladder]:
    """The book, so many levels a side, again and again until asked to stop; waits for Redis if it is away."""
    book, patience = LiveBook(key), Patience(stopping)
    while not stopping.is_set():
        try:
            ladder = await look(redis, book, depth)
        except (RedisError, OSError, RuntimeError) as error:
            await patience.wait(error)
            continue
        patience.end()
        yield ladder
        await pause(stopping, every_seconds)


async def look(redis: Redis, book: LiveBook, depth: int) -> Ladder:
    """The book brought up to date, so many levels a side. Raises RedisError, OSError."""
    trouble = last = ""
    try:
        await book.refresh(redis)
        said = await latest_ticker(redis, StreamKey(book.key.exchange, "ticker", book.key.symbol))
        last = f"{said.ticker.last}{'?' * said.stale}" if said and said.ticker.last else ""
    except UnreadableEntry as bad:
        trouble = str(bad)[:200]
    return Ladder(
        key=book.key,
        live=book.live and not trouble,
        as_of=book.as_of,
        bids=book.book.bids(depth),
        asks=book.book.asks(depth),
        last=last,
        trouble=trouble,
    )


def plain(ladder: Ladder) -> str:
    """For a log: the best of both sides in a line."""
    return _headline(ladder).plain


def render(ladder: Ladder, depth: int) -> Table:
    """For a terminal: always as many lines, so that nothing jumps."""
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    most = max((level.amount for level in (*ladder.bids, *ladder.asks)), default=Decimal(1))
    asks = [*_rows(ladder.asks, most, "red")]
    for row in [*[("", "", "", "")] * (depth - len(asks)), *reversed(asks)]:
        table.add_row(*row)
    table.add_row(Text(_spread(ladder) or "-", "bold"), Text("spread", "dim"), "", "")
    bids = [*_rows(ladder.bids, most, "green")]
    for row in [*bids, *[("", "", "", "")] * (depth - len(bids))]:
        table.add_row(*row)
    whole = Table.grid()
    whole.add_row(_headline(ladder))
    whole.add_row("")
    whole.add_row(table)
    return whole


def _rows(levels: Iterable[Level], most: Decimal, style: str) -> Iterable[tuple[Text | str, ...]]:
    total = Decimal(0)
    for price, amount in levels:
        total += amount
        bar = "█" * max(1, round(_BAR * amount / most))
        yield Text(f"{price:f}", style), f"{amount:f}", Text(f"{total:f}", "dim"), Text(bar, style)


def _headline(ladder: Ladder) -> Text:
    state = ("live", "bold green") if ladder.live else (f"not live{_why(ladder)}", "bold red")
    return Text.assemble(
        (_clock(ladder.as_of), "dim"),
        f"  {ladder.key.exchange} {ladder.key.symbol}  ",
        state,
        f"  {_best(ladder.bids)} | {_best(ladder.asks)}",
        f"  last {ladder.last}" if ladder.last else "",
    )


def _why(ladder: Ladder) -> str:
    if ladder.trouble:
        return f": {ladder.trouble}"
    return "" if ladder.as_of != "0-0" else ": no snapshot yet"


def _best(levels: Sequence[Level]) -> str:
    return f"{levels[0].price:f} x {levels[0].amount:f}" if levels else "-"


def _spread(ladder: Ladder) -> str:
    return f"{ladder.asks[0].price - ladder.bids[0].price:f}" if ladder.asks and ladder.bids else ""


def _clock(entry_id: str) -> str:
    milliseconds = int(entry_id.partition("-")[0])
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
