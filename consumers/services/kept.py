"""What a service knows of one symbol, kept in Redis so that each entry changes it once and tells of it once.

An entry's effect is one step of Redis: the new state, the events that follow, and the acknowledgement. Only then are
the events appended. If the process ends in between, whoever opens the state next appends them first; the streams know
them by their identities. So what was decided once is never decided anew, whatever the time or the market is by then.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Generic, TypeVar

import msgspec
from redis.asyncio import Redis

from consumers import stored
from consumers.append import append
from consumers.delivery import Command, Delivery, Fence
from ingest.contract.codec import freeze, thaw
from ingest.contract.events import Event

_OUT = "out "
_batch = msgspec.msgpack.Decoder(list[bytes])

State = TypeVar("State")


class Kept(Generic[State]):
    """The hash `name`. Not to be used any more once a method of it has raised: open it anew."""

    def __init__(self, redis: Redis, name: str, state: State) -> None:
        self.state = state
        self.is_new = True
        """Whether nothing was kept."""
        self._redis = redis
        self._name = name
        self._exchange = name.partition("{")[2].partition("}")[0]

    @classmethod
    async def open(cls, redis: Redis, name: str, empty: State, fence: Fence | None = None) -> "Kept[State]":
        """With what is kept, or `empty`. What was decided and may not have been appended is appended.

        Raises RedisError, OSError; and Taken if the `fence` is of somebody who is not the owner any more.
        """
        fields = await stored.fields(redis, name)
        kept = cls(redis, name, empty)
        for field in sorted(field.decode() for field in fields if field.startswith(_OUT.encode())):
            await kept._tell(field, [thaw(frozen) for frozen in _batch.decode(fields[field.encode()])], fence)
        if b"state" in fields:
            kept.state = msgspec.msgpack.decode(fields[b"state"], type=type(empty))
            kept.is_new = False
        return kept

    async def commit(
        self, delivery: Delivery, state: State, events: Sequence[Event], unless: Sequence[Command] = ()
    ) -> bool:
        """Have the entry's effect, and acknowledge it. False if it was had before: then this one is out of date.

        Nothing is done if Redis refuses one of the commands `unless`, which write nothing. Raises as
        `Delivery.commit` and `append` do.
        """
        # Of the entry, so that one who was paused can never remove what another has put there meanwhile.
        out = f"{_OUT}{delivery.key.channel} {delivery.entry.id}"
        fields: list[str | bytes] = ["state", msgspec.msgpack.encode(state)]
        if events:
            fields += (out, msgspec.msgpack.encode([freeze(event) for event in events]))
        if not await delivery.commit(*unless, ("HSET", self._name, *fields)):
            return False
        self.state = state
        if events:
            await self._tell(out, events, delivery.fence)
        return True

    async def _tell(self, out: str, events: Sequence[Event], fence: Fence | None) -> None:
        for exchange, some in groupby(events, key=lambda event: event.key.exchange):
            # A fence is of one exchange. What goes to another one is named by what it follows from, and is there once.
            await append(self._redis, tuple(some), fence=fence if exchange == self._exchange else None)
        await self._redis.hdel(self._name, out)
