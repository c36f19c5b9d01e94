"""What a service knows of one symbol, kept in Redis so that each entry changes it once and is told of once.

First the decision is written down: the new state, and the events that follow. Then the events are appended, and last,
in one step, the state takes its place and the entry is acknowledged. Whoever is handed the entry again finds the
decision and goes on from there: what was decided once is never decided anew, whatever time or market say by then.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from redis.asyncio import Redis

from consumers import stored
from consumers.append import append
from consumers.client import Script
from consumers.delivery import Delivery, Fence, Taken
from ingest.contract import keys
from ingest.contract.codec import freeze, thaw
from ingest.contract.events import Event
from ingest.contract.keys import StreamKey

_DECIDE = Script((Path(__file__).parent / "decide.lua").read_text(encoding="utf-8"))
_OUT = "out "
_REMEMBERED = 1_000
"""So many of what was told in a stream it knows again: half of its window, as others may write there meanwhile."""
_decision = msgspec.msgpack.Decoder(tuple[int, bytes, list[bytes]])

State = TypeVar("State")


class Killed(Exception):
    """The kill switch is on: this must not be decided."""


class Overtaken(Exception):
    """Another has decided something since this was opened."""


class Kept(Generic[State]):
    """The hash `name`. Not to be used any more once it has raised anything but Killed: open it anew."""

    def __init__(self, redis: Redis, name: str, empty: State, fields: Mapping[str, bytes]) -> None:
        self._redis = redis
        self._name = name
        self._fields = dict(fields)
        self.is_new = not fields
        """Whether nothing was kept."""
        self.decisions = int(fields.get("decisions", b"0"))
        self.state = msgspec.msgpack.decode(fields["state"], type=type(empty)) if "state" in fields else empty

    @classmethod
    async def open(cls, redis: Redis, name: str, empty: State, fence: Fence | None = None) -> "Kept[State]":
        """With what is kept, or `empty`. What was decided and may not have been appended is appended.

        Raises RedisError, OSError; and Taken if the `fence` is of somebody who is not the owner any more.
        """
        fields = {field.decode(): value for field, value in (await stored.fields(redis, name)).items()}
        kept = cls(redis, name, empty, fields)
        for _, state, frozen in kept._untold():
            await kept._tell(await kept._not_there([thaw(each) for each in frozen]), fence)
            kept.state = msgspec.msgpack.decode(state, type=type(empty))
        return kept

    def has(self, delivery: Delivery) -> bool:
        """Whether it was decided what follows from the entry."""
        g, _, n = self._fields.get(_did(delivery), b"- 0").decode().partition(" ")
        return _out(delivery) in self._fields or (delivery.entry.g == g and delivery.entry.n <= int(n))

    async def effect(
        self, delivery: Delivery, state: State, events: Sequence[Event], *, while_on: bool = False
    ) -> None:
        """Have the entry's effect, and acknowledge it.

        Raises Killed if trading must be on (`while_on`) and is not, Overtaken, and what `Delivery.commit` and `append`
        raise.
        """
        await self._decide(delivery, state, events, while_on)
        await self._tell(events, delivery.fence)
        self.state = state
        await self.finish(delivery)

    async def note(self, delivery: Delivery, state: State) -> None:
        """Have the state of after an entry from which nothing else follows, and acknowledge it: all in one step.

        `has` does not know of it: the state itself must say that the entry is in it. Raises Overtaken, and what
        `Delivery.commit` raises.
        """
        count = self.decisions + 1
        packed = msgspec.msgpack.encode(state)
        if not await delivery.commit(("HSET", self._name, "state", packed, "decisions", count, "at", count)):
            raise Overtaken(self._name)
        self.decisions = count
        self.state = state

    async def finish(self, delivery: Delivery) -> None:
        """Acknowledge an entry upon which was decided, if that was not done."""
        out, did = _out(delivery), _did(delivery)
        if out not in self._fields:
            return
        place = f"{delivery.entry.g} {delivery.entry.n}".encode()
        packed = msgspec.msgpack.encode(self.state)
        words = ("HSET", self._name, "state", packed, "at", self.decisions, did, place)
        await delivery.commit(words, ("HDEL", self._name, out))
        self._fields[did] = place
        del self._fields[out]

    async def _not_there(self, events: Sequence[Event]) -> list[Event]:
        """Those that are to be told again. What goes into a stream goes there in one step: its newest say of all."""
        names: dict[StreamKey, list[str]] = {}
        for event in events:
            names.setdefault(event.key, []).append(event.s)
        pipe = self._redis.pipeline(transaction=False)
        for key, its in names.items():
            pipe.zmscore(key.ids, its[-_REMEMBERED:])
        there = {key for key, scores in zip(names, await pipe.execute(), strict=True) if None not in scores}
        return [event for event in events if event.key not in there]

    async def _tell(self, events: Sequence[Event], fence: Fence | None) -> None:
        # A fence is of one exchange. What goes to another one is there once by its identity alone.
        ours = self._name.partition("{")[2].partition("}")[0]
        for exchange, some in groupby(events, key=lambda event: event.key.exchange):
            await append(self._redis, tuple(some), fence=fence if exchange == ours else None)

    async def _decide(self, delivery: Delivery, state: State, events: Sequence[Event], while_on: bool) -> None:
        fence = delivery.fence or Fence(self._name, 0, "")
        count = self.decisions + 1
        out = msgspec.msgpack.encode((count, msgspec.msgpack.encode(state), [freeze(event) for event in events]))
        names = (self._name, keys.kill(delivery.key.exchange), fence.table)
        words = (fence.shard, fence.owner, int(while_on), self.decisions, count, _out(delivery), out)
        reply = await _DECIDE.run(self._redis, names, words)
        match reply:
            case b"taken":
                raise Taken(f"{delivery.key} has another owner")
            case b"killed":
                raise Killed
            case b"stale":
                raise Overtaken(self._name)
        self.decisions = count
        self._fields[_out(delivery)] = out

    def _untold(self) -> list[tuple[int, bytes, list[bytes]]]:
        """The decisions that are not in the state, in their order."""
        made = [_decision.decode(value) for field, value in self._fields.items() if field.startswith(_OUT)]
        return sorted(each for each in made if each[0] > int(self._fields.get("at", b"0")))


def _out(delivery: Delivery) -> str:
    return f"{_OUT}{delivery.key.channel} {delivery.entry.id}"


def _did(delivery: Delivery) -> str:
    """Up to which entry of a channel all was decided; those that are handled out of their order have their own."""
    return f"did {delivery.key.channel} {delivery.entry.id}" if delivery.redriven else f"did {delivery.key.channel}"
