"""The manager of one exchange: find its instruments, choose what is heard, keep connections and publisher alive."""

import asyncio
import random
import time
from collections.abc import Mapping

import structlog
from redis.exceptions import RedisError

from ingest.connection import Connection, Patience
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Exchange, FetchFailed, Instrument, SkipFrame
from ingest.exchanges.symbols import find
from ingest.limits import Budgets
from ingest.listening import Listening
from ingest.publisher import Publisher
from ingest.rest import Rest
from ingest.selection import Selection
from ingest.sharing import Sharing
from ingest.tasks import pause, together

_DRAINED_EVERY_S = 0.05
_SELECTED_EVERY_S = 0.1

log = structlog.get_logger()


class Worker:
    """One exchange's symbols and channels into Redis."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        selection: Selection,
        stream_url: str,
        patience: Patience,
        publisher: Publisher,
        rest: Rest,
        budgets: Budgets,
        sharing: Sharing | None = None,
    ) -> None:
        """`selection` is one that knows no instruments yet; `sharing` where other workers matter."""
        self._exchange = exchange
        self._selection = selection
        self._stream_url = stream_url
        self._patience = patience
        self._publisher = publisher
        self._rest = rest
        self._budgets = budgets
        self._sharing = sharing
        self._listening: Listening | None = None

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Those that there are now."""
        return self._listening.connections if self._listening else ()

    @property
    def listens(self) -> bool:
        """Whether it is past its start: it knows what the exchange trades, and has connections as it needs them."""
        return self._listening is not None

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
                traded = await self._instruments(stopping)
                if not stopping.is_set():
                    self._selection.know(traded, time.time_ns())
                    find(self._selection.configured, self._selection.instruments, self._exchange.name)
                    await self._converse(stopping)
        finally:
            self._publisher.finish()
            await self._budgets.settle()

    async def _converse(self, stopping: asyncio.Event) -> None:
        ended = asyncio.Event()
        self._listening = Listening(
            self._exchange,
            self._selection.instruments,
            stream_url=self._stream_url,
            patience=self._patience,
            publisher=self._publisher,
            rest=self._rest,
            budgets=self._budgets,
            stopping=ended,
        )
        await together(stopping, self._listening.run(), self._choose(self._listening, stopping, ended))

    async def _choose(self, listening: Listening, stopping: asyncio.Event, ended: asyncio.Event) -> None:
        """What is heard, until asked to stop; with others about, until they have it."""
        try:
            await self._drained(stopping)
            await self._selection.begin(stopping)
            if self._sharing:
                hearing = self._sharing.run(lambda: self._selection.streams, listening, stopping)
            else:
                hearing = self._hear_all(listening, stopping)
            await together(stopping, self._selection.run(stopping), hearing)
        finally:
            ended.set()

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

    async def _drained(self, stopping: asyncio.Event) -> None:
        """Return once what a dead worker left is written: only behind that is where we begin."""
        while self._publisher.counters.spilled + self._publisher.counters.unconfirmed and not stopping.is_set():
            await pause(stopping, _DRAINED_EVERY_S)

    async def _hear_all(self, listening: Listening, stopping: asyncio.Event) -> None:
        """What is selected, as soon as Redis says where it stands; what changes, with the next look."""
        heard: tuple[StreamKey, ...] = ()
        failures = 0
        while not stopping.is_set():
            wait_s = _SELECTED_EVERY_S
            streams = self._selection.streams
            if streams != heard:
                try:
                    await listening.hear(streams)
                    heard, failures = streams, 0
                except (RedisError, OSError) as away:
                    failures += 1
                    wait_s = self._patience.backoff.delay_s(failures, random.random())
                    reason = str(away)
                    log.warning(
                        "no Redis", exchange=self._exchange.name, reason=reason, next_attempt_s=round(wait_s, 1)
                    )
            await pause(stopping, wait_s)
