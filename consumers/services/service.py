"""The form of a service."""

from typing import Protocol

from msgspec import Struct

from consumers.delivery import Delivery
from consumers.partition import Partition


class Service(Protocol):
    """Something that reads entries as the group `name` and has an effect."""

    name: str
    channels: tuple[str, ...]
    partition: Partition
    """What of the streams one process owns at a time, and handles in order."""

    async def handle(self, delivery: Delivery) -> None:
        """Have the effect of one entry; it is acknowledged once this returns, and handed in again if this raises.

        After a crash the same entry comes a second time: the effect must then be what it was, or be had by
        `delivery.commit`. Entries of different parts are handled side by side, those of one part one by one.
        """


class Served(Struct, frozen=True):
    """What a run came to."""

    handled: int
    failed: int
    """Attempts that raised or took too long."""
    dead: int
    """Entries that were put among the dead letters because of that."""
