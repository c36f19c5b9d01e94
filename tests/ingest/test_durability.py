"""What Redis confirmed and then lost: found at the next word with it, sent again, and told."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from deploy.local_redis import local_redis
from ingest.audit import audit
from ingest.barrier import trusted
from ingest.contract.codec import decode
from ingest.contract.events import Delta, Event, Gap, Snapshot, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.publisher import Publisher
from tests.eventually import eventually

pytestmark = pytest.mark.slow

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
TRADES = StreamKey("binance", "trades", "BTC/USDT")
TICKER = StreamKey("binance", "ticker", "BTC/USDT")
BOOK = StreamKey("binance", "orderbook", "BTC/USDT")
OPAQUE = StreamKey("binance", "trades", "SOL/USDT")
COUNTED = StreamKey("binance", "orderbook", "SOL/USDT")


def trade(i):
    return Event(TRADES, str(i), Trade(price="1.5", amount="2", side="buy", received_ns=i), "dense", str(i))


def ticker(i):
    return Event(TICKER, f"book.{i}", Ticker(received_ns=i, last="1.5"), "ticker")


def snapshot(i):
    return Event(BOOK, str(i), Snapshot(bids=(("1", "2"),), asks=(), received_ns=i), "snapshot")


def delta(i):
    return Event(BOOK, str(i), Delta(bids=(("1", "2"),), asks=(), received_ns=i), "range", str(i))


def connect(url):
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5, socket_connect_timeout=5)


@asynccontextmanager
async def publishing(url, **options):
    client = connect(url)
    publisher = Publisher(client, "binance", **options)
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        publisher.finish()
        unwritten = await running
        await client.aclose()
    assert unwritten == 0


async def confirmed(publisher, *events):
    """Put them and wait until they are confirmed."""
    for event in events:
        publisher.put(event)
    await eventually(lambda: publisher.counters.unconfirmed + publisher.counters.queued == 0)


async def entries(redis, key):
    return [decode(entry_id, fields) for entry_id, fields in await redis.xrange(str(key))]


async def said(redis, key):
    """What the stream says, in short, and by generation the numbers."""
    found = await entries(redis, key)
    numbers = {}
    for entry in found:
        numbers.setdefault(entry.g, []).append(entry.n)
    assert all(ns == list(range(1, len(ns) + 1)) for ns in numbers.values())
    return [f"after {e.event.after_n}" if isinstance(e.event, Gap) else e.s for e in found]


async def roll_back(redis, *keys):
    """Let the streams be what they were at `keep`, as after a crash that lost the end of the append-only file."""
    pipe = redis.pipeline(transaction=True)
    for name in [text for key in keys for text in (str(key), key.state)]:
        pipe.delete(name)
        pipe.rename(f"kept:{name}", name)
    await pipe.execute()
    await redis.client_kill_filter(_type="normal", skipme=True)


async def keep(redis, *keys):
    for name in [text for key in keys for text in (str(key), key.state)]:
        await redis.copy(name, f"kept:{name}")


async def test_what_a_server_loses_with_everything_is_sent_again(tmp_path):
    """It has no append-only file, and is killed."""
    with local_redis() as server:
        async with publishing(server.url) as publisher:
            await confirmed(publisher, *(trade(i) for i in range(1, 6)), ticker(1), ticker(2))
            await asyncio.to_thread(server.kill)
            publisher.put(trade(6))
            await asyncio.to_thread(server.start)
            await confirmed(publisher, ticker(3))
        redis = connect(server.url)
        trades, tickers = await said(redis, TRADES), await said(redis, TICKER)
        await redis.aclose()
    assert (trades, tickers, publisher.counters.again) == (
        ["after 0", "1", "2", "3", "4", "5", "6"],
        ["after 0", "book.1", "book.2", "book.3"],
        7,
    )


async def test_a_server_that_comes_back_without_its_last_entries_gets_them_in_a_new_generation(redis, redis_server):
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, trade(1), trade(2), snapshot(1), delta(2))
        await keep(redis, TRADES, BOOK)
        before = await redis.hget(TRADES.state, "g")
        await confirmed(publisher, trade(3), trade(4), delta(3))
        await roll_back(redis, TRADES, BOOK)
        await confirmed(publisher, trade(5), delta(4))
    trades = await entries(redis, TRADES)
    assert (
        [(entry.g == before.decode(), entry.n, entry.s) for entry in trades if not isinstance(entry.event, Gap)],
        [entry.event for entry in trades if isinstance(entry.event, Gap)],
        [(e.type, e.s) for e in await entries(redis, BOOK) if e.type != "gap"],
    ) == (
        [(True, 1, "1"), (True, 2, "2"), (False, 2, "3"), (False, 3, "4"), (False, 4, "5")],
        [Gap(reason="rollback", after_g=before.decode(), after_n=2)],
        [("snapshot", "1"), ("delta", "2"), ("delta", "3"), ("delta", "4")],
    )


async def test_what_was_lost_and_came_again_is_proven_and_spoken_of_as_generations(redis, redis_server):
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, trade(1), trade(2), snapshot(1), delta(2))
        await keep(redis, TRADES, BOOK)
        await confirmed(publisher, trade(3), trade(4), delta(3))
        await roll_back(redis, TRADES, BOOK)
        await confirmed(publisher, trade(5), delta(4))
        await redis.delete(str(BOOK), BOOK.state)
        await confirmed(publisher, delta(5))
    report = await audit(redis, [], 0)
    assert [(stream.key, stream.generations, stream.verdict) for stream in report.streams] == [
        (str(BOOK), 1, "proven"),
        (str(TRADES), 2, "proven"),
    ]


async def test_a_stream_that_is_deleted_under_us_is_born_again_with_all_that_may_not_be_on_disk(redis, redis_server):
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, trade(1), trade(2))
        await redis.delete(str(TRADES), TRADES.state)
        await confirmed(publisher, trade(3))
    assert await said(redis, TRADES) == ["after 0", "1", "2", "3"]


async def nobody(_redis):
    """Nobody reads."""


async def a_reader(redis):
    """Makes a stream that is not there, to wait in it."""
    await redis.xgroup_create(str(TRADES), "readers", "0", mkstream=True)


@pytest.mark.parametrize("comes", [nobody, a_reader])
async def test_a_stream_that_is_deleted_without_its_state_is_born_again_just_so(redis, redis_server, comes):
    lost = Event(TRADES, "x.1", Gap(reason="away", first_id="3", last_id="5"), "gap", "3-5")
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, trade(1), trade(2), lost, trade(6), trade(4))
        before = await redis.zrange(TRADES.gaps, 0, -1)
        await redis.delete(str(TRADES))
        await comes(redis)
        await confirmed(publisher, trade(7))
    found = [(e.n, e.s, e.event.after_n if e.type == "gap" else e.late) for e in await entries(redis, TRADES)]
    assert (found[1:], found[0][2], await redis.zrange(TRADES.gaps, 0, -1)) == (
        [(2, "1", False), (3, "2", False), (4, "x.1", None), (5, "6", False), (6, "4", True), (7, "7", False)],
        0,
        before,
    )


def opaque(s, ms, before_ms):
    return Event(OPAQUE, s, trade(1).body, "opaque", f"{ms} {before_ms}")


def counted(counter):
    body = snapshot(1).body if counter == 1 else delta(1).body
    return Event(COUNTED, f"w.{counter}", body, "session")


@pytest.mark.parametrize(
    ("key", "events"),
    [
        (OPAQUE, [opaque("a", 100, 90), opaque("b", 150, 100), opaque("c", 160, 150)]),
        (TICKER, [ticker(1), ticker(2), ticker(3)]),
        (COUNTED, [counted(1), counted(2), counted(3)]),
    ],
    ids=["ids without an order", "tickers", "a book without ids"],
)
async def test_of_a_stream_that_is_deleted_nothing_counts_as_said(redis, redis_server, key, events):
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, *events[:2])
        await redis.delete(str(key))
        await confirmed(publisher, events[2])
    assert [entry.s for entry in await entries(redis, key)][1:] == [event.s for event in events]


@pytest.mark.parametrize("comes", [nobody, a_reader])
async def test_a_stream_that_is_deleted_is_told_as_lost_by_whoever_writes_to_it_next(redis, redis_server, comes):
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, trade(1), trade(2))
    await redis.delete(str(TRADES))
    await comes(redis)
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, trade(3))
    assert await said(redis, TRADES) == ["after 0", "3"]


async def test_a_stream_of_which_all_was_trimmed_goes_on(redis, redis_server):
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, trade(1), trade(2))
        await redis.xtrim(str(TRADES), maxlen=0, approximate=False)
        await confirmed(publisher, trade(3))
    async with publishing(redis_server.url) as publisher:
        await redis.xtrim(str(TRADES), maxlen=0, approximate=False)
        await confirmed(publisher, trade(4))
    assert [(entry.n, entry.s) for entry in await entries(redis, TRADES)] == [(4, "4")]


@pytest.mark.parametrize("also", [(), (TRADES.state, BOOK.state)])
async def test_a_stream_that_is_gone_goes_on_where_it_stood_so_that_a_hole_shows(redis, redis_server, also):
    """Nothing is kept here, and of a book what is kept is of no use without a snapshot."""
    async with publishing(redis_server.url, durability="none") as publisher:
        await confirmed(publisher, trade(1), trade(2), snapshot(1), delta(2), delta(3))
        await redis.delete(str(TRADES), str(BOOK), *also)
        await confirmed(publisher, trade(4), delta(4))
        refusals = publisher.take_refusals([TRADES, BOOK])
    assert [(refusal.key, refusal.last) for refusal in refusals] == [(TRADES, "2"), (BOOK, "3")]


async def test_numbers_are_not_given_again_by_a_worker_that_does_not_know_what_the_server_had(tmp_path):
    """It began after the server did: of what was lost in between, another may have known, who is dead."""
    with local_redis(*DURABLE) as server:
        async with publishing(server.url) as publisher:
            await confirmed(publisher, trade(1), trade(2))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await confirmed(publisher, trade(3))
        async with publishing(server.url) as publisher:
            await confirmed(publisher, trade(4))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        async with publishing(server.url) as publisher:
            await confirmed(publisher, trade(5))
        async with connect(server.url) as redis:
            assert await said(redis, TRADES) == ["1", "2", "after 2", "3", "4", "after 3", "5"]


async def test_numbers_are_not_given_again_by_a_worker_that_finds_a_stream_where_it_knows_it(tmp_path):
    """Others may have written behind that while it could not, and are dead."""
    with local_redis(*DURABLE) as server:
        async with publishing(server.url) as one, connect(server.url) as redis:
            await confirmed(one, trade(1))
            await keep(redis, TRADES)
            async with publishing(server.url) as other:
                await confirmed(other, trade(1), trade(2), trade(3))
            await roll_back(redis, TRADES)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await confirmed(one, trade(2))
        async with connect(server.url) as redis:
            assert await said(redis, TRADES) == ["1", "after 1", "2"]


async def test_two_producers_that_find_the_same_loss_make_one_generation_of_it(redis, redis_server):
    async with publishing(redis_server.url) as one, publishing(redis_server.url) as other:
        await confirmed(one, trade(1), trade(2))
        await confirmed(other, trade(1), trade(2))
        await keep(redis, TRADES)
        await confirmed(one, trade(3))
        await confirmed(other, trade(3), trade(4))
        await roll_back(redis, TRADES)
        await confirmed(one, trade(4), trade(5))
        await confirmed(other, trade(4), trade(5))
    found = await entries(redis, TRADES)
    assert (await said(redis, TRADES), len({entry.g for entry in found})) == (["1", "2", "after 2", "3", "4", "5"], 2)


@pytest.mark.parametrize("durability", ["none", "always"])
async def test_without_a_tail_a_loss_is_told_and_not_mended(redis, redis_server, durability):
    """The negative control: it is the tail that brings back what was lost."""
    async with publishing(redis_server.url, durability=durability) as publisher:
        await confirmed(publisher, trade(1), trade(2))
        await redis.delete(str(TRADES), TRADES.state)
        await confirmed(publisher, trade(3))
    assert await said(redis, TRADES) == ["after 0", "3"]


async def test_an_event_that_was_given_up_for_lost_takes_its_ids_out_of_the_gap(redis, redis_server):
    lost = Event(TRADES, "x.1", Gap(reason="away", first_id="2", last_id="9"), "gap", "2-9")
    async with publishing(redis_server.url) as publisher:
        await confirmed(publisher, trade(1), lost, trade(10))
        await confirmed(publisher, trade(5), trade(5), trade(2), trade(9), trade(10))
    late = [(entry.s, entry.late) for entry in await entries(redis, TRADES)]
    gaps = [gap.decode() for gap in await redis.zrange(TRADES.gaps, 0, -1)]
    assert (late, gaps) == (
        [("1", False), ("x.1", False), ("10", False), ("5", True), ("2", True), ("9", True)],
        ["3-4", "6-8"],
    )


async def test_what_the_server_has_on_disk_is_let_go(tmp_path):
    with local_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        async with publishing(server.url, durability="confirmed") as publisher:
            await confirmed(publisher, trade(1), trade(2))
            await eventually(lambda: len(publisher._tail) == 0)


async def test_without_an_append_only_file_the_clock_decides_and_nothing_is_let_go_early(redis, redis_server):
    async with publishing(redis_server.url, durability="confirmed") as publisher:
        await confirmed(publisher, trade(1), trade(2))
        await asyncio.sleep(0)
        assert await trusted(redis, "probe") is False
        assert len(publisher._tail) > 0


async def test_a_server_that_syncs_every_second_is_trusted_because_it_takes_its_time(tmp_path):
    with local_redis("--appendonly", "yes", "--appendfsync", "everysec") as server:
        redis = connect(server.url)
        answer = await trusted(redis, "probe")
        await redis.aclose()
    assert answer is True
