"""Events into a real Redis, with everything between here and there that can break."""

import asyncio
from contextlib import asynccontextmanager
from itertools import groupby

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from deploy.local_redis import free_port, local_redis
from ingest.contract.append import SCRIPT, Appended
from ingest.contract.codec import decode
from ingest.contract.events import Event, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.outbox import Counters
from ingest.publisher import FLUSHES_IN_FLIGHT, CannotAppend, Publisher
from tests.chaos.link import Link
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
TRADES = [StreamKey("binance", "trades", symbol) for symbol in SYMBOLS]
BTC = TRADES[0]
TICKER = StreamKey("binance", "ticker", "BTC/USDT")
STATUS = StreamKey("binance", "status")


def trade(i, key=BTC):
    return Event(key, str(i), Trade(price="1.5", amount="2", side="buy", received_ns=i), "dense", str(i))


def ticker(i):
    return Event(TICKER, f"book.{i}", Ticker(received_ns=i, last="1.5"), "ticker")


def status(i):
    return Event(STATUS, f"x.{i}", Status(state="live", reason="start"), "window")


def connect(url):
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5, socket_connect_timeout=5)


@pytest.fixture
async def bus(redis, redis_server):
    """A client of its own for the publisher, so that the test's is not killed with it."""
    client = connect(redis_server.url)
    yield client
    await client.aclose()


async def identities(redis, key):
    """Every event's `s`, once it is certain that `n` counts the entries of each generation."""
    entries = [decode(entry_id, fields) for entry_id, fields in await redis.xrange(str(key))]
    numbers = [[entry.n for entry in generation] for _, generation in groupby(entries, lambda entry: entry.g)]
    assert numbers == [list(range(1, len(each) + 1)) for each in numbers]
    return [entry.s for entry in entries if getattr(entry.event, "after_g", None) is None]


@asynccontextmanager
async def publishing(redis, **options):
    """A publisher at work; at the end all that was put is written."""
    publisher = Publisher(redis, "binance", **options)
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        publisher.finish()
        unwritten = await running
    assert unwritten == 0


@asynccontextmanager
async def linked(server):
    """A link to the server, and a client at its far end."""
    async with Link(server.port) as link:
        client = connect(f"redis://127.0.0.1:{link.port}/0")
        try:
            yield link, client
        finally:
            await client.aclose()


@asynccontextmanager
async def putting(publisher):
    """Events of five streams without end while it lasts; afterwards the list says how many of each."""
    done = asyncio.Event()

    async def put():
        i = 0
        while not done.is_set():
            i += 1
            for event in (*(trade(i, key) for key in TRADES), ticker(i), status(i)):
                publisher.put(event)
            if publisher.full:
                await publisher.room()
            if i % 50 == 0:
                await asyncio.sleep(0)
        return i

    put_up_to = []
    task = asyncio.create_task(put())
    try:
        yield put_up_to
    finally:
        done.set()
        put_up_to.append(await task)


async def all_identities(redis):
    return [await identities(redis, key) for key in (*TRADES, TICKER, STATUS)]


def all_up_to(last):
    ids = range(1, last + 1)
    return [*([str(i) for i in ids] for _ in TRADES), [f"book.{i}" for i in ids], [f"x.{i}" for i in ids]]


async def test_events_arrive_in_order_and_once(redis):
    publisher = Publisher(redis, "binance")
    for i in range(1, 501):
        for key in TRADES:
            publisher.put(trade(i, key))
    publisher.finish()
    unwritten = await publisher.run()
    streams = [await identities(redis, key) for key in TRADES]
    expected = Counters(put=1500, appended=1500, flushes=3, connects=1)
    assert (unwritten, streams, publisher.counters) == (0, [[str(i) for i in range(1, 501)]] * 3, expected)


async def test_an_event_does_not_wait_for_others(redis):
    async with publishing(redis) as publisher:
        for i in (1, 2):
            publisher.put(trade(i))
            await eventually(lambda i=i: publisher.counters.appended == i)
    assert publisher.counters == Counters(put=2, appended=2, flushes=2, connects=1)


async def test_the_exchange_and_its_streams_can_be_found(redis):
    async with publishing(redis) as publisher:
        publisher.put(trade(1))
        publisher.put(status(1))
    found = await redis.smembers("md:exchanges"), await redis.smembers("md:{binance}:streams")
    assert found == ({b"binance"}, {str(BTC).encode(), str(STATUS).encode()})


async def test_what_a_stream_has_already_is_a_duplicate(redis):
    for _ in range(2):
        async with publishing(redis) as publisher:
            for i in (1, 2, 3):
                publisher.put(trade(i))
    assert (await identities(redis, BTC), publisher.counters.duplicates) == (["1", "2", "3"], 3)


async def test_there_is_room_below_the_bound(redis):
    publisher = Publisher(redis, "binance", bound=3)
    fullness = []
    for i in (1, 2, 3, 4):
        fullness.append(publisher.full)
        publisher.put(trade(i))
    waiting = asyncio.create_task(publisher.room())
    await asyncio.wait([waiting], timeout=0)
    fullness += [publisher.full, waiting.done()]
    publisher.finish()
    await publisher.run()
    await waiting
    assert (fullness, publisher.full) == ([False, False, False, True, True, False], False)


async def test_it_is_known_where_streams_stand(redis):
    counted, opaque = (StreamKey("binance", channel, "DOGE/USDT") for channel in ("orderbook", "trades"))
    whole = Snapshot(bids=(), asks=(), received_ns=1)
    async with publishing(redis) as publisher:
        for event in (trade(1), trade(2), trade(7, TRADES[1]), ticker(1), status(1)):
            publisher.put(event)
        publisher.put(Event(counted, "x.7.1", whole, "session"))
        publisher.put(Event(opaque, "abc", trade(1).body, "opaque", "1234"))
    standings = await publisher.standings([*TRADES, TICKER, STATUS, counted, opaque])
    assert {key: (stands.n, stands.position) for key, stands in standings.items()} == {
        BTC: (2, "2"),
        TRADES[1]: (1, "7"),
        TICKER: (1, "book.1"),
        STATUS: (1, None),
        counted: (1, "x.7.1"),
        opaque: (1, "1234"),
    }


async def test_connections_killed_again_and_again_change_nothing(redis, bus):
    async with publishing(bus, bound=2000) as publisher, putting(publisher) as last:
        for _ in range(8):
            before = publisher.counters.appended
            await eventually(lambda before=before: publisher.counters.appended > before)
            await redis.client_kill_filter(_type="normal", skipme=True)
    written = publisher.counters.appended + publisher.counters.duplicates
    assert (await all_identities(redis), written) == (all_up_to(*last), 5 * last[0])


@pytest.mark.parametrize("snag", ["cut", "late", "lost-reply"])
async def test_a_snag_on_the_way_changes_nothing(redis, redis_server, snag):
    async with (
        linked(redis_server) as (link, client),
        publishing(client, bound=2000) as publisher,
        putting(publisher) as last,
    ):
        for connects in (1, 2, 3, 4):
            await eventually(lambda connects=connects: publisher.counters.connects == connects)
            link.snag(snag, 0.2)
    assert await all_identities(redis) == all_up_to(*last)


async def test_sending_xadd_again_doubles_entries(redis, redis_server):
    """The control of the two above: what the script protects from does happen."""

    async def xadd(client, entries):
        pipeline = client.pipeline(transaction=False)
        for entry in entries:
            pipeline.xadd("naive", {"s": entry})
        await pipeline.execute()

    async with linked(redis_server) as (link, client):
        await client.ping()
        link.snag("lost-reply")
        with pytest.raises(RedisError):
            await xadd(client, range(50))
        await xadd(client, range(50))
    assert await redis.xlen("naive") == 100


async def test_a_flush_that_fails_is_not_overtaken_by_those_behind_it(redis):
    """The script comes and goes, so that some of the flushes in flight fail and others behind them would not."""
    async with publishing(redis, bound=5000) as publisher, putting(publisher) as last:
        for connects in range(2, 8):
            while publisher.counters.connects < connects:
                await redis.script_flush()
                await redis.script_load(SCRIPT)
    assert await all_identities(redis) == all_up_to(*last)


async def test_the_end_of_an_idle_connection_is_noticed(redis, bus):
    async with publishing(bus) as publisher:
        await eventually(lambda: publisher.counters.connects == 1)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: publisher.counters.connects == 2)


@pytest.fixture
def impatient(monkeypatch):
    """A publisher that waits for a reply half a second, not five."""
    monkeypatch.setattr("ingest.publisher._REPLY_WITHIN_S", 0.5)
    monkeypatch.setattr("ingest.publisher._LISTEN_S", 0.1)


@pytest.mark.usefixtures("impatient")
async def test_a_half_open_connection_is_noticed(redis, redis_server):
    async with linked(redis_server) as (link, client), publishing(client) as publisher:
        publisher.put(trade(1))
        await eventually(lambda: publisher.counters.appended == 1)
        link.fall_silent()
        publisher.put(trade(2))
        await eventually(lambda: publisher.counters.appended == 2)
    assert (await identities(redis, BTC), publisher.counters.connects) == (["1", "2"], 2)


@pytest.mark.usefixtures("impatient")
async def test_silence_with_nothing_to_say_is_no_trouble(redis):
    async with publishing(redis) as publisher:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await eventually(lambda: publisher.counters.connects > 1)


@pytest.mark.usefixtures("impatient")
async def test_a_slow_reply_after_another_is_no_trouble(redis_server, redis):
    async with linked(redis_server) as (link, client), publishing(client) as publisher:
        await eventually(lambda: publisher.counters.connects == 1)
        link.delay(0.12)
        for i in range(1, 9):
            publisher.put(trade(i))
            await eventually(lambda i=i: publisher.counters.appended == i)
    assert (await identities(redis, BTC), publisher.counters.connects) == ([str(i) for i in range(1, 9)], 1)


async def test_a_refusal_is_told_once_and_the_answer_to_it_is_taken(redis, redis_server):
    async with linked(redis_server) as (link, client), publishing(client) as publisher:
        for i in (1, 2, 3, 10, 11):
            publisher.put(trade(i))
        await eventually(lambda: publisher.counters.refused == 2)
        link.delay(0.1)
        publisher.put(trade(12))
        await eventually(lambda: publisher.counters.unconfirmed == 1)  # in flight at the telling
        publisher.put(trade(13))  # queued at the telling
        told = publisher.take_refusals(TRADES)
        for i in range(4, 14):
            publisher.put(trade(i))
        await eventually(lambda: publisher.counters.appended == 13)
        told_again = publisher.take_refusals(TRADES)
    ids = await identities(redis, BTC)
    assert (told, told_again, ids, publisher.counters.refused) == (
        [Appended(BTC, True, False, told[0].g, 3, "3", 3, 3)],
        [],
        [str(i) for i in range(1, 14)],
        4,
    )


async def test_the_telling_of_a_refusal_makes_room(redis, redis_server):
    async with linked(redis_server) as (link, client), publishing(client, bound=2) as publisher:
        publisher.put(trade(1))
        publisher.put(trade(3))
        await eventually(lambda: publisher.counters.refused == 1)
        link.delay(0.2)
        for i in range(FLUSHES_IN_FLIGHT):
            publisher.put(trade(4 + i))
            await eventually(lambda i=i: publisher.counters.unconfirmed == i + 1)
        publisher.put(trade(8))
        publisher.put(trade(9))
        waiting = asyncio.create_task(publisher.room())
        await asyncio.wait([waiting], timeout=0)
        waited = not waiting.done()
        publisher.take_refusals([BTC])
        await asyncio.wait([waiting], timeout=5)
        assert (waited, waiting.done()) == (True, True)


async def test_a_refusal_holds_up_no_other_stream(redis):
    async with publishing(redis) as publisher:
        for event in (trade(1), trade(3), trade(7, TRADES[1]), ticker(1), trade(8, TRADES[1])):
            publisher.put(event)
    ids = [await identities(redis, key) for key in (BTC, TRADES[1], TICKER)]
    assert (ids, [told.key for told in publisher.take_refusals(TRADES)]) == ([["1"], ["7", "8"], ["book.1"]], [BTC])


@pytest.mark.parametrize(
    ("reason", "begin", "end"),
    [
        ("OOM", "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("NOREPLICAS", "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("READONLY", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    ],
)
async def test_while_redis_takes_nothing_events_wait(redis, reason, begin, end):
    async with publishing(redis) as publisher:
        await eventually(lambda: publisher.counters.connects == 1)
        await redis.config_resetstat()
        await redis.execute_command(*begin.split())
        try:
            for i in range(1, 3001):
                publisher.put(trade(i))
            await eventually(lambda: refused_for(redis, reason))
            waiting = publisher.counters.queued + publisher.counters.unconfirmed
        finally:
            await redis.execute_command(*end.split())
    assert (waiting, await identities(redis, BTC)) == (3000, [str(i) for i in range(1, 3001)])


async def refused_for(redis, reason):
    return f"errorstat_{reason}" in await redis.info("errorstats")


@pytest.mark.parametrize("key", [str(BTC), BTC.state, "md:{binance}:streams", "md:exchanges"])
async def test_a_key_of_another_type_is_named(redis, key):
    await redis.set(key, "x")
    publisher = Publisher(redis, "binance")
    publisher.put(trade(1))
    with pytest.raises(CannotAppend) as cannot:
        await publisher.run()
    assert (f"{key} (a string)" in str(cannot.value), "1 events are not written" in str(cannot.value)) == (True, True)


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        ("~* +@all -script", "script|load"),
        ("~* +@all -evalsha", "evalsha"),
        ("~* +@all -xadd", "xadd"),
        ("~* +@all -sadd", "sadd"),
        ("~md:exchanges ~md:{okx}:* +@all", "key"),
    ],
)
async def test_a_missing_right_is_named(redis, redis_server, rights, missing):
    await redis.execute_command("ACL", "SETUSER", "writer", "reset", "on", ">secret", *rights.split())
    client = connect(f"redis://writer:secret@127.0.0.1:{redis_server.port}/0")
    publisher = Publisher(client, "binance")
    publisher.put(trade(1))
    with pytest.raises(CannotAppend) as cannot:
        await publisher.run()
    await client.aclose()
    await redis.execute_command("ACL", "DELUSER", "writer")
    assert (missing in str(cannot.value), "secret" in str(cannot.value)) == (True, False)


async def test_a_wrong_password_is_no_reason_to_wait(redis_server):
    client = connect(f"redis://nobody:secret@127.0.0.1:{redis_server.port}/0")
    publisher = Publisher(client, "binance")
    with pytest.raises(CannotAppend) as cannot:
        await publisher.run()
    await client.aclose()
    assert "secret" not in str(cannot.value)


async def test_with_nothing_to_write_nobody_waits_for_redis():
    publisher = Publisher(connect(f"redis://127.0.0.1:{free_port()}/0"), "binance")
    publisher.finish()
    assert await publisher.run() == 0


async def test_when_redis_stays_away_the_end_says_how_many_are_not_written():
    publisher = Publisher(connect(f"redis://127.0.0.1:{free_port()}/0"), "binance")
    for i in (1, 2, 3):
        publisher.put(trade(i))
    running = asyncio.create_task(publisher.run())
    publisher.finish()
    assert await running == 3


async def test_a_server_killed_and_restarted_has_each_event_once():
    # `always`: with `everysec` the server may confirm what it has not even handed to the disk.
    with local_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        client = connect(server.url)
        async with publishing(client, bound=2000) as publisher, putting(publisher) as last:
            for _ in range(3):
                before = publisher.counters.appended
                await eventually(lambda before=before: publisher.counters.appended > before)
                server.kill()
                await asyncio.to_thread(server.start)
                # A call cut in half leaves an open MULTI in the file, which takes in what follows at the next start;
                # a new file is without it. https://github.com/valkey-io/valkey/pull/4342
                await client.bgrewriteaof()
                await eventually(lambda: is_rewritten(client))
        streams = await all_identities(client)
        await client.aclose()
    assert streams == all_up_to(*last)


async def is_rewritten(client):
    state = await client.info("persistence")
    return not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]
