"""Streams over connections: which are heard can change at any time, and those that stay do not notice."""

import asyncio
from collections.abc import Collection, Mapping

import structlog

from ingest.connection import Connection, Patience
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Exchange, Instrument, Plan
from ingest.limits import Budgets
from ingest.publisher import Publisher
from ingest.reporting import State
from ingest.rest import Rest
from ingest.tasks import Crew, pause

_ROTATE_EVERY_S = 0.25

log = structlog.get_logger()


class Listening:
    """The connections of one exchange."""

    def __init__(
        self,
        exchange: Exchange,
        instruments: Mapping[str, Instrument],
        *,
        stream_url: str,
        patience: Patience,
        publisher: Publisher,
        rest: Rest,
        budgets: Budgets,
        stopping: asyncio.Event,
    ) -> None:
        """`instruments` knows every symbol before it is heard; `stopping` ends all connections."""
        self.connections: tuple[Connection, ...] = ()
        self._exchange = exchange
        self._instruments = instruments
        self._stream_url = stream_url
        self._patience = patience
        self._publisher = publisher
        self._rest = rest
        self._budgets = budgets
        self._stopping = stopping
        self._crew = Crew()
        self._opened = 0
        self._successors: dict[Connection, Connection] = {}
        self._leave: Mapping[StreamKey, int] = {}

    async def run(self) -> None:
        """Until asked to stop. Raises AttemptsUsedUp, Stop."""
        self._crew.start(self._rotate())
        await self._crew.run(self._stopping)

    async def hear(self, streams: Collection[StreamKey]) -> None:
        """From now on these, and no others. Raises RedisError, OSError, and has changed nothing then."""
        wanted, heard = set(streams), {key for connection in self.connections for key in connection.streams}
        added = [key for key in streams if key not in heard]
        standings = await self._publisher.standings(added) if added else {}
        positions = {key: stands.position for key, stands in standings.items() if stands.position is not None}
        self._publisher.take_refusals(added)  # of an earlier time that we heard them
        kept = [
            Plan(connection.path, tuple(key for key in connection.streams if key in wanted))
            for connection in self.connections
        ]
        plans = self._exchange.plan(added, kept)
        for connection, plan in zip(self.connections, plans, strict=False):
            connection.carry(plan.streams, positions)
            if successor := self._successors.get(connection):
                successor.carry(plan.streams, positions)
        opened = [self._open(plan, positions) for plan in plans[len(kept) :]]
        self.connections = (*(c for c in self.connections if c.streams), *opened)
        self._successors = {c: successor for c, successor in self._successors.items() if c.streams}

    def own(self, leave: Mapping[StreamKey, int]) -> None:
        """Of the streams that have one writer at a time, write these, under these fences, and no others."""
        self._leave = leave
        for connection in self.connections:
            connection.own(leave)

    def flowing(self) -> set[StreamKey]:
        """The streams that come, or about which the exchange has nothing to say."""
        return {key for connection in self.connections for key in connection.flowing()}

    async def _rotate(self) -> None:
        while not self._stopping.is_set():
            self.connections = tuple(map(self._renewed, self.connections))
            await pause(self._stopping, _ROTATE_EVERY_S)

    def _renewed(self, connection: Connection) -> Connection:
        """Itself, or the one that takes its place, which it does once it delivers whatever this one delivers."""
        successor = self._successors.get(connection)
        if successor is None:
            if connection.renewal:
                log.info("renewing", exchange=self._exchange.name, connection=connection.name, why=connection.renewal)
                plan = Plan(connection.path, connection.streams)
                self._successors[connection] = self._open(plan, connection.positions(), replaces=connection)
            return connection
        flowing = set(successor.flowing())
        if not flowing or not flowing.issuperset(connection.flowing()):
            return connection
        del self._successors[connection]
        successor.take_over(seamless=connection.state == State.CONNECTED)
        connection.retire(successor.name)
        return successor

    def _open(
        self, plan: Plan, positions: Mapping[StreamKey, str], *, replaces: Connection | None = None
    ) -> Connection:
        self._opened += 1
        connection = Connection(
            f"{self._exchange.name}-{self._opened}",
            plan,
            self._exchange,
            self._instruments,
            positions,
            stream_url=self._stream_url,
            patience=self._patience,
            publisher=self._publisher,
            rest=self._rest,
            budgets=self._budgets,
            replaces=replaces,
        )
        connection.own(self._leave)
        self._crew.start(connection.run(self._stopping))
        return connection
