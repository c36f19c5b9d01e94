"""Trading keeps what it promises whatever befalls it; and what is commonly done instead is found."""

import asyncio
from typing import NamedTuple

import pytest

from tests.chaos import faults
from tests.chaos.faults import Fault
from tests.chaos.trading_run import PARTS, Outcome, play, report
from tests.chaos.trading_stage import Setting
from tests.chaos.trading_strikes import FAULTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


async def test_whatever_befalls_it_trading_keeps_its_promises(tmp_path):
    plan = faults.plan(4, 10, tuple(FAULTS), PARTS, table=FAULTS)
    outcome = await play(Setting(seed=4), plan, 10, tmp_path)
    assert outcome.good, report(outcome)


class Control(NamedTuple):
    service: str
    fault: str
    part: int
    words: str
    """That the oracle has to say."""


CONTROLS = {
    "entry-ids": Control("bot", "delete", 0, " has become 2 intents"),
    "ack-first": Control("order", "kill", 3, " was approved and is no order"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, Outcome]:
    """Of all controls, side by side, for they mostly wait."""

    def playing(way):
        control = CONTROLS[way]
        setting = Setting(
            exchanges=("binance",),
            copies=1,
            instead={control.service: ("tests.chaos.trading_controls", way)},
            # So that there is always something in hand.
            told={"CONSUMER_LATENCY_MS": "200"},
        )
        plan = [Fault(1.5 * number, control.fault, control.part, 0.1) for number in range(1, 6)]
        return play(setting, plan, 9, tmp_path_factory.mktemp(way))

    async def play_all():
        async with asyncio.TaskGroup() as tasks:
            started = {way: tasks.create_task(playing(way)) for way in CONTROLS}
        return {way: task.result() for way, task in started.items()}

    return asyncio.run(play_all())


@pytest.mark.parametrize("way", CONTROLS)
def test_what_is_commonly_done_instead_does_not_pass(outcomes, way):
    outcome = outcomes[way]
    assert any(each.endswith(CONTROLS[way].words) for each in outcome.wrong), report(outcome)
