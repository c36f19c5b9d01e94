from random import Random

import pytest

from ingest.contract.events import Status
from ingest.contract.keys import StreamKey
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import KINDS, parse
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from tests.chaos.scene import Setting
from tests.chaos.soak import next_faults, outages, report, soak

KEYS = [StreamKey("binance", channel, "BTC/USDT") for channel in ("trades", "ticker", "orderbook", "candles-1s")]


def test_every_fault_of_the_plan_can_be_had_and_all_kinds_come_that_are_made_good():
    venue = Disturbed(DIALECTS["binance"](Market([listing("BTC/USDT")], rate=0, seed=1, start_ns=0), 0), 0)
    random = Random(1)
    faults = [parse(text) for _ in range(500) for text in next_faults(random, KEYS)]
    for fault in faults:
        venue.strike(fault)
    assert KINDS.keys() - {fault.kind for fault in faults} == {"crossed", "checksum", "halt", "series"}


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
async def test_a_worker_accounts_for_all_that_an_exchange_does_to_it(tmp_path):
    kept = await soak(Setting(seed=5, symbols=("BTC/USDT", "ETH/USDT"), rate=200), 12, tmp_path)
    assert (kept.good, kept.faults.total() >= 3) == (True, True), report(kept)
