"""Tasks that belong together."""

import asyncio

import pytest

from ingest.tasks import pause, together


async def test_the_first_to_fail_asks_the_others_and_its_error_comes_last():
    stopping, ended = asyncio.Event(), []

    async def patient():
        await stopping.wait()
        ended.append("patient")

    async def failing():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await together(stopping, patient(), failing())
    assert ended == ["patient"]


async def test_a_pause_ends_when_asked_to_stop():
    stopping = asyncio.Event()
    stopping.set()
    async with asyncio.timeout(5):
        await pause(stopping, 3600)
