"""Ends a process whose event loop stands still: a handler that blocks it cannot be cut off from within."""

import asyncio
import faulthandler

from consumers.patience import pause

_EVERY_SECONDS = 1.0


async def end_if_stuck(limit_s: float, over: asyncio.Event) -> None:
    """Until it is over, let no turn of the loop take longer: the process prints where it stands, and ends with 1.

    What it had in hand is delivered again, to another process or to the next life of this one.
    """
    while not over.is_set():
        faulthandler.dump_traceback_later(limit_s + _EVERY_SECONDS, exit=True)
        await pause(over, _EVERY_SECONDS)
    faulthandler.cancel_dump_traceback_later()
