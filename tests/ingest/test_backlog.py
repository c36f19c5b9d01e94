"""What waits for Redis, in memory and on disk."""

import asyncio
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local_redis import local_redis
from ingest.backlog import FLUSH_BYTES, Backlog
from ingest.contract.codec import encode, freeze, thaw
from ingest.contract.events import Delta, Event, Trade
from ingest.contract.keys import StreamKey
from ingest.spill import Full, inherit, open_spill
from tests.eventually import eventually
from tests.ingest.test_durability import connect, publishing

pytestmark = pytest.mark.slow

TRADES = StreamKey("binance", "trades", "BTC/USDT")
CAP = 1 << 24


def trade(i):
    return Event(TRADES, str(i), Trade(price="1.5", amount="2", side="buy", received_ns=i), "dense", str(i))


@contextmanager
def spilling(folder, cap_bytes=CAP):
    spill = open_spill(folder, "binance", cap_bytes=cap_bytes)
    try:
        yield spill
    finally:
        spill.close()


def arrived(backlog):
    """What the next flush carries, once it has."""
    flush = backlog.take()
    if flush is None:
        return []
    backlog.confirm()
    return [int(s) for s in flush.batch.streams[TRADES][2::5]]


async def written(url):
    redis = connect(url)
    try:
        return [int(fields[b"s"]) for _, fields in await redis.xrange(str(TRADES)) if fields[b"type"] == b"trade"]
    finally:
        await redis.aclose()


def test_an_event_comes_back_from_disk_as_it_went():
    assert thaw(freeze(trade(7))) == trade(7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 6), max_size=30))
def test_events_come_out_once_and_in_order_wherever_they_lay(tmp_path_factory, steps):
    """Some are put (positive), some taken (negative); the disk holds few, memory fewer."""
    with spilling(tmp_path_factory.mktemp("spill"), cap_bytes=600) as spill:
        backlog, put, taken = Backlog(3, spill), 0, []
        for step in [*steps, -1_000]:
            for _ in range(step):
                put += 1
                backlog.put(trade(put))
            while step < 0 and backlog.in_memory + backlog.on_disk:
                step += 1
                taken += arrived(backlog)
    assert taken == list(range(1, put + 1))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-2, 6), max_size=40), st.sampled_from([600, 2_000, CAP]))
def test_a_next_worker_finds_in_order_all_that_was_not_confirmed_but_for_the_newest(tmp_path_factory, steps, cap_bytes):
    """Some are put (positive), some set on their way (-2) or confirmed (-1), and then the worker is asked to end."""
    folder = tmp_path_factory.mktemp("spill")
    put = confirmed = 0
    with spilling(folder, cap_bytes) as spill:
        backlog = Backlog(4, spill)
        for step in steps:
            for _ in range(step):
                put += 1
                backlog.put(trade(put))
            if step == -2:
                backlog.take()
            elif step == -1 and backlog.unconfirmed:
                confirmed += backlog.unconfirmed[0].batch.entries
                backlog.confirm()
        backlog.stow()
        unsaved = backlog.unsaved
    found = []
    with spilling(folder) as spill:
        backlog = Backlog(4, spill)
        while more := arrived(backlog):
            found += more
    assert (found, unsaved == 0 or cap_bytes < CAP) == (list(range(confirmed + 1, put - unsaved + 1)), True)


def test_what_neither_memory_nor_disk_can_take_makes_the_caller_wait(tmp_path):
    with spilling(tmp_path, cap_bytes=1_000) as spill:
        backlog = Backlog(2, spill)
        fulls = []
        for i in range(1, 40):
            backlog.put(trade(i))
            fulls.append(backlog.full)
        while arrived(backlog):
            pass
    assert (fulls[:3], fulls[-1], backlog.full) == ([False] * 3, True, False)


async def test_what_redis_cannot_take_lies_on_disk_and_is_written_first(tmp_path):
    with local_redis("--appendonly", "yes") as server, spilling(tmp_path) as spill:
        async with publishing(server.url, bound=10, spill=spill) as publisher:
            publisher.put(trade(1))
            await eventually(lambda: publisher.counters.appended == 1)
            await asyncio.to_thread(server.kill)
            for i in range(2, 3_001):
                publisher.put(trade(i))
            on_disk, full = publisher.counters.spilled, publisher.full
            await asyncio.to_thread(server.start)
            await eventually(lambda: publisher.counters.appended > 100)
            for i in range(3_001, 3_101):
                publisher.put(trade(i))
            await eventually(lambda: publisher.counters.spilled == 0)
        assert (on_disk > 2_000, full, await written(server.url), spill.depth) == (
            True,
            False,
            list(range(1, 3_101)),
            0,
        )


async def test_what_a_dead_worker_left_on_disk_is_written_at_the_next_start(redis, redis_server, tmp_path):
    with spilling(tmp_path) as spill:
        backlog = Backlog(5, spill)  # and it dies: once the disk is in use, all of it lies there
        for i in range(1, 106):
            backlog.put(trade(i))
    with spilling(tmp_path) as spill:
        async with publishing(redis_server.url, spill=spill) as publisher:
            publisher.put(trade(106))
            await eventually(lambda: publisher.counters.spilled == 0)
    assert await written(redis_server.url) == list(range(1, 107))


async def test_what_lies_on_disk_is_left_there_when_a_worker_is_asked_to_end(redis_server, redis, tmp_path):
    with spilling(tmp_path) as spill:
        backlog = Backlog(1, spill)
        for i in range(1, 50_001):
            backlog.put(trade(i))
        async with publishing(redis_server.url, spill=spill) as publisher:
            await eventually(lambda: publisher.counters.appended > 0)
        left = spill.depth
    with spilling(tmp_path) as spill:
        async with publishing(redis_server.url, spill=spill) as publisher:
            await eventually(lambda: publisher.counters.spilled == 0)
    assert (left > 0, await written(redis_server.url)) == (True, list(range(1, 50_001)))


def test_what_several_dead_workers_left_is_taken_over(tmp_path):
    with spilling(tmp_path) as one, spilling(tmp_path) as other:
        one.append([b"1", b"2"])
        other.append([b"3"])
    with spilling(tmp_path) as heir:
        inherit(tmp_path, "binance", heir, cap_bytes=CAP)
        inherited = []
        while records := heir.read(10):
            inherited += [payload for _, payload in records]
    assert sorted(inherited) == [b"1", b"2", b"3"]


def test_what_has_no_room_is_taken_over_at_a_later_start(tmp_path):
    with spilling(tmp_path) as one, spilling(tmp_path) as other:
        one.append([b"1" * 300])
        other.append([b"2" * 300])
    with spilling(tmp_path, cap_bytes=400) as heir:
        with pytest.raises(Full):
            inherit(tmp_path, "binance", heir, cap_bytes=400)
        heir.confirm(heir.read(1)[0][0])
    with spilling(tmp_path) as heir:
        assert [len(payload) for _, payload in heir.read(10)] == [300]


def delta(i, levels):
    body = Delta(bids=tuple((f"{price}.25", "1.5") for price in range(levels)), asks=(), received_ns=i)
    return Event(StreamKey("binance", "orderbook", "BTC/USDT"), str(i), body, "range", str(i))


def sizes(backlog):
    """The data of each flush, in bytes."""
    while flush := backlog.take():
        yield sum(len(data) for entries in flush.batch.streams.values() for data in entries[4::5])


@pytest.mark.parametrize("bound", [10_000, 1])
def test_a_flush_is_bounded_in_bytes_wherever_it_lay(bound, tmp_path):
    one = len(encode(delta(1, 20_000).body))
    with spilling(tmp_path, cap_bytes=1 << 26) as spill:
        backlog = Backlog(bound, spill)
        for i in range(100):
            backlog.put(delta(i, 20_000))
        found = list(sizes(backlog))
    assert (sum(found) >= 100 * one, max(found) < FLUSH_BYTES + 2 * one, min(found) >= one) == (True, True, True)


def test_an_event_larger_than_a_flush_goes_alone():
    backlog = Backlog(10, None)
    large = delta(1, 500_000)
    for event in (large, large, trade(1)):
        backlog.put(event)
    assert [size > FLUSH_BYTES for size in sizes(backlog)] == [True, True, False]


def test_once_the_disk_is_in_use_everything_lies_there_in_order_with_what_may_not_arrive(tmp_path):
    with spilling(tmp_path) as spill:
        backlog = Backlog(5, spill)
        for i in range(1, 4):
            backlog.put(trade(i))
        backlog.take()  # on its way, and it never arrives
        for i in range(4, 20):
            backlog.put(trade(i))
        backlog.take()
        unsaved = backlog.unsaved
    with spilling(tmp_path) as spill:
        backlog = Backlog(5, spill)
        assert (unsaved, arrived(backlog), backlog.on_disk) == (0, list(range(1, 20)), 0)


def test_what_is_given_up_on_disk_is_dropped_and_what_is_said_afterwards_is_not(tmp_path):
    with spilling(tmp_path) as spill:
        backlog = Backlog(1, spill)
        for i in range(1, 11):
            backlog.put(trade(i))
        backlog.give_up([TRADES])
        for i in range(3, 6):
            backlog.put(trade(i))
        assert (arrived(backlog), backlog.given_up, arrived(backlog), spill.depth) == ([3, 4, 5], 10, [], 0)


def test_where_all_that_lies_on_disk_is_given_up_nothing_stays_there(tmp_path):
    with spilling(tmp_path) as spill:
        backlog = Backlog(1, spill)
        for i in range(1, 11):
            backlog.put(trade(i))
        backlog.give_up([TRADES])
        assert (backlog.take(), spill.depth) == (None, 0)
