"""`ingest run`: one exchange's worker, put together."""

import asyncio
import os
import secrets
import signal
import socket

import structlog
from redis.asyncio import Redis

from ingest.backoff import Backoff
from ingest.commands.given import (
    ATTEMPTS_USED_UP,
    FAILED,
    WRONG_SETTINGS,
    address,
    exchange_of,
    redis_at,
    settings,
)
from ingest.connection import AttemptsUsedUp, Patience
from ingest.exchanges.exchange import Exchange, Stop
from ingest.exchanges.symbols import UnknownSymbols
from ingest.limits import budgets
from ingest.metrics import serve_metrics
from ingest.process import end, log_to_stderr, until_stopped
from ingest.publisher import CannotAppend, Publisher
from ingest.rest import Rest
from ingest.retention import Janitor
from ingest.selection import Selection
from ingest.settings import IngestSettings
from ingest.sharing import Sharing
from ingest.spill import CannotSpill, Full, Spill, inherit, open_spill
from ingest.tasks import together
from ingest.worker import Worker

log = structlog.get_logger()


def run() -> None:
    """Run one exchange's worker; all it is told stands in INGEST_* variables."""
    given = settings()
    exchange = exchange_of(given.exchange)
    log_to_stderr(given.log_level)
    try:
        until_stopped(lambda stopping: _work(given, exchange, stopping))
    except UnknownSymbols as wrong:
        end(str(wrong), WRONG_SETTINGS)
    except AttemptsUsedUp as used_up:
        end(str(used_up), ATTEMPTS_USED_UP)
    except (CannotAppend, CannotSpill, Stop) as hopeless:
        end(str(hopeless), FAILED)


async def _work(given: IngestSettings, exchange: Exchange, stopping: asyncio.Event) -> None:
    redis = redis_at(given.bus())
    spill = _spill(given, exchange)
    publisher = Publisher(
        redis,
        exchange.name,
        bound=given.buffer_events,
        durability=given.durability,
        spill=spill,
        # In containers host and pid may be the same again after a crash; what died is not to be taken for what lives.
        writer=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}",
    )
    sharing = _sharing(given, exchange, redis, publisher)
    worker = _worker(given, exchange, redis, publisher, sharing)
    if given.metrics_port:
        serve_metrics(given.metrics_port, worker, publisher, sharing)
    janitor = Janitor(redis, exchange.name, owner=secrets.token_hex(8), keep_s=given.keep_seconds)
    try:
        await together(stopping, worker.run(stopping), janitor.run(stopping))
    finally:
        await redis.aclose()
        if spill:
            spill.close()


def _worker(
    given: IngestSettings, exchange: Exchange, redis: Redis, publisher: Publisher, sharing: Sharing | None
) -> Worker:
    limits = budgets(redis, exchange.name, exchange.limits, given.address)
    rest = Rest(address(given.rest_url, exchange.rest_url), limits.weight)
    selection = Selection(
        redis,
        exchange,
        publisher,
        rest,
        symbols=given.listed(),
        channels=given.channels,
        symbols_file=given.symbols_file,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, selection.reread)
    return Worker(
        exchange,
        selection=selection,
        stream_url=address(given.stream_url, exchange.stream_url),
        patience=_patience(given),
        publisher=publisher,
        rest=rest,
        budgets=limits,
        sharing=sharing,
    )


def _patience(given: IngestSettings) -> Patience:
    backoff = Backoff(given.retry_first_s, given.retry_most_s, given.retry_factor, given.retry_jitter)
    return Patience(
        given.timeout_s, given.ping_every_s, given.pong_within_s, backoff, given.attempts, given.max_frame_bytes
    )


def _sharing(given: IngestSettings, exchange: Exchange, redis: Redis, publisher: Publisher) -> Sharing | None:
    """None where several workers need not know of one another."""
    if given.shard_mode != "lease" and not exchange.single_writer.intersection(given.channels):
        return None
    name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    return Sharing(redis, exchange, publisher, mode=given.shard_mode, name=name)


def _spill(given: IngestSettings, exchange: Exchange) -> Spill | None:
    if not given.spill_folder:
        return None
    spill = open_spill(given.spill_folder, exchange.name, cap_bytes=given.spill_bytes)
    try:
        inherit(given.spill_folder, exchange.name, spill, cap_bytes=given.spill_bytes)
    except Full as full:
        log.warning("what dead workers left waits for a later start", reason=str(full))
    return spill
