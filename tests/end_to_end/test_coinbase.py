"""A worker before a simulated Coinbase over real sockets, and a real Redis."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from ingest.audit import audit
from ingest.contract.codec import decode
from ingest.contract.events import Candle, Delta, Gap, Snapshot, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges import EXCHANGES
from ingest.limits import budgets
from ingest.publisher import Publisher
from ingest.rest import Rest
from ingest.selection import Selection
from ingest.sharing import Sharing
from ingest.simulator.coinbase.exchange import Coinbase
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.server import SimulatedExchange, opened, simulated
from ingest.worker import Worker
from tests.end_to_end.running import QUICK
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USD", "ETH/USD")
TRADES, TICKER, BOOK, CANDLES = (
    StreamKey("coinbase", channel, "BTC/USD") for channel in ("trades", "ticker", "orderbook", "candles-1s")
)
DEEP = 21_000
"""Levels a side that make a snapshot of more than a mebibyte."""


@asynccontextmanager
async def worker(redis, exchange, symbols=SYMBOLS, channels=("trades", "ticker", "orderbook", "candles-1s")):
    venue = EXCHANGES["coinbase"]()
    limits = budgets(redis, "coinbase", venue.limits)
    publisher, rest = Publisher(redis, "coinbase", writer="one"), Rest(exchange.rest_url, limits.weight)
    some = Worker(
        venue,
        selection=Selection(redis, venue, publisher, rest, symbols=symbols, channels=channels, every_s=0.1),
        stream_url=exchange.stream_url,
        patience=QUICK,
        publisher=publisher,
        rest=rest,
        budgets=limits,
        sharing=Sharing(redis, venue, publisher, mode="mirror", name="one", every_s=0.1),
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(some.run(stopping))
    try:
        yield some
    finally:
        stopping.set()
        await running


async def entries(redis, key, *kinds):
    said = [decode(entry_id, fields) for entry_id, fields in await redis.xrange(str(key))]
    return [entry for entry in said if not kinds or isinstance(entry.event, kinds)]


async def closed(redis):
    return [entry for entry in await entries(redis, CANDLES, Candle) if entry.event.closed]


async def test_after_a_cut_every_trade_and_candle_is_there_and_the_book_begins_anew(redis, tmp_path):
    ledger = tmp_path / "ledger.jsonl"

    async def goes_on(epochs, candles):
        begun = {entry.epoch for entry in await entries(redis, BOOK, Snapshot)}
        return len(begun) >= epochs and len(await closed(redis)) >= candles and await entries(redis, TICKER)

    async with simulated("coinbase", symbols=SYMBOLS, rate=200, ledger=ledger) as exchange:
        async with worker(redis, exchange) as some:
            await eventually(lambda: goes_on(1, 2))
            await exchange.drop_all()
            await eventually(lambda: goes_on(2, 8), within_seconds=40)
            exchange.stopping.set()
            await eventually(lambda: some.connections[0].state != "CONNECTED")
    report = await audit(redis, [ledger], time.time_ns())
    ids = [int(entry.s) for entry in await entries(redis, TRADES, Trade)]
    opens = [entry.event.open_ns // 1_000_000_000 for entry in await closed(redis)]
    gaps = await entries(redis, TRADES, Gap) + await entries(redis, CANDLES, Gap)
    assert (report.balanced, ids, opens, gaps) == (
        True,
        list(range(ids[0], ids[-1] + 1)),
        list(range(opens[0], opens[-1] + 1)),
        [],
    )


async def test_a_snapshot_of_more_than_a_mebibyte_is_a_book_like_any_other(redis):
    start_ns = time.time_ns()
    market = Market([listing("BTC/USD")], rate=50, seed=1, start_ns=start_ns)
    (pair,) = market.pairs
    best = pair.book.top()
    for i in range(1, DEEP):
        pair.book.limit(best.bid - 100 - i, buying=True, lots=i)
        pair.book.limit(best.ask + 100 + i, buying=False, lots=i)
    pair.book.drain()
    dialect = Coinbase(market, start_ns)
    (listed,) = dialect._listed.values()
    size = len(listed.whole("").text)
    exchange = SimulatedExchange(Disturbed(dialect, start_ns), None)

    async def changes():
        return len(await entries(redis, BOOK, Delta)) >= 5

    async with opened(exchange, 0), worker(redis, exchange, ("BTC/USD",), ("orderbook",)):
        await eventually(changes)
    snapshot, *_ = await entries(redis, BOOK, Snapshot)
    sides = len(snapshot.event.bids), len(snapshot.event.asks)
    assert (size > 1 << 20, min(sides) > DEEP - 500, snapshot.event.depth) == (True, True, None)
