from random import Random

import pytest

from ingest.contract.events import Status
from ingest.contract.keys import StreamKey
from ingest.exchanges import EXCHANGES
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import KINDS, parse
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from tests.chaos.kept import outages, report
from tests.chaos.soak import next_faults, soak
from tests.chaos.venues import Setting
from tests.ingest.exchanges.facts import FACTS

ALL = tuple(sorted(EXCHANGES.keys() & DIALECTS.keys()))


@pytest.mark.parametrize("name", ALL)
def test_every_fault_of_the_plan_can_be_had_and_all_kinds_come_that_there_are(name: str):
    symbol, cannot = FACTS[name].symbols[0], FACTS[name].cannot
    venue = Disturbed(DIALECTS[name](Market([listing(symbol)], rate=0, seed=1, start_ns=0), 0), 0)
    keys = [StreamKey(name, channel, symbol) for channel in ("trades", "ticker", "orderbook", "candles-1m")]
    random = Random(1)
    faults = [parse(text) for _ in range(900) for text in next_faults(random, keys, cannot)]
    for fault in faults:
        venue.strike(fault)
    # What is halted is an order's business.
    assert KINDS.keys() - {fault.kind for fault in faults} == {"halt", *(KINDS.keys() & cannot.keys())}


def test_an_outage_lasts_from_the_loss_to_the_next_connection():
    states = [
        (0, "CONNECTING", "a"),
        (10, "CONNECTED", "a"),
        (1000, "RECONNECTING", "a"),
        (1100, "CONNECTING", "a"),
        (1200, "ERROR", "a"),
        (1200, "RECONNECTING", "a"),
        (1500, "CONNECTED", "a"),
        (2000, "RECONNECTING", "a"),
        (3000, "RECONNECTING", "b"),
        (4000, "DISCONNECTED", "b"),
    ]
    said = [(at_ms, Status(state=state, reason="", connection=name)) for at_ms, state, name in states]
    assert outages(said) == ((0.5,), 1)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_workers_account_for_all_that_exchanges_do_to_them(tmp_path):
    kept = await soak(Setting(exchanges=ALL, symbols=2, rate=60, seed=5), 12, tmp_path)
    assert (kept.good, kept.faults.total() >= 3) == (True, True), report(kept)
