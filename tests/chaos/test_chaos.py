"""Every loss is said and nothing else is; and what is commonly done instead does not pass."""

import pytest

from tests.chaos.__main__ import report
from tests.chaos.faults import KINDS, SURVIVED, plan
from tests.chaos.run import play
from tests.chaos.scene import Setting
from tests.chaos.strikes import STRIKES

pytestmark = pytest.mark.slow


def test_each_kind_of_fault_can_be_carried_out():
    assert STRIKES.keys() == KINDS.keys()


def control(way, **others):
    return Setting(producer=("tests.chaos.controls", way), channels=("trades", "orderbook"), **others)


async def outcome_of(setting, folder, kinds, seconds, pace):
    faults = plan(setting.seed, seconds, kinds, setting.workers, pace)
    return await play(setting, faults, seconds, folder)


async def test_whatever_goes_wrong_everything_is_accounted_for(tmp_path):
    outcome = await outcome_of(Setting(channels=("trades", "ticker", "orderbook")), tmp_path, SURVIVED, 12, 1)
    assert outcome.good, report(outcome)


async def test_plain_adding_is_right_while_nothing_goes_wrong(tmp_path):
    outcome = await outcome_of(control("resent"), tmp_path, (), 1, 1)
    assert outcome.good, report(outcome)


@pytest.mark.parametrize(
    ("way", "fault", "column"),
    [
        ("resent", "lost-reply", "doubled"),
        ("retried", "lost-reply", "doubled"),
        ("remembered", "cut", "lost"),
        ("trimmed", None, "lost"),
    ],
)
async def test_what_is_commonly_done_instead_does_not_pass(tmp_path, way, fault, column):
    outcome = await outcome_of(control(way), tmp_path, (fault,) if fault else (), 3, 8)
    assert outcome.total(column) > 0, report(outcome)
