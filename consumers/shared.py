"""The shared way: readers compete, each entry goes to whoever is free. For work in which order does not matter."""

from collections.abc import Mapping, Sequence

from consumers.group import Group, Tenancy
from ingest.contract.keys import StreamKey


class Shared:
    """One of many; what is in hand here is kept from being claimed by others, who take over what is not."""

    in_order = False

    def __init__(self, group: Group, claim_idle_ms: int) -> None:
        self.every_s = claim_idle_ms / 3000
        self._group = group

    def reads(self, _key: StreamKey) -> bool:
        """All."""
        return True

    def tenancy(self, _key: StreamKey) -> Tenancy:
        """Nobody's."""
        return Tenancy()

    def fresh(self, _key: StreamKey) -> bool:
        """What was claimed by another meanwhile is handled twice, here and there."""
        return True

    def lose(self, _key: StreamKey) -> None:
        """There is nothing to lose."""

    async def round(self, _exchange: str, in_hand: Mapping[StreamKey, Sequence[bytes]]) -> bool:
        """Touch what is in hand."""
        held = {key: ids for key, ids in in_hand.items() if ids}
        if held:
            await self._group.touch(held)
        return False

    async def leave(self, _exchange: str) -> None:
        """What was not handled is claimed by others once it has been idle for long enough."""
