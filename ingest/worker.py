"""The manager of one exchange: find its instruments, plan the connections, keep them and the publisher alive."""

import asyncio
import random
from collections.abc import Mapping, Sequence

import structlog
from redis.exceptions import RedisError

from ingest.connection import Connection, Patience
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Exchange, FetchFailed, Instrument, SkipFrame
from ingest.exchanges.symbols import find
from ingest.publisher import Publisher
from ingest.rest import Rest
from ingest.tasks import pause, together

_DRAINED_EVERY_S = 0.05

log = structlog.get_logger()


class Worker:
    """One exchange's symbols and channels into Redis."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        symbols: Sequence[str],
        channels: Sequence[str],
        stream_url: str,
        patience: Patience,
        publisher: Publisher,
        rest: Rest,
    ) -> None:
        self._exchange = exchange
        self._symbols = symbols
        self._channels = channels
        self._stream_url = stream_url
        self._patience = patience
        self._publisher = publisher
        self._rest = rest
        self.connections: tuple[Connection, ...] = ()

    async def run(self, stopping: asyncio.Event) -> None:
        """Until asked to stop, and what was heard is written.

        Raises UnknownSymbols, AttemptsUsedUp, CannotAppend, Stop.
        """
        await together(stopping, self._publish(), self._hear(stopping))

    async def _publish(self) -> None:
        unwritten = await self._publisher.run()
        if unwritten:
            log.error("events lost at the end", exchange=self._exchange.name, events=unwritten)

    async def _hear(self, stopping: asyncio.Event) -> None:
        """The publisher ends after everyone who puts into it."""
        try:
            async with self._rest:
                instruments = await self._instruments(stopping)
                if not stopping.is_set():
                    await self._converse(find(self._symbols, instruments, self._exchange.name), stopping)
        finally:
            self._publisher.finish()

    async def _converse(self, instruments: Mapping[str, Instrument], stopping: asyncio.Event) -> None:
        name = self._exchange.name
        streams = [StreamKey(name, channel, symbol) for symbol in self._symbols for channel in self._channels]
        positions = await self._positions(streams, stopping)
        self.connections = tuple(
            Connection(
                f"{name}-{i}",
                plan,
                self._exchange,
                instruments,
                positions,
                stream_url=self._stream_url,
                patience=self._patience,
                publisher=self._publisher,
                rest=self._rest,
            )
            for i, plan in enumerate(self._exchange.plan(streams), start=1)
        )
        await together(stopping, *(connection.run(stopping) for connection in self.connections))

    async def _instruments(self, stopping: asyncio.Event) -> Mapping[str, Instrument]:
        """What the exchange trades; asked for until there is an answer. Empty only when asked to stop."""
        failures = 0
        while not stopping.is_set():
            answer = await self._rest.get(self._exchange.list_instruments())
            try:
                if not isinstance(answer, FetchFailed):
                    return self._exchange.instruments(answer)
                reason = answer.reason
            except SkipFrame as bad:
                reason = bad.reason
            failures += 1
            wait_s = self._patience.backoff.delay_s(failures, random.random())
            log.warning(
                "no instruments yet; without a network, `make demo` runs on a simulated exchange",
                exchange=self._exchange.name,
                tried=self._rest.base_url,
                reason=reason,
                next_attempt_s=round(wait_s, 1),
            )
            await pause(stopping, wait_s)
        return {}

    async def _positions(self, streams: Sequence[StreamKey], stopping: asyncio.Event) -> Mapping[StreamKey, str]:
        """Where the streams stand: the server's word, waited for."""
        # What a dead worker left to be written comes first: only behind that is where we begin.
        while self._publisher.counters.spilled + self._publisher.counters.unconfirmed and not stopping.is_set():
            await pause(stopping, _DRAINED_EVERY_S)
        failures = 0
        while not stopping.is_set():
            try:
                standings = await self._publisher.standings(streams)
                return {key: stands.position for key, stands in standings.items() if stands.position is not None}
            except (RedisError, OSError) as away:
                failures += 1
                wait_s = self._patience.backoff.delay_s(failures, random.random())
                log.warning("no Redis", exchange=self._exchange.name, reason=str(away), next_attempt_s=round(wait_s, 1))
                await pause(stopping, wait_s)
        return {}
