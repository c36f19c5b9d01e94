"""Readers keep what they promise whatever befalls them; and what is commonly done instead does not."""

import asyncio
from functools import partial
from typing import NamedTuple

import pytest

from tests.chaos.consumers_run import Outcome, Setting, play, report
from tests.consumers.cutting import cutting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

lost_replies = partial(cutting, word=b"XREADGROUP", every=10)


async def test_whatever_befalls_owners_and_competing_readers_they_keep_their_promises(tmp_path):
    outcome = await play(Setting(seed=5, seconds=12, every_s=0.6), tmp_path)
    assert outcome.good, report(outcome)


async def test_replies_that_get_lost_change_nothing(tmp_path):
    outcome = await play(Setting(seconds=5, processes=2, faults=()), tmp_path, lost_replies)
    assert outcome.good, report(outcome)


class Control(NamedTuple):
    way: str
    fault: str | None
    column: str
    """Where the oracle has to find something."""


CONTROLS = (
    Control("at-once", "kill", "lost"),
    Control("from-now", None, "lost"),
    Control("retried", "lost replies", "lost"),
    Control("plain", None, "inverted"),
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, Outcome]:
    """Of all controls, side by side, for they mostly wait."""

    def playing(control):
        setting = Setting(
            seconds=5,
            every_s=0.7,
            processes=2,
            rate=250,
            command=("tests.chaos.consumers_controls", control.way),
            groups=(control.way,),
            faults=("kill",) if control.fault == "kill" else (),
            stands_still_s=3,
        )
        way = lost_replies if control.fault == "lost replies" else None
        return play(setting, tmp_path_factory.mktemp(control.way), way)

    async def play_all():
        async with asyncio.TaskGroup() as tasks:
            started = {control.way: tasks.create_task(playing(control)) for control in CONTROLS}
        return {name: task.result() for name, task in started.items()}

    return asyncio.run(play_all())


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.way)
def test_what_is_commonly_done_instead_does_not_pass(outcomes, control):
    (verdict,) = outcomes[control.way].verdicts
    assert getattr(verdict, control.column) > 0, report(outcomes[control.way])
