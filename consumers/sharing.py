"""How the processes of a group go together: the one form of the two ways, owned and shared."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from consumers.group import Tenancy
from ingest.contract.keys import StreamKey


class Sharing(Protocol):
    """One process's part in it."""

    in_order: bool
    """Whether the entries of a stream are handled one after the other."""
    every_s: float
    """How often there is to be a round."""

    def reads(self, key: StreamKey) -> bool:
        """Whether to read this stream now."""

    def tenancy(self, key: StreamKey) -> Tenancy:
        """Under which it is read."""

    def fresh(self, key: StreamKey) -> bool:
        """Whether it is certain that nobody else reads it under our name."""

    def lose(self, key: StreamKey) -> None:
        """Redis has said that it is another's."""

    async def round(self, exchange: str, in_hand: Mapping[StreamKey, Sequence[bytes]]) -> bool:
        """Say that we live; whether what we read is another than before. Raises RedisError, OSError.

        `in_hand` are the streams that are read or of which something is in hand, and what.
        """

    async def leave(self, exchange: str) -> None:
        """Give everything to others. Raises RedisError, OSError."""
