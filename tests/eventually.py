"""Waiting for what will be true, instead of sleeping for as long as it might take."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(condition: Callable[[], T | Awaitable[T]], within_seconds: float = 20) -> T:
    """The first true value of `condition`; an AssertionError with the last one if none comes in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert loop.time() < deadline, f"still {value!r} after {within_seconds} s"
        await asyncio.sleep(0.01)
