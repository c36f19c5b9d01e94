"""Every loss is said and nothing else is; and what is commonly done instead does not pass."""

import asyncio
import shutil
from typing import NamedTuple

import pytest

from tests.chaos.__main__ import report
from tests.chaos.disk import NoShim
from tests.chaos.faults import KINDS, OF_DISK, SURVIVED, plan
from tests.chaos.run import Outcome, play
from tests.chaos.scene import Setting
from tests.chaos.strikes import STRIKES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def outcome_of(setting, folder, kinds=(), seconds=3, pace=1) -> Outcome:
    return await play(setting, plan(setting.seed, seconds, kinds, 1, pace), seconds, folder)


def test_each_kind_of_fault_can_be_carried_out():
    assert STRIKES.keys() == KINDS.keys()


async def test_whatever_goes_wrong_everything_is_accounted_for(tmp_path):
    outcome = await outcome_of(Setting(seed=36), tmp_path, SURVIVED, 9, pace=1.5)
    assert outcome.good, report(outcome)


async def test_whatever_redis_forgets_two_workers_account_for_it(tmp_path):
    possible = KINDS.keys() - (set() if shutil.which("cc") else OF_DISK)
    kinds = [kind for kind in KINDS if kind in possible]
    outcome = await outcome_of(Setting(seed=8, workers=2, disk=shutil.which("cc") is not None), tmp_path, kinds, 12)
    assert outcome.good, report(outcome)


async def test_trades_whose_ids_have_no_order_are_there_or_where_they_may_be_missing_is_said(tmp_path):
    kinds = [kind for kind in KINDS if kind not in OF_DISK]
    setting = Setting(exchange="bybit", seed=4, workers=2, channels=("trades",))
    outcome = await outcome_of(setting, tmp_path, kinds, 10)
    assert outcome.good, report(outcome)


async def test_an_exchange_that_begins_to_count_anew_is_followed(tmp_path):
    kinds = ("restart-exchange", "kill", "end", "reset", "redis-kill", "lost-reply")
    outcome = await outcome_of(Setting(seed=5, workers=2), tmp_path, kinds, 12)
    assert outcome.good, report(outcome)


async def test_while_one_of_two_workers_is_well_nothing_is_lost_at_all(tmp_path):
    kinds = ("kill", "reset", "lost-reply", "late", "exchange-reset")
    outcome = await outcome_of(Setting(workers=2), tmp_path, kinds, 6, pace=2)
    assert (outcome.good, outcome.total("gaps")) == (True, 0), report(outcome)


class Control(NamedTuple):
    way: str
    fault: str | None
    column: str
    """Where the oracle has to find something."""
    exchange: str = "binance"

    def __str__(self) -> str:
        return f"{self.way}, {self.fault or 'no fault'}, {self.exchange}"


NO_FAULT = Control("resent", None, "lost")
CONTROLS = (
    Control("resent", "lost-reply", "doubled"),
    Control("retried", "lost-reply", "doubled"),
    Control("remembered", "cut", "lost"),
    Control("trimmed", None, "lost"),
    Control("resent", "lost-reply", "doubled", "bybit"),
    Control("trimmed", None, "lost", "bybit"),
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, Outcome]:
    """Of all controls, and of plain adding while nothing goes wrong; side by side, for they mostly wait."""

    async def play_all():
        async with asyncio.TaskGroup() as tasks:
            playing = {
                str(control): tasks.create_task(
                    outcome_of(played(control), tmp_path_factory.mktemp("control"), _faults(control), pace=8)
                )
                for control in (NO_FAULT, *CONTROLS)
            }
        return {name: task.result() for name, task in playing.items()}

    return asyncio.run(play_all())


def played(control: Control) -> Setting:
    producer = ("tests.chaos.controls", control.way)
    channels = ("trades",) if control.exchange == "bybit" else ("trades", "orderbook")
    return Setting(producer=producer, exchange=control.exchange, channels=channels, rate=300)


def _faults(control: Control) -> tuple[str, ...]:
    return (control.fault,) if control.fault else ()


def test_plain_adding_is_right_while_nothing_goes_wrong(outcomes):
    assert outcomes[str(NO_FAULT)].good, report(outcomes[str(NO_FAULT)])


@pytest.mark.parametrize("control", CONTROLS, ids=str)
def test_what_is_commonly_done_instead_does_not_pass(outcomes, control):
    assert outcomes[str(control)].total(control.column) > 0, report(outcomes[str(control)])


async def test_what_a_client_believes_to_be_on_disk_does_not_pass(tmp_path):
    """The power fails. What we keep is written again; what was let go too early is lost, and can only be told."""

    async def play_on_failing_power(name, **others):
        (folder := tmp_path / name).mkdir()
        return await outcome_of(Setting(seed=2, disk=True, **others), folder, ("power",), 14, pace=4)

    try:
        ours, theirs = await asyncio.gather(
            play_on_failing_power("ours"),
            play_on_failing_power("theirs", producer=("tests.chaos.controls", "barrier")),
        )
    except NoShim as missing:
        pytest.skip(str(missing))
    assert ours.good, report(ours)
    assert (ours.total("gaps"), theirs.total("gaps") > 0) == (0, True), report(theirs)
