"""A whole worker in the test's own loop, for the length of a `with`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ingest.backoff import Backoff
from ingest.connection import Patience
from ingest.exchanges import EXCHANGES
from ingest.exchanges.exchange import Limit, Limits
from ingest.limits import Budgets, budgets
from ingest.publisher import Publisher
from ingest.rest import Rest
from ingest.selection import Selection
from ingest.sharing import Sharing
from ingest.spill import Spill
from ingest.worker import Worker

CHANNELS = ("trades", "ticker", "orderbook", "candles-1m")
PLENTY = Limits(weight=Limit(10_000, 10_000), connects=Limit(10_000, 10_000))
QUICK = Patience(backoff=Backoff(first_s=0.05, most_s=0.2))


def plenty(redis, name: str = "binance") -> Budgets:
    """Limits that no test reaches."""
    return budgets(redis, name, PLENTY)


def make_worker(
    redis,
    exchange,
    symbols: Sequence[str],
    *,
    name: str = "binance",
    channels: Sequence[str] = CHANNELS,
    patience: Patience = QUICK,
    bound: int = 10_000,
    spill: Spill | None = None,
    refresh_every_s: float = 300,
) -> Worker:
    """As the command makes it, for an exchange of ours."""
    limits, publisher = plenty(redis, name), Publisher(redis, name, bound=bound, spill=spill)
    rest = Rest(exchange.rest_url, limits.weight)
    venue = EXCHANGES[name]()
    return Worker(
        venue,
        selection=Selection(
            redis,
            venue,
            publisher,
            rest,
            symbols=symbols,
            channels=channels,
            every_s=0.1,
            refresh_every_s=refresh_every_s,
        ),
        stream_url=exchange.stream_url,
        patience=patience,
        publisher=publisher,
        rest=rest,
        budgets=limits,
        sharing=Sharing(redis, venue, publisher, mode="mirror", name="one", every_s=0.1)
        if venue.single_writer
        else None,
    )


@asynccontextmanager
async def working(redis, exchange, symbols: Sequence[str], **options) -> AsyncIterator[Worker]:
    """A worker that is asked to stop at the end; what it raises comes out there."""
    worker = make_worker(redis, exchange, symbols, **options)
    stopping = asyncio.Event()
    running = asyncio.create_task(worker.run(stopping))
    try:
        yield worker
    finally:
        stopping.set()
        await running
