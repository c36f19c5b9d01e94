"""Tasks that belong together."""

import asyncio

import pytest

from ingest.tasks import Crew, pause, together
from tests.eventually import eventually


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


async def test_a_crew_takes_on_parts_while_it_runs_and_outlives_those_that_end():
    stopping, crew, ended = asyncio.Event(), Crew(), []

    async def part(name):
        ended.append(name)

    running = asyncio.create_task(crew.run(stopping))
    for name in ("first", "second"):
        crew.start(part(name))
        await eventually(lambda wanted=name: wanted in ended)
    assert (ended, running.done()) == (["first", "second"], False)
    stopping.set()
    await running


async def test_a_part_of_a_crew_that_fails_asks_the_others_and_its_error_comes_last():
    stopping, crew, ended = asyncio.Event(), Crew(), []

    async def patient():
        await stopping.wait()
        ended.append("patient")

    async def failing():
        raise ValueError("broken")

    crew.start(patient())
    running = asyncio.create_task(crew.run(stopping))
    crew.start(failing())
    with pytest.raises(ValueError, match="broken"):
        await running
    assert ended == ["patient"]
