"""The owned way: each part of the streams has one owner at a time, who handles its entries in order."""

import asyncio
import time
from collections.abc import Container, Mapping, Sequence

from redis.asyncio import Redis

from consumers.client import Script
from consumers.group import Tenancy
from consumers.partition import Partition, shard_in, shards_of
from ingest.contract import keys, leases
from ingest.contract.hashing import chosen
from ingest.contract.keys import StreamKey
from ingest.contract.leases import Ask, Table, Verb

OWNER = "owner"
"""The consumer of every owner: so what one leaves pending is the next one's own, in order."""
_ROUNDS = 5  # that may be missed before others take over
_SCRIPT = Script(leases.SCRIPT)


class Seat:
    """One process's seat at the table of leases of a group at one exchange. Pure.

    A part goes to whom the hash chooses of those who live. An owner that is no longer chosen reads no more of it,
    finishes what it has in hand, and drops the lease; the chosen one takes it in its next round.
    """

    def __init__(self, name: str, shards: Sequence[int]) -> None:
        self.name = name
        self.owned: dict[int, int] = {}
        """Shards whose lease we have, and their fences."""
        self.leaving = False
        self._shards = shards
        self._table = Table()
        self._chosen: frozenset[int] = frozenset()

    def asks(self, busy: Container[int]) -> list[Ask]:
        """What to say in the next round; `busy` are the shards of which something is in hand."""
        asks = []
        for shard in self._shards:
            row = self._table.row(shard)
            if row.owner == self.name:
                verb = Verb.HOLD if self.reads(shard) or shard in busy else Verb.DROP
                asks.append(Ask(shard, verb, row.fence))
            elif self._is_free_for_us(shard):
                asks.append(Ask(shard, Verb.HOLD, row.fence))
        return asks

    def answered(self, table: Table) -> None:
        """The round's answer has come."""
        self._table = table
        self._chosen = frozenset(shard for shard in self._shards if chosen(shard, table.members) == self.name)
        self.owned = {shard: row.fence for shard in self._shards if (row := table.row(shard)).owner == self.name}

    @property
    def eager(self) -> bool:
        """Whether there is something to take, for which the next round should not wait."""
        return any(map(self._is_free_for_us, self._shards))

    def reads(self, shard: int) -> bool:
        """Whether it is ours, and stays so."""
        return shard in self.owned and shard in self._chosen and not self.leaving

    def _is_free_for_us(self, shard: int) -> bool:
        return not self._table.row(shard).owner and shard in self._chosen and not self.leaving


class Owned:
    """One process of the group `group`; `member` is unlike the name of any other."""

    in_order = True

    def __init__(
        self, redis: Redis, group: str, *, partition: Partition, part: int, member: str, lease_ms: int
    ) -> None:
        self.every_s = lease_ms / 1000 / _ROUNDS
        self._redis = redis
        self._group = group
        self._partition = partition
        self._part = part
        self._member = member
        self._lease_ms = lease_ms
        self._seats: dict[str, Seat] = {}
        self._fresh_until: dict[str, float] = {}
        self._one_at_a_time = asyncio.Lock()

    def reads(self, key: StreamKey) -> bool:
        """Whether its part is ours."""
        seat = self._seats.get(key.exchange)
        return seat is not None and seat.reads(self._shard(key))

    def tenancy(self, key: StreamKey) -> Tenancy:
        """With fence 0 if it is not ours."""
        seat, shard = self._seats.get(key.exchange), self._shard(key)
        return Tenancy(self._member, shard, seat.owned.get(shard, 0) if seat else 0)

    def fresh(self, key: StreamKey) -> bool:
        """Whether our leases have not run out. A process that was paused knows by this that it was."""
        return time.monotonic() < self._fresh_until.get(key.exchange, 0.0)

    def lose(self, key: StreamKey) -> None:
        """Until the table says that it is ours again."""
        self._seats[key.exchange].owned.pop(self._shard(key), None)

    async def round(self, exchange: str, in_hand: Mapping[StreamKey, Sequence[bytes]]) -> bool:
        """Renew our leases, and take and drop some."""
        busy = {self._shard(key) for key in in_hand}
        async with self._one_at_a_time:
            seat = self._seats.setdefault(exchange, Seat(self._member, shards_of(self._partition, self._part)))
            before = [(shard, fence, seat.reads(shard)) for shard, fence in seat.owned.items()]
            await self._renew(exchange, seat, busy)
            if seat.eager:
                await self._renew(exchange, seat, busy)
            return before != [(shard, fence, seat.reads(shard)) for shard, fence in seat.owned.items()]

    async def leave(self, exchange: str) -> None:
        """Drop all leases, for others to take at once."""
        async with self._one_at_a_time:
            seat = self._seats.get(exchange)
            if seat:
                seat.leaving = True
                await self._renew(exchange, seat, ())

    async def _renew(self, exchange: str, seat: Seat, busy: Container[int]) -> None:
        # From before the call: by the clock of Redis the lease is then good for at least as long.
        fresh_until = time.monotonic() + self._lease_ms / 1000
        names = (keys.members(exchange, self._group), keys.shards(exchange, self._group))
        arguments = leases.arguments(seat.name, seat.asks(busy), ttl_ms=self._lease_ms, leaving=seat.leaving)
        seat.answered(leases.table(await _SCRIPT.run(self._redis, names, arguments)))
        self._fresh_until[exchange] = fresh_until

    def _shard(self, key: StreamKey) -> int:
        return shard_in(self._partition, self._part, key)
