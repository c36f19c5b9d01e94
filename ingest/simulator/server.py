"""The sockets of a simulated exchange: WebSocket and REST on one port of the loopback, a clock, and the ledger."""

import asyncio
import contextlib
import email.utils
import functools
import http
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ingest.simulator import control
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import SLOWEST_S, Fault, parse
from ingest.simulator.ledger import Ledger
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.peer import Peer
from ingest.simulator.venue import Answer, Venue
from ingest.simulator.wholes import Wholes
from ingest.tasks import pause

_STEP_SECONDS = 0.005
_SLICE_NS = 20_000_000
_LATE_NS = 1_000_000_000
_HANDSHAKE_S = SLOWEST_S + 10
"""A REST answer is an answer to a handshake, and may be slow on purpose."""

log = structlog.get_logger()


class SimulatedExchange:
    """A running one. `stream_url` and `rest_url` say where it is."""

    stream_url: str
    rest_url: str
    trading: asyncio.Task[None]
    """Moves the market; should it end before it is told to, the exchange is dead."""

    def __init__(self, venue: Venue, ledger: Ledger | None = None, wholes: Wholes | None = None) -> None:
        """What is said goes into the `ledger` first, with the whole books that `wholes` notes."""
        self._venue = venue
        self._ledger = ledger
        self._wholes = wholes
        self._peers: set[Peer] = set()
        self.stopping = asyncio.Event()

    async def drop_all(self) -> None:
        """Cut every connection, as a cable does."""
        peers = tuple(self._peers)
        for peer in peers:
            peer.transport.abort()
        for peer in peers:
            await peer.wait_closed()

    def strike(self, fault: str) -> None:
        """Let this go wrong, e.g. `gap:trades:BTC/USDT`, counted from now. Raises BadFault."""
        self._venue.strike(parse(fault))

    async def say(self, message: str | bytes) -> None:
        """Send this, text or binary, to every connection as it is; the ledger does not know of it."""
        for peer in tuple(self._peers):
            with contextlib.suppress(ConnectionClosed):
                await peer.send(message)

    async def run_until(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set. Raises OSError if the ledger cannot be written."""
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((stopped, self.trading), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()

    async def trade(self) -> None:
        """Move the exchange's clock along with ours; in the end send what was said, and close every connection."""
        try:
            await self._trade_until_stopped()
        except BaseException:
            for peer in self._peers:
                peer.transport.abort()  # what could not be recorded must not be sent
            raise
        await asyncio.gather(*(peer.finish() for peer in self._peers))

    async def receive(self, connection: ServerConnection) -> None:
        """A connection's whole life."""
        assert isinstance(connection, Peer)
        assert connection.request is not None
        if self.stopping.is_set():
            return
        self._peers.add(connection)
        try:
            await connection.converse(self._venue.connect(connection.request.path))
        finally:
            self._peers.discard(connection)

    async def answer(self, _: ServerConnection, request: Request) -> Response | None:
        """REST, which ends here; None lets a WebSocket handshake go on."""
        now_ns = time.time_ns()
        answer: Answer | None
        if "Upgrade" in request.headers:
            answer = self._venue.admit(request.path, now_ns)
        else:
            answer = control.answer(self._venue, request.path) or self._venue.get(request.path, now_ns)
        if answer is None:
            return None
        if answer.after_s:
            await pause(self.stopping, answer.after_s)
        headers = Headers(
            [
                ("Date", email.utils.formatdate(usegmt=True)),
                ("Connection", "close"),
                ("Content-Length", str(len(answer.body))),
                ("Content-Type", "application/json;charset=UTF-8"),
                *answer.headers,
            ]
        )
        return Response(answer.status, http.HTTPStatus(answer.status).phrase, headers, answer.body)

    async def _trade_until_stopped(self) -> None:
        done_ns = time.time_ns()
        while not self.stopping.is_set():
            now_ns = time.time_ns()
            if now_ns - done_ns > _LATE_NS:
                log.warning("the market cannot keep up", skipped_seconds=(now_ns - done_ns) / 1e9)
                self._venue.skip(now_ns - done_ns)
                done_ns = now_ns
            done_ns = min(now_ns, done_ns + _SLICE_NS)
            if self._ledger and self._wholes:
                self._wholes.look()
                self._ledger.write([*self._wholes.among(self._venue.advance(done_ns))])
            else:
                self._venue.advance(done_ns)
            for peer in self._peers:
                peer.hand_over()
            await asyncio.sleep(_STEP_SECONDS if done_ns == now_ns else 0)


@contextlib.asynccontextmanager
async def simulated(
    exchange: str,
    *,
    symbols: Sequence[str] = ("BTC/USDT", "ETH/USDT"),
    rate: int = 200,
    seed: int = 1,
    series: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
    ledger: Path | None = None,
    faults: Sequence[Fault] = (),
) -> AsyncIterator[SimulatedExchange]:
    """One on `host`, on a free port if `port` is 0, where `rate` things happen a second over all symbols.

    `exchange` is whose dialect it speaks. Raises BadFault for faults that it cannot have.
    """
    start_ns = time.time_ns()
    listings = [listing(symbol) for symbol in dict.fromkeys(symbols)]
    market = Market(listings, rate=rate, seed=seed, start_ns=start_ns, series=series)
    venue = Disturbed(DIALECTS[exchange](market, start_ns), start_ns)
    for fault in faults:
        venue.strike(fault)
    with contextlib.ExitStack() as files:
        book = files.enter_context(Ledger(ledger)) if ledger else None
        running = SimulatedExchange(venue, book, Wholes(exchange, market))
        async with opened(running, port, host):
            yield running


simulated_binance = functools.partial(simulated, "binance")


async def simulate(
    exchange: str,
    stop: asyncio.Event,
    *,
    symbols: Sequence[str],
    rate: int,
    seed: int,
    series: int = 0,
    host: str = "127.0.0.1",
    port: int,
    ledger: Path | None,
    faults: Sequence[Fault] = (),
) -> None:
    """A simulated exchange until `stop` is set; all that its ledger holds has then been sent."""
    async with simulated(
        exchange,
        symbols=symbols,
        rate=rate,
        seed=seed,
        series=series,
        host=host,
        port=port,
        ledger=ledger,
        faults=faults,
    ) as running:
        log.info("simulated exchange", stream_url=running.stream_url, rest_url=running.rest_url)
        await running.run_until(stop)


@contextlib.asynccontextmanager
async def opened(exchange: SimulatedExchange, port: int, host: str = "127.0.0.1") -> AsyncIterator[None]:
    """The exchange, open to clients. At the end its market rests first, then its connections end. Raises OSError."""
    server = await serve(
        exchange.receive,
        host,
        port,
        process_request=exchange.answer,
        create_connection=Peer,
        compression=None,
        open_timeout=_HANDSHAKE_S,
        ping_interval=20,
        ping_timeout=60,
    )
    port = server.sockets[0].getsockname()[1]
    exchange.stream_url, exchange.rest_url = f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}"
    exchange.trading = asyncio.create_task(exchange.trade())
    try:
        yield
    finally:
        exchange.stopping.set()
        server.close(close_connections=False)
        await asyncio.wait((exchange.trading,))
        await server.wait_closed()
        exchange.trading.result()
