"""Services that do what is commonly done instead: `python -m tests.chaos.trading_controls WAY …`.

- `entry-ids ARGUMENTS`: `consume run ARGUMENTS`, of bots that name what they wish by the ids of entries.
- `ack-first ARGUMENTS`: the same, of an order service that acknowledges before it has any effect.

An oracle that lets one of them pass is worth nothing.
"""

import asyncio
import sys

from msgspec.structs import replace

from consumers.__main__ import main
from consumers.append import append
from consumers.commands import run
from consumers.delivery import Delivery
from consumers.services.bot import Bot
from consumers.services.order import Orders
from consumers.services.seat import Seat
from consumers.services.strategy import Cancel, Wish
from consumers.services.venue import Desk
from ingest.contract.codec import Entry
from ingest.contract.events import Event
from ingest.contract.keys import StreamKey

_AWAY_S = 0.2
"""That it takes to an exchange."""


class ByEntryIds(Seat):
    """An entry that is written again, after its stream was lost, has another id and is another reason to trade."""

    def _intent(self, key: StreamKey, entry: Entry, index: int, wish: Wish | Cancel) -> Event:
        event = super()._intent(key, entry, index, wish)
        name = f"{self._terms.bot}/{key}/{entry.id}/{index}"
        return replace(event, s=name, body=replace(event.body, intent_id=name))


class AckFirst(Orders):
    """Whatever it had in hand as it died is done with, and was never done."""

    async def handle(self, delivery: Delivery) -> None:
        acknowledged = await delivery.commit(("HSET", f"hasty:{{{delivery.key.exchange}}}", "acknowledged", 1))
        if acknowledged and delivery.key.channel == "approved":
            await asyncio.sleep(_AWAY_S)
            await append(self._redis, (await self._step(Desk(), delivery)).events)


if __name__ == "__main__":
    match sys.argv.pop(1):
        case "entry-ids":
            Bot.seat = ByEntryIds
        case "ack-first":
            run.Orders = AckFirst
    sys.argv.insert(1, "run")
    main()
