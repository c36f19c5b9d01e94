"""The table of leases, as the script keeps it on a real Redis."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis as PlainRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError

from deploy.local_redis import local_redis
from ingest.contract.keys import lease
from ingest.shards import SHARDS, Ask, Member, Row, Table, Verb, renew
from tests.eventually import eventually
from tests.ingest.shards.model import TableModel

pytestmark = pytest.mark.slow

TTL_MS = 400
LONG_MS = 36_000_000
ABOVE_ANY_CLOCK = 4_000_000_000_000

asks = st.builds(Ask, st.integers(0, 3), st.sampled_from(Verb), st.just(ABOVE_ANY_CLOCK))
calls = st.tuples(st.sampled_from("abc"), st.lists(asks, max_size=5), st.sampled_from((0, LONG_MS)), st.booleans())


def told(table: Table):
    """Fences from the time of day are as good as none."""
    rows = {s: row._replace(fence=max(0, row.fence - ABOVE_ANY_CLOCK)) for s, row in table.rows.items()}
    return table._replace(rows={shard: row for shard, row in rows.items() if row != Row()})


@settings(max_examples=150, deadline=None)
@given(st.lists(calls, max_size=25))
def test_the_script_does_what_its_model_does(redis_server, history):
    """A lease of 0 ms has run out at the next call, so no time needs to pass."""
    with PlainRedis.from_url(redis_server.url) as plain:
        plain.flushall()

    async def play():
        redis, model = Redis.from_url(redis_server.url), TableModel()
        try:
            for member, wishes, ttl_ms, leaving in history:
                answer = await renew(redis, "binance", member, wishes, ttl_ms=ttl_ms, leaving=leaving)
                assert told(answer) == told(model.renew(member, wishes, ttl_ms, leaving))
        finally:
            await redis.aclose()

    asyncio.run(play())


async def round_of(redis, member: Member, flowing=None) -> Table:
    wishes = member.asks(member.serving if flowing is None else flowing)
    table = await renew(redis, "binance", member.name, wishes, ttl_ms=TTL_MS, leaving=member.leaving)
    member.answered(table)
    return table


async def seated(redis, *names: str) -> list[Member]:
    """So many members, each with its share."""
    members = [Member(name, patience=2) for name in names]

    async def shared():
        for member in members:
            await round_of(redis, member)
        return sum(len(member.owned) for member in members) == SHARDS and all(member.owned for member in members)

    await eventually(shared)
    return members


async def goes_on(redis, *members: Member) -> bool:
    """A round of each; true once they share all."""
    for member in members:
        await round_of(redis, member)
    return sum(len(member.owned) for member in members) == SHARDS


async def test_what_a_dead_member_had_is_taken_once_its_leases_have_run_out(redis):
    one, two = await seated(redis, "one", "two")
    fences = dict(two.owned)
    await eventually(lambda: goes_on(redis, one))
    assert ({shard: one.owned[shard] for shard in fences}, one.counters.lost) == (
        {shard: fence + 1 for shard, fence in fences.items()},
        0,
    )


async def test_who_stood_still_finds_its_shards_gone_and_stops(redis):
    one, two = await seated(redis, "one", "two")
    had = set(two.owned)
    await eventually(lambda: goes_on(redis, one))
    await round_of(redis, two)
    assert (two.owned, two.serving, two.counters.lost) == ({}, frozenset(), len(had))


async def test_who_stood_still_and_was_not_missed_goes_on_under_the_same_fence(redis):
    (one,) = await seated(redis, "one")
    had = dict(one.owned)
    await eventually(lambda: expired(redis, "one"))
    await round_of(redis, one)
    assert one.owned == had


async def expired(redis, name: str) -> bool:
    seconds, micros = await redis.time()
    return int(await redis.hget(lease("binance", "members"), name)) <= seconds * 1000 + micros // 1000


async def test_after_redis_was_emptied_everybody_has_what_it_had_under_a_higher_fence(redis):
    members = await seated(redis, "one", "two", "three")
    had = [dict(member.owned) for member in members]
    await redis.flushall()
    await goes_on(redis, *members)
    now = [member.owned for member in members]
    assert (list(map(set, now)), min(map(min, map(dict.values, now))) > max(map(max, map(dict.values, had)))) == (
        list(map(set, had)),
        True,
    )


async def test_fences_go_on_where_the_table_alone_was_lost(redis):
    """Whoever comes then knows none of them; the streams do."""
    (one,) = await seated(redis, "one")
    for _ in range(3):  # the lease changes hands
        await renew(redis, "binance", "one", one.last_asks(), ttl_ms=TTL_MS)
        await goes_on(redis, one)
    await redis.delete(lease("binance", "members"), lease("binance", "shards"))
    (other,) = await seated(redis, "other")
    assert min(other.owned.values()) > max(one.owned.values())


async def test_leases_are_renewed_and_taken_while_memory_is_full():
    with local_redis("--maxmemory", "4mb") as server:
        redis = Redis.from_url(server.url, retry=Retry(NoBackoff(), 0))
        one, two = await seated(redis, "one", "two")
        with pytest.raises(OutOfMemoryError):
            while True:
                await redis.append("filling", "x" * 100_000)
        await goes_on(redis, one, two)
        renewed = len(one.owned) + len(two.owned)
        await eventually(lambda: goes_on(redis, one))
        with pytest.raises(OutOfMemoryError):
            await redis.set("still", "full")
        await redis.aclose()
    assert (renewed, len(one.owned)) == (SHARDS, SHARDS)


async def test_the_clock_of_a_worker_is_of_no_matter(redis, monkeypatch):
    one, two = await seated(redis, "one", "two")
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    assert await goes_on(redis, one, two)
