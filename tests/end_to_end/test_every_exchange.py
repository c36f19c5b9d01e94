"""Over real sockets what holds on a virtual clock: a worker of each exchange hears all that it says, cut or not."""

import pytest

from ingest.contract.keys import StreamKey
from ingest.exchanges import EXCHANGES
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.ledger import everything
from ingest.simulator.server import simulated
from tests.chaos.chronicle import Chronicle
from tests.end_to_end.running import CHANNELS, working
from tests.eventually import eventually
from tests.ingest.exchanges.facts import FACTS
from tests.ingest.exchanges.judging import judged
from tests.ingest.exchanges.lives import Lives

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ALL = sorted(EXCHANGES.keys() & DIALECTS.keys())


@pytest.mark.parametrize("name", ALL)
async def test_what_it_says_is_what_stands_on_the_bus(redis, tmp_path, name):
    symbols, ledger = FACTS[name].symbols, tmp_path / "ledger.jsonl"
    keys = [StreamKey(name, channel, symbol) for symbol in symbols for channel in CHANNELS]

    async def grown(by):
        lengths = {key: await redis.xlen(str(key)) for key in keys}

        async def enough():
            return all([await redis.xlen(str(key)) >= lengths[key] + by for key in keys])

        await eventually(enough, 90)  # where candles are built, the first one begins with the next minute

    async with simulated(name, symbols=symbols, rate=100, ledger=ledger) as exchange:
        async with working(redis, exchange, symbols, name=name) as worker:
            await grown(by=2)
            exchange.strike(f"gap:trades:{symbols[0]}")
            await grown(by=2)
            await exchange.drop_all()
            await eventually(lambda: all(c.counters.connects >= 2 for c in worker.connections))
            await grown(by=4)
            exchange.stopping.set()
            await eventually(lambda: all(c.state != "CONNECTED" for c in worker.connections))
    truth, past = Lives(everything(ledger)), Chronicle(keys).past
    verdicts = [judged(key, await past(redis, key), truth.lives, truth.struck) for key in keys]
    assert ([str(verdict) for verdict in verdicts if not verdict.good], truth.struck != []) == ([], True)
