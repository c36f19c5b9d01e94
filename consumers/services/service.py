"""The form of a service, and the line it runs along: read an entry, handle it, acknowledge it."""

import asyncio
from typing import Protocol

import structlog
from msgspec import Struct

from consumers.delivery import Delivery
from consumers.reader import Reader

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.05
"""Doubled after each attempt: an entry that cannot be handled holds the others up for under a second."""

_log = structlog.get_logger()


class Service(Protocol):
    """Something that reads entries as the group `name` and has an effect."""

    name: str
    channels: tuple[str, ...]

    async def handle(self, delivery: Delivery) -> None:
        """Have the effect of one entry; it is acknowledged once this returns, and handed in again if this raises.

        After a crash the same entry comes a second time: the effect must then be what it was.
        """


class Served(Struct, frozen=True):
    """What a run came to."""

    handled: int
    failed: int
    """Times that no attempt could handle an entry. It stays pending, so it comes again; nothing buries it yet."""


async def run(service: Service, reader: Reader, stopping: asyncio.Event) -> Served:
    """Serve until `stopping` is set, which leaves the entry at hand finished and acknowledged."""
    handled = failed = 0
    ask = asyncio.create_task(_ask_to_stop(reader, stopping))
    try:
        async for delivery in reader:
            if await _handled(service, delivery, stopping):
                await delivery.ack()
                handled += 1
            else:
                failed += 1
    finally:
        ask.cancel()
    return Served(handled=handled, failed=failed)


async def _handled(service: Service, delivery: Delivery, stopping: asyncio.Event) -> bool:
    for attempt in range(ATTEMPTS):
        try:
            await service.handle(delivery)
        except Exception:  # noqa: BLE001 - a handler may raise anything; the other streams go on
            _log.exception(
                "not handled",
                service=service.name,
                stream=str(delivery.key),
                entry_id=delivery.entry.id,
                attempt=attempt + 1,
            )
        else:
            return True
        if attempt + 1 < ATTEMPTS and await _set_within(stopping, FIRST_PAUSE_SECONDS * 2**attempt):
            break
    return False


async def _ask_to_stop(reader: Reader, stopping: asyncio.Event) -> None:
    await stopping.wait()
    reader.stop()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
