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


class Crew:
    """As `together`, for parts that come while others run."""

    def __init__(self) -> None:
        self._parts: set[asyncio.Task[None]] = set()
        self._came = asyncio.Event()

    def start(self, part: Coroutine[Any, Any, None]) -> None:
        """Run it as well."""
        self._parts.add(asyncio.create_task(part))
        self._came.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Until asked to stop and all parts have ended. The first to fail asks the others; its error is raised last."""
        failed: set[asyncio.Task[None]] = set()
        while not stopping.is_set():
            self._came.clear()
            waiting: set[asyncio.Task[Any]] = {
                asyncio.create_task(stopping.wait()),
                asyncio.create_task(self._came.wait()),
            }
            ended, _ = await asyncio.wait(waiting | self._parts, return_when=asyncio.FIRST_COMPLETED)
            for wait in waiting:
                wait.cancel()
            failed = {part for part in ended & self._parts if part.exception()}
            self._parts -= ended - failed
            if failed:
                stopping.set()
        if self._parts:
            await asyncio.wait(self._parts)
        for part in (*failed, *self._parts):
            part.result()
