"""The `ingest` command: the only place that reads settings and puts the parts together."""

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn

import structlog
import typer
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ingest.audit import Report, table
from ingest.audit import audit as read_audit
from ingest.backoff import Backoff
from ingest.connection import AttemptsUsedUp, Patience
from ingest.contract.asyncapi import document
from ingest.contract.keys import BadName, control, parse_symbol
from ingest.doctor import Row, look_at_exchange, look_at_redis
from ingest.exchanges import EXCHANGES, READERS
from ingest.exchanges.exchange import Exchange, FetchFailed, SkipFrame, Stop
from ingest.exchanges.symbols import UnknownSymbols, find, paid_in
from ingest.limits import budgets
from ingest.metrics import serve_metrics
from ingest.normalize import normalize
from ingest.publisher import CannotAppend, Publisher
from ingest.rest import Rest
from ingest.retention import Janitor
from ingest.selection import Selection
from ingest.settings import IngestSettings, WrongSettings, read_settings
from ingest.sharing import Sharing
from ingest.simulator.faults import HELP as FAULTS
from ingest.simulator.faults import parse as parse_fault
from ingest.simulator.replay import replayed_binance
from ingest.simulator.server import simulate as simulate_exchange
from ingest.spill import CannotSpill, Full, inherit, open_spill
from ingest.tasks import together
from ingest.worker import Worker

FAILED = 1
WRONG_SETTINGS = 2
ATTEMPTS_USED_UP = 3

_NOWHERE_ELSE = {"stream_url": None, "rest_url": None}


class Simulated(StrEnum):
    """Exchanges that can be simulated."""

    BINANCE = "binance"
    COINBASE = "coinbase"
    KRAKEN = "kraken"


class Books(StrEnum):
    """How books are shown."""

    SYNCED = "synced"
    RAW = "raw"


log = structlog.get_logger()
app = typer.Typer(help="Exchange WebSockets in, Redis Streams out.", no_args_is_help=True, add_completion=False)


@app.command()
def run() -> None:
    """Run one exchange's worker; all it is told stands in INGEST_* variables."""
    settings = _settings()
    _log(settings.log_level)
    try:
        _until_stopped(lambda stopping: _work(settings, stopping))
    except UnknownSymbols as wrong:
        _end(str(wrong), WRONG_SETTINGS)
    except AttemptsUsedUp as used_up:
        _end(str(used_up), ATTEMPTS_USED_UP)
    except (CannotAppend, CannotSpill, Stop) as hopeless:
        _end(str(hopeless), FAILED)


@app.command()
def simulate(
    exchange: Annotated[Simulated, typer.Argument(help="Whose dialect to speak")],
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
    _log("info")
    if replay is not None and exchange is not Simulated.BINANCE:
        _end(f"simulate {exchange.value}: recordings are of {Simulated.BINANCE.value}", WRONG_SETTINGS)
    try:
        wanted = tuple(parse_symbol(symbol.strip()) for symbol in symbols.split(","))
        if replay is not None:
            _until_stopped(lambda stopping: _replay(stopping, replay, port, fault))
        else:
            faults = [parse_fault(text) for text in fault]
            _until_stopped(
                lambda stopping: simulate_exchange(
                    exchange.value,
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
        _end(f"simulate {exchange.value}: {wrong}", WRONG_SETTINGS)


@app.command()
def audit(
    ledger: Annotated[
        list[Path], typer.Option(help="Compare with what a simulated exchange wrote here; may be given several times")
    ] = [],  # noqa: B006 - typer's way to say: none
    as_json: Annotated[bool, typer.Option("--json", help="For machines, instead of tables")] = False,
) -> None:
    """Prove that nothing is lost: streams by their ids and numbers, and by ledgers; groups by their streams."""
    bus = _settings().bus()
    try:
        report = asyncio.run(_audit(bus, ledger))
    except RedisError as away:
        _end(f"no Redis to audit: {away}", FAILED)
    except (OSError, ValueError) as wrong:
        _end(f"cannot audit: {wrong}", FAILED)
    typer.echo(report.json() if as_json else table(report))
    raise typer.Exit(0 if report.balanced else FAILED)


@app.command(name="symbols")
def list_symbols(
    exchange: Annotated[str, typer.Argument(help="Whose")],
    quote: Annotated[str, typer.Option(help="Those that are paid for in this")] = "",
    add: Annotated[str, typer.Option(help="Have its workers hear these, separated by commas")] = "",
    remove: Annotated[str, typer.Option(help="Have its workers not hear these")] = "",
) -> None:
    """What an exchange trades, a symbol a line; or change what its workers hear, while they run."""
    settings = _settings()
    _log(settings.log_level)
    try:
        switches = dict.fromkeys(_parsed(add), "on") | dict.fromkeys(_parsed(remove), "off")
        found = asyncio.run(_symbols(settings, _exchange(exchange), quote, switches))
    except (UnknownSymbols, BadName) as wrong:
        _end(str(wrong), WRONG_SETTINGS)
    except SkipFrame as bad:
        _end(f"{exchange} does not say what it trades: {bad.reason}", FAILED)
    except (RedisError, OSError) as away:
        _end(f"no Redis: {away}", FAILED)
    if isinstance(found, FetchFailed):
        _end(f"{exchange} does not say what it trades: {found.reason}", FAILED)
    for symbol in found:
        typer.echo(symbol)


@app.command(name="doctor")
def look_at_everything(
    exchanges: Annotated[list[str] | None, typer.Argument(help="Which; INGEST_EXCHANGE unless said")] = None,
) -> None:
    """Look at what workers with these INGEST_* variables would need. The exit code is 1 for warnings, 2 for faults."""
    settings = _settings()
    _log(settings.log_level)
    rows = asyncio.run(_look(settings, [_exchange(name) for name in exchanges or [settings.exchange]]))
    for row in rows:
        typer.echo(f"{row.verdict.name.lower():8} {row.what:18} {row.found}")
    raise typer.Exit(max(row.verdict for row in rows))


@app.command(name="normalize")
def normalize_frames(
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
        _end(f"{exchange}: there are only frames of {', '.join(READERS)}", WRONG_SETTINGS)
    try:
        found = EXCHANGES[exchange]().instruments(instruments.read_bytes()) if instruments else {}
        reader = READERS[exchange]({each.native: each.symbol for each in found.values()}, raw_books=book is Books.RAW)
        if snapshot:
            reader.snapshot(snapshot.read_bytes())
    except SkipFrame as wrong:
        _end(f"normalize {exchange}: {wrong.reason}", WRONG_SETTINGS)
    except OSError as unreadable:
        _end(f"normalize {exchange}: {unreadable}", WRONG_SETTINGS)
    for said in normalize(reader, sys.stdin.buffer, [name.strip() for name in symbols.split(",") if name.strip()]):
        typer.echo(said.text, err=said.wrong)


@app.command(name="asyncapi")
def describe() -> None:
    """Print the contract as an AsyncAPI 3 document: every stream, and every type of entry in it."""
    typer.echo(json.dumps(document(metadata.version("tickbus")), indent=2))


@app.command(name="janitor")
def keep_house(
    budget_bytes: Annotated[int, typer.Option(min=0, help="Memory to keep within; 0 for the server's maxmemory")] = 0,
) -> None:
    """Trim the streams of all exchanges; a worker does so too, and of them all one is at work at a time."""
    settings = _settings()
    _log(settings.log_level)
    _until_stopped(lambda stopping: _keep_house(settings, budget_bytes, stopping))


async def _keep_house(settings: IngestSettings, budget_bytes: int, stopping: asyncio.Event) -> None:
    redis = _redis(settings.bus())
    owner = secrets.token_hex(8)
    await Janitor(redis, owner=owner, keep_s=settings.keep_seconds, budget_bytes=budget_bytes).run(stopping)
    await redis.aclose()


async def _symbols(
    settings: IngestSettings, exchange: Exchange, quote: str, switches: Mapping[str, str]
) -> Sequence[str] | FetchFailed:
    """Sorted, those that trade now; or none, if there was something to switch, and it is."""
    redis = _redis(settings.bus())
    try:
        async with _rest(settings, exchange, redis) as rest:
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


async def _look(settings: IngestSettings, exchanges: Sequence[Exchange]) -> list[Row]:
    """The addresses in the settings are those of the exchange that they are for."""
    redis = _redis(settings.bus())
    try:
        rows = await look_at_redis(redis)
        for exchange in exchanges:
            own = settings if exchange.name == settings.exchange else settings.model_copy(update=_NOWHERE_ELSE)
            rest, url = _rest(own, exchange, redis), _address(own.stream_url, exchange.stream_url)
            rows += await look_at_exchange(exchange, rest, url, settings.listed(), settings.channels)
        return rows
    finally:
        await redis.aclose()


def _rest(settings: IngestSettings, exchange: Exchange, redis: Redis) -> Rest:
    limits = budgets(redis, exchange.name, exchange.limits, settings.address)
    return Rest(_address(settings.rest_url, exchange.rest_url), limits.weight)


def _exchange(name: str) -> Exchange:
    if name not in EXCHANGES:
        _end(f"there is no exchange {name!r}; there are: {', '.join(EXCHANGES)}", WRONG_SETTINGS)
    return EXCHANGES[name]()


def _parsed(symbols: str) -> list[str]:
    return [parse_symbol(symbol.strip()) for symbol in symbols.split(",") if symbol.strip()]


async def _audit(bus: str, ledgers: Sequence[Path]) -> Report:
    redis = _redis(bus)
    try:
        return await read_audit(redis, ledgers, time.time_ns())
    finally:
        await redis.aclose()


async def _replay(stopping: asyncio.Event, folder: Path, port: int, faults: Sequence[str]) -> None:
    async with replayed_binance(folder=folder, port=port) as exchange:
        for fault in faults:
            exchange.strike(fault)
        log.info("recorded exchange", stream_url=exchange.stream_url, rest_url=exchange.rest_url)
        await exchange.run_until(stopping)


async def _work(settings: IngestSettings, stopping: asyncio.Event) -> None:
    exchange = EXCHANGES[settings.exchange]()
    redis = _redis(settings.bus())
    spill = None
    if settings.spill_folder:
        spill = open_spill(settings.spill_folder, exchange.name, cap_bytes=settings.spill_bytes)
        try:
            inherit(settings.spill_folder, exchange.name, spill, cap_bytes=settings.spill_bytes)
        except Full as full:
            log.warning("what dead workers left waits for a later start", reason=str(full))
    publisher = Publisher(
        redis,
        exchange.name,
        bound=settings.buffer_events,
        durability=settings.durability,
        spill=spill,
        # In containers host and pid may be the same again after a crash; what died is not to be taken for what lives.
        writer=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}",
    )
    limits = budgets(redis, exchange.name, exchange.limits, settings.address)
    rest = Rest(_address(settings.rest_url, exchange.rest_url), limits.weight)
    selection = Selection(
        redis,
        exchange,
        publisher,
        rest,
        symbols=settings.listed(),
        channels=settings.channels,
        symbols_file=settings.symbols_file,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, selection.reread)
    sharing = None
    if settings.shard_mode == "lease" or exchange.single_writer.intersection(settings.channels):
        name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        sharing = Sharing(redis, exchange, publisher, mode=settings.shard_mode, name=name)
    backoff = Backoff(settings.retry_first_s, settings.retry_most_s, settings.retry_factor, settings.retry_jitter)
    worker = Worker(
        exchange,
        selection=selection,
        stream_url=_address(settings.stream_url, exchange.stream_url),
        patience=Patience(
            settings.timeout_s,
            settings.ping_every_s,
            settings.pong_within_s,
            backoff,
            settings.attempts,
            settings.max_frame_bytes,
        ),
        publisher=publisher,
        rest=rest,
        budgets=limits,
        sharing=sharing,
    )
    if settings.metrics_port:
        serve_metrics(settings.metrics_port, worker, publisher, sharing)
    janitor = Janitor(redis, exchange.name, owner=secrets.token_hex(8), keep_s=settings.keep_seconds)
    try:
        await together(stopping, worker.run(stopping), janitor.run(stopping))
    finally:
        await redis.aclose()
        if spill:
            spill.close()


def _redis(url: str) -> Redis:
    """A client that never retries on its own: a silent second try could double what the first one did."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5, socket_connect_timeout=5)


def _address(override: object, own: str) -> str:
    return str(override).rstrip("/") if override else own


def _settings() -> IngestSettings:
    try:
        settings = read_settings()
        settings.bus()
    except WrongSettings as wrong:
        _end(str(wrong), WRONG_SETTINGS)
    except OSError as unreadable:
        _end(f"INGEST_REDIS_URL_FILE: {unreadable}", WRONG_SETTINGS)
    try:
        settings.listed()
    except (OSError, ValueError) as wrong:
        _end(f"INGEST_SYMBOLS_FILE: {wrong}", WRONG_SETTINGS)
    return settings


def _until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run until the work ends, or SIGINT or SIGTERM asks it to."""

    async def main() -> None:
        stopping = asyncio.Event()
        for asked in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(asked, stopping.set)
        await work(stopping)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on every platform; asyncio's own loop does the same, slower
        return None
    return uvloop.new_event_loop


def _log(level: str) -> None:
    """Readable lines for a person, JSON for a machine; both to stderr, stdout is for answers."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _end(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def main() -> None:
    """The entry point of the command."""
    app()


if __name__ == "__main__":
    main()
