"""Trading keeps what it promises whatever befalls it; and what is commonly done instead is found."""

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from tests.chaos import faults
from tests.chaos.faults import Fault
from tests.chaos.trading_run import PARTS, play, report
from tests.chaos.trading_setting import Setting
from tests.chaos.trading_strikes import FAULTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


async def test_whatever_befalls_it_trading_keeps_its_promises(tmp_path):
    plan = faults.plan(4, 10, tuple(FAULTS), PARTS, table=FAULTS)
    outcome = await play(Setting(seed=4), plan, 10, tmp_path)
    assert outcome.good, report(outcome)


class Control(NamedTuple):
    setting: Mapping[str, object]
    faults: tuple[Fault, ...]
    words: tuple[str, ...]
    """That the oracle has to say."""


def again(kind, part=0):
    return tuple(Fault(1.5 * number, kind, part, 0.1) for number in range(1, 6))


AMOUNTS = ("CONSUMER_MAX_AMOUNT", "CONSUMER_MAX_POSITION")
VALUES = ("CONSUMER_MAX_VALUE", "CONSUMER_MAX_EXPOSURE")
CONTROLS = {
    "entry ids": Control(
        {"instead": {"bot": ("tests.chaos.trading_controls", "entry-ids")}},
        again("delete"),
        (" has become 2 intents",),
    ),
    "ack first": Control(
        {"instead": {"order": ("tests.chaos.trading_controls", "ack-first")}},
        again("kill", part=3),
        (" was approved and is no order",),
    ),
    "no limits": Control(
        {"told": {"CONSUMER_PRICE_BAND": "1", **dict.fromkeys(AMOUNTS, ""), **dict.fromkeys(VALUES, "1000000")}},
        (),
        (" outside of the price band", " was approved: the amount ", " could "),
    ),
}


@pytest.mark.parametrize("control", CONTROLS.values(), ids=list(CONTROLS))
async def test_what_is_commonly_done_instead_does_not_pass(control, tmp_path):
    setting = Setting(exchanges=("binance",), copies=1, **control.setting)
    outcome = await play(setting, control.faults, 9, tmp_path)
    assert all(any(word in each for each in outcome.wrong) for word in control.words), report(outcome)
