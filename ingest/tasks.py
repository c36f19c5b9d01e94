"""Tasks that belong together: none dies unnoticed, and all are stopped by asking."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(stopping: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts until all have ended. The first to fail asks the others to stop; its error is raised last."""
    tasks = [asyncio.create_task(part) for part in parts]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stopping.set()
    await asyncio.wait(tasks)
    for task in tasks:
        task.result()


async def unless(stopping: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> None:
    """Await it, or until asked to stop: then it is cancelled."""
    tasks = (asyncio.create_task(waiting), asyncio.create_task(stopping.wait()))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait that long, or until asked to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass
