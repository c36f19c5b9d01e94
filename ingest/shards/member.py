"""One member's part: from the table of leases to what it serves now, and to what it asks for next. Pure."""

from collections.abc import Collection, Mapping
from typing import Literal

from msgspec import Struct

from ingest.contract.hashing import SHARDS, chosen
from ingest.contract.leases import Ask, Row, Table, Verb

ShardMode = Literal["mirror", "lease"]
"""What the workers of one exchange are to each other:

- mirror: each hears all symbols, and streams that can have only one writer have one of them.
- lease: they share the symbols.
"""


class Counters(Struct):
    """Shards that changed hands, since the worker started."""

    taken: int = 0
    """That were nobody's."""
    received: int = 0
    """Handed over by who had them."""
    given: int = 0
    """Handed over to who was ready, or dropped in leaving."""
    lost: int = 0
    """Taken by another while we were away."""


class Member:
    """What one member does between two rounds.

    A shard goes to whom the hash chooses of those who live. Who is chosen and finds it in another's hands serves it as
    well, until its data flows, and says that it is ready; the owner hands the lease over in its next round, and stops
    serving once the table says that it is the other's. So at every moment of a planned change somebody serves it. What
    is nobody's is taken first and served then.
    """

    def __init__(self, name: str, *, patience: int) -> None:
        """`patience` is how many rounds a member that was away leaves others the time to come back as well."""
        self.name = name
        self.serving: frozenset[int] = frozenset()
        """To be subscribed to now: our own, and what we make ourselves ready for."""
        self.owned: Mapping[int, int] = {}
        """Shards whose lease we have, and their fences."""
        self.leaving = False
        self.counters = Counters()
        self._table = Table()
        self._chosen: tuple[str, ...] = ("",) * SHARDS
        self._patience = patience
        self._waits = 0
        self._rounds = 0

    def asks(self, flowing: Collection[int]) -> list[Ask]:
        """What to say in the next round; `flowing` are the shards all of whose data flows here."""
        said = ((shard, self._verb(shard, self._table.row(shard), flowing)) for shard in range(SHARDS))
        return [Ask(shard, verb, self._table.row(shard).fence) for shard, verb in said if verb]

    def last_asks(self) -> list[Ask]:
        """What to say instead when there is no more time: whatever is left is for anybody to take."""
        return [Ask(shard, Verb.DROP, fence) for shard, fence in self.owned.items()]

    def answered(self, table: Table) -> None:
        """The round's answer has come."""
        self._waits = max(0, self._waits - 1)
        if not table.known and self._rounds and not self.leaving:
            # Redis was away, or empty, or we were. Others come back as we do, and have not lost what they had.
            self._waits = self._patience
        self._rounds += 1
        before, self._table = self._table, table
        self._chosen = tuple(chosen(shard, table.members) for shard in range(SHARDS))
        owned = {shard: row.fence for shard, row in sorted(table.rows.items()) if row.owner == self.name}
        lost = self._count(before, owned)
        self.owned = owned
        self.serving = frozenset(s for s in range(SHARDS) if s in owned or (s not in lost and self._prepares(s)))

    @property
    def eager(self) -> bool:
        """Whether there is something to take, for which the next round should not wait."""
        return any(self._free_for_us(shard, self._table.row(shard)) for shard in range(SHARDS))

    @property
    def alone(self) -> bool:
        """Whether there is nobody to hand anything over to."""
        return not set(self._table.members) - {self.name}

    def fence(self, shard: int) -> int:
        """The number under which whoever serves the shard now acts: who acts under a lower one is late."""
        return self._table.row(shard).fence

    def _verb(self, shard: int, row: Row, flowing: Collection[int]) -> Verb | None:
        ours = self._chosen[shard] == self.name and not self.leaving
        if row.owner == self.name:
            return Verb.GIVE if not ours and row.ready and row.ready == self._chosen[shard] else Verb.HOLD
        if self._free_for_us(shard, row):
            return Verb.HOLD
        return Verb.READY if row.owner and ours and shard in self.serving and shard in flowing else None

    def _free_for_us(self, shard: int, row: Row) -> bool:
        return not (row.owner or self._waits or self.leaving) and self._chosen[shard] == self.name

    def _prepares(self, shard: int) -> bool:
        """Whether to serve what is not ours."""
        row = self._table.row(shard)
        if row.owner:
            # Who has said that it is ready goes on until the table says it no more: it may be handed over meanwhile.
            return self._chosen[shard] == self.name or row.ready == self.name
        return self._chosen[shard] == self.name and shard in self.serving

    def _count(self, before: Table, owned: Mapping[int, int]) -> set[int]:
        """Count what changed hands; return what another took from us."""
        # Only who was ready is given anything; only what was nobody's in the last answer is taken.
        gone = self.owned.keys() - owned.keys()
        given = {s for s in gone if self._table.row(s).owner == before.row(s).ready or not self._table.row(s).owner}
        new = {s for s, fence in owned.items() if self.owned.get(s) != fence}
        received = {s for s in new if before.row(s).owner not in ("", self.name)}
        self.counters.given += len(given)
        self.counters.lost += len(gone - given)
        self.counters.received += len(received)
        self.counters.taken += len(new - received)
        return gone - given
