"""Above the hard cap the oldest goes, whoever needs it: no more than must, and every loss is told exactly."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from ingest.contract import keys
from ingest.contract.events import Event, Gap, Status
from ingest.contract.keys import StreamKey
from tests.eventually import eventually
from tests.ingest.retention.scene import BOOK, STATUS, TRADES, fill, group, janitor, left, told, write

pytestmark = pytest.mark.slow

TICKER = StreamKey("binance", "ticker", "BTC/USDT")


async def used_bytes(redis: Redis) -> int:
    return (await redis.info("memory"))["used_memory"]


async def budget(redis: Redis, used: float) -> int:
    """A budget of which that share is used now."""
    return round(await used_bytes(redis) / used)


def lost(ids: list[str], events: list[Event]) -> list[tuple[int, int]]:
    """Where each gap told of begins and ends."""
    gaps = [event.body for event in events if isinstance(event.body, Gap)]
    return sorted((ids.index(gap.first_id), ids.index(gap.last_id) + 1) for gap in gaps)


def joined(gaps: list[tuple[int, int]]) -> tuple[int, int]:
    """Where all of them begin and end, if each begins where the one before it ends."""
    for (_, end), (begin, _) in pairwise(gaps):
        assert end == begin
    return gaps[0][0], gaps[-1][1]


@pytest.fixture
async def full_redis(redis: Redis) -> AsyncIterator[Redis]:
    """Its maxmemory may be set; it is put back."""
    yield redis
    await redis.config_set("maxmemory", 0)


async def test_as_much_goes_as_must(redis):
    await fill(redis, TRADES, 8000, from_s=100, to_s=0)
    await fill(redis, TICKER, 8000, from_s=100, to_s=0)
    bytes_allowed = await budget(redis, 0.80)
    tidy = janitor(redis, keep_s=900, budget_bytes=bytes_allowed)

    async def rested():
        return not await tidy.round()

    await eventually(rested)
    assert 0.72 < await used_bytes(redis) / bytes_allowed < 0.75


async def test_the_oldest_goes_first(redis):
    old = await fill(redis, TRADES, 8000, from_s=200, to_s=101)
    new = await fill(redis, TICKER, 8000, from_s=100, to_s=0)
    await janitor(redis, keep_s=900, budget_bytes=await budget(redis, 0.80)).round()
    assert (await left(redis, TICKER) == new, 0 < len(await left(redis)) < len(old)) == (True, True)


async def test_no_more_goes_than_must_where_most_was_written_early(redis):
    await fill(redis, TRADES, 8000, from_s=100, to_s=99)
    await fill(redis, TRADES, 10, from_s=50, to_s=0)
    others = await fill(redis, TICKER, 1000, from_s=99.9, to_s=0)
    tidy = janitor(redis, keep_s=900, budget_bytes=await budget(redis, 0.80))
    await tidy.round()
    assert (500 < tidy.counters.trimmed < 3000, await left(redis, TICKER)) == (True, others)


async def test_what_many_quiet_symbols_may_keep_does_not_keep_the_others(redis):
    for i in range(600):
        await fill(redis, StreamKey("binance", "ticker", f"C{i}/USDT"), 1, from_s=500, to_s=0)
    await fill(redis, TRADES, 4000, from_s=100, to_s=0)
    tidy = janitor(redis, keep_s=900, budget_bytes=await budget(redis, 0.80))
    await tidy.round()
    assert tidy.counters.trimmed > 0


async def test_what_goes_and_who_loses_what_is_told_exactly(redis):
    ids = await fill(redis, TRADES, 8000, from_s=100, to_s=0)
    await group(redis, "slow", read=10, acked=range(10))
    await group(redis, "slower", read=4, acked=range(4))
    await group(redis, "quick", read=8000, acked=range(8000))
    await redis.hset(keys.groups("binance"), "late", "trades")
    tidy = janitor(redis, keep_s=900, budget_bytes=await budget(redis, 0.80))
    await tidy.round()
    gone = len(ids) - len(await left(redis))
    assert sorted(await told(redis), key=str) == sorted(
        [
            *(
                Gap(
                    reason=f"{TRADES}: trimmed before group {name} had read it: {gone - had} entries",
                    first_id=ids[had],
                    last_id=ids[gone - 1],
                )
                for name, had in (("slow", 10), ("slower", 4), ("late", 0))
            ),
            Status(
                state="trimmed",
                reason=f"{TRADES}: memory is short: {ids[0]} to {ids[gone - 1]}, {gone} entries, "
                "not acknowledged by group late,slow,slower",
            ),
        ],
        key=str,
    )
    assert tidy.counters.lost == 3 * gone - 14


async def test_what_a_living_group_has_in_hand_is_not_told_as_lost(redis):
    await fill(redis, TRADES, 8000, from_s=100, to_s=0)
    await group(redis, "busy", read=7999)
    await janitor(redis, keep_s=900, budget_bytes=await budget(redis, 0.80)).round()
    assert [(event.state, event.reason.split(" by ")[1]) for event in await told(redis)] == [("trimmed", "group busy")]


async def test_each_loss_is_told_once_however_often_memory_is_short(redis):
    ids = await fill(redis, TRADES, 8000, from_s=100, to_s=0)
    await group(redis, "slow")
    gaps = []
    for _ in range(3):
        gaps += lost(ids, await janitor(redis, keep_s=900, budget_bytes=await budget(redis, 0.80)).round())
    assert (len(gaps), joined(gaps)) == (3, (0, len(ids) - len(await left(redis))))


async def test_a_book_is_cut_as_well(redis):
    ids = await fill(redis, BOOK, 8000, from_s=100, to_s=0)
    await redis.hset(BOOK.snap, mapping={"id": ids[0]})
    await janitor(redis, keep_s=900, budget_bytes=await budget(redis, 0.80)).round()
    assert 0 < len(await left(redis, BOOK)) < 8000


async def test_of_every_stream_the_newest_entry_stays_and_all_that_is_told(redis):
    ids = await fill(redis, TRADES, 100, from_s=10, to_s=0)
    single = await write(redis, 1, key=TICKER)
    states = await write(redis, 10, key=STATUS)
    await janitor(redis, keep_s=900, budget_bytes=1).round()
    streams = [await left(redis, key) for key in (TRADES, TICKER, STATUS)]
    assert (streams[0], streams[1], streams[2][:10]) == (ids[-1:], single, states)


async def test_a_janitor_works_when_memory_is_full(full_redis):
    redis = full_redis
    ids = await fill(redis, TRADES, 8000, from_s=100, to_s=0)
    await group(redis, "slow", read=10, acked=range(10))
    await redis.config_set("maxmemory", await budget(redis, 1.1))
    with pytest.raises(OutOfMemoryError):
        await write(redis, 1)
    events = await janitor(redis, keep_s=900).round()
    assert joined(lost(ids, events)) == (10, len(ids) - len(await left(redis)))
    await write(redis, 1)


async def test_what_cannot_be_told_while_memory_is_full_is_told_later_and_once(full_redis):
    redis = full_redis
    ids = await fill(redis, TRADES, 1000, from_s=100, to_s=0)
    await group(redis, "slow")
    allowed = await used_bytes(redis) + 1_000_000
    await redis.setrange("in the way", 8_000_000, "x")
    await redis.config_set("maxmemory", allowed)
    tidy = janitor(redis, keep_s=900)
    silent = [await tidy.round(), await tidy.round()]
    await redis.delete("in the way")
    gaps, later = lost(ids, await tidy.round()), await tidy.round()
    assert (silent, joined(gaps), later) == ([[], []], (0, len(ids) - len(await left(redis))), [])


async def test_what_a_janitor_did_before_it_died_is_told_by_the_next(redis):
    ids = await fill(redis, TRADES, 1000, from_s=100, to_s=0)
    await group(redis, "slow")
    await redis.set(str(STATUS), "in the way")
    dies = janitor(redis, keep_s=900, budget_bytes=1, every_s=0.01)
    with pytest.raises(Exception, match="WRONGTYPE"):
        await dies.round()
    await redis.delete(str(STATUS), keys.lease("binance", "janitor"))
    events = await janitor(redis, keep_s=900, owner="next").round()
    assert joined(lost(ids, events)) == (0, 999)
