"""What a reader hands over: an entry, and what its handler can do with it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from ingest.contract.codec import Entry
from ingest.contract.events import Body
from ingest.contract.keys import StreamKey


class Taken(Exception):
    """What was in hand is another process's by now: it has the effect, this one must not."""


class Fence(NamedTuple):
    """By what Redis knows whether a process still owns a part of the streams."""

    table: str
    """Of leases."""
    shard: int
    owner: str
    """Its name and the number that rises with each change of the owner."""


Command = Sequence[str | bytes | int | float]
"""A command of Redis in words, as `("HINCRBY", key, field, 1)`; the second word is its one key."""


class Holder(Protocol):
    """Who has entries in hand, each until it is dealt with."""

    def has(self, entry: object) -> bool:
        """Whether it is still in hand."""

    def ack(self, entry: object) -> None:
        """It is dealt with."""

    def hold(self, entry: object) -> None:
        """It is not over when the next one is asked for."""

    def release(self, entry: object) -> None:
        """It is to come again."""

    def bury(self, entry: object, reason: str, failures: int, deliveries: int) -> None:
        """It goes among the dead letters."""

    async def deliveries(self, entry: object) -> int:
        """How many deliveries are noted."""

    async def delivered(self, entry: object) -> int:
        """Note one more delivery; how many there were."""

    async def failed(self, entry: object) -> int:
        """Note one more failure; how many there were."""

    async def commit(self, entry: object, commands: Sequence[Command]) -> bool:
        """Have the effect and acknowledge it in one step."""


class Delivery(Struct, frozen=True, eq=False):
    """One entry in a handler's hands."""

    key: StreamKey
    entry: Entry
    event: Body
    hole: int
    """So many entries right before this one are lost: neither this reader nor another of its group can get them."""
    redelivered: bool
    """Redis has handed it out before: it may have been handled already, by this process or by one before it."""
    _arrival: object
    _holder: Holder
    fence: Fence | None = None
    """Where there are owners: what `append` needs to know so that nothing of an ex-owner's is written."""
    redriven: bool = False
    """It was a dead letter, and comes after others that stand behind it in its stream."""

    async def ack(self) -> None:
        """Say that it is handled. Told to Redis in batches: after a crash in between it is delivered again."""
        self._holder.ack(self._arrival)

    async def commit(self, *commands: Command) -> bool:
        """Carry these commands out and acknowledge the entry, in one step and once.

        False if that was done before: then nothing is done now. All keys must be in the stream's hash tag. With an
        owner for each partition that holds whatever happens to processes, groups and Redis; where readers compete, it
        holds unless the group itself is destroyed. Raises Taken, and RedisError or OSError: whether it was done is
        then not known, and trying again is right. A command that Redis refuses ends it there: put the one that may be
        refused first.
        """
        return await self._holder.commit(self._arrival, commands)

    def hold(self) -> None:
        """Keep it in hand while others are asked for, until `ack`, `commit`, `release` or `bury`."""
        self._holder.hold(self._arrival)

    def release(self) -> None:
        """Have it delivered again, later: to whoever of the group is free, or, where order is kept, here and next."""
        self._holder.release(self._arrival)

    def bury(self, reason: str, failures: int = 0, deliveries: int = 1) -> None:
        """Put it among the dead letters (`consume dlq`)."""
        self._holder.bury(self._arrival, reason, failures, deliveries)

    async def deliveries(self) -> int:
        """How many deliveries are noted in Redis."""
        return await self._holder.deliveries(self._arrival)

    async def delivered(self) -> int:
        """Note in Redis that it is about to be handled; how often it was. For those that are `redelivered`."""
        return await self._holder.delivered(self._arrival)

    async def failed(self) -> int:
        """Note in Redis that handling it failed; how often it did."""
        return await self._holder.failed(self._arrival)

    @property
    def ours(self) -> bool:
        """Whether it is still in hand. If not, another process handles it, or it comes here again."""
        return self._holder.has(self._arrival)

    def __repr__(self) -> str:
        return f"Delivery({self.key} {self.entry!r} hole={self.hole} redelivered={self.redelivered})"
