"""The table of leases: who has which part of a whole, decided in one call by the clock of Redis. Its codec; pure.

Workers share symbols by it, and the readers of a group its streams.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

SCRIPT = (Path(__file__).parent / "leases.lua").read_text(encoding="utf-8")
"""Lua for one round of a member; its keys are the hash of the members and the hash of the shards."""


class Row(NamedTuple):
    """One shard. Where nobody is, there is ""."""

    owner: str = ""
    fence: int = 0
    """Goes up with each change of the owner."""
    ready: str = ""
    """To whom it can be handed over: its data flows there as well."""


class Table(NamedTuple):
    """How everything stands after a member's round."""

    known: bool = True
    """Whether it had been a member until then."""
    members: tuple[str, ...] = ()
    rows: Mapping[int, Row] = {}

    def row(self, shard: int) -> Row:
        """A shard that nobody ever had is not in the table."""
        return self.rows.get(shard, Row())


class Verb(StrEnum):
    """What a member may ask about a shard; leases.lua says what comes of it."""

    HOLD = "hold"
    READY = "ready"
    GIVE = "give"
    DROP = "drop"


class Ask(NamedTuple):
    """One of a member's wishes in a round."""

    shard: int
    verb: Verb
    fence: int = 0
    """The highest that the member has seen there."""


def arguments(member: str, asks: Sequence[Ask], *, ttl_ms: int, leaving: bool) -> list[str | int]:
    """What the script gets behind its keys. The member's name has no blanks."""
    return [member, ttl_ms, int(leaving), *(f"{ask.shard} {ask.verb} {ask.fence}" for ask in asks)]


def table(reply: tuple[int, Sequence[bytes], Sequence[bytes]]) -> Table:
    """What the script replied."""
    known, members, rows = reply
    return Table(bool(known), tuple(sorted(name.decode() for name in members)), dict(map(_row, rows)))


def _row(told: bytes) -> tuple[int, Row]:
    shard, owner, fence, ready = told.decode().split(" ")
    return int(shard), Row(_somebody(owner), int(fence), _somebody(ready))


def _somebody(name: str) -> str:
    return "" if name == "-" else name
