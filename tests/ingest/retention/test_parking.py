"""Above the soft cap: who is dead and in the way is parked, and told what it lost when it returns."""

from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from consumers import Reader
from ingest.contract import keys
from ingest.contract.events import Status
from ingest.contract.keys import StreamKey
from ingest.retention import Janitor
from tests.eventually import eventually
from tests.ingest.retention.scene import TRADES, group, janitor, left, reads, told
from tests.ingest.retention.scene import write as write_now

pytestmark = pytest.mark.slow

DEAD_AFTER_S = 0.4
TICKER = StreamKey("binance", "ticker", "BTC/USDT")


async def write(redis: Redis, count: int, key: StreamKey = TRADES) -> list[str]:
    """Entries so old that no age protects them, other than those that tell of them."""
    return await write_now(redis, count, key=key, age_s=1000)


def pressed(redis: Redis, **options: object) -> Janitor:
    """A janitor that is above its soft cap, and never above the hard one."""
    return janitor(
        redis, **{"keep_s": 900, "budget_bytes": 1, "soft": 0, "hard": 1e12, "dead_after_s": DEAD_AFTER_S, **options}
    )


async def rounds(tidy: Janitor, parked: int, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
    """Round after round until the janitor has parked so often."""

    async def enough():
        if meanwhile:
            await meanwhile()
        await tidy.round()
        return tidy.counters.parked == parked

    await eventually(enough)


async def witness(redis: Redis) -> None:
    """A dead group on a stream of its own: once it is parked, any other as dead would be."""
    await write(redis, 2, key=TICKER)
    await group(redis, "witness", key=TICKER)


async def story(redis: Redis, name: str = "") -> list[tuple[str, ...]]:
    """What was told of one stream, without the words."""
    return [
        (event.state,) if isinstance(event, Status) else ("gap", event.first_id, event.last_id)
        for event in await told(redis)
        if event.reason.startswith(name)
    ]


@pytest.mark.parametrize("read", [0, 3])
async def test_a_dead_group_is_parked_once_and_holds_nothing_up_any_more(redis, read):
    await write(redis, 10)
    await group(redis, "bot", read=read)
    tidy = pressed(redis)
    await rounds(tidy, parked=1)
    ids = await write(redis, 10)
    for _ in range(3):
        await tidy.round()
    assert (await left(redis), await story(redis)) == (ids[-1:], [("parked",)])


async def test_below_the_soft_cap_nobody_is_parked(redis):
    ids = await write(redis, 10)
    await group(redis, "bot", read=3)
    tidy = pressed(redis, budget_bytes=1 << 40, soft=0.6)

    async def dead_long_enough():
        await tidy.round()
        return (await redis.xinfo_consumers(str(TRADES), "bot"))[0]["idle"] > 2 * DEAD_AFTER_S * 1000

    await eventually(dead_long_enough)
    assert (await left(redis), await told(redis)) == (ids, [])


async def test_a_slow_group_that_reads_is_not_parked(redis):
    ids = await write(redis, 1000)
    await group(redis, "slow", read=1)
    await witness(redis)
    await rounds(pressed(redis), parked=1, meanwhile=lambda: reads(redis, "slow", 1))
    assert (await left(redis), await story(redis, str(TRADES))) == (ids, [])


async def test_a_janitor_that_has_just_come_calls_nobody_dead(redis):
    ids = await write(redis, 10)
    await group(redis, "bot", read=3)

    async def idle():
        return (await redis.xinfo_consumers(str(TRADES), "bot"))[0]["idle"] > DEAD_AFTER_S * 1000

    await eventually(idle)
    assert (await pressed(redis).round(), await left(redis)) == ([], ids)


async def test_a_dead_group_that_has_all_but_the_newest_entry_is_not_parked(redis):
    await write(redis, 9)
    await write(redis, 1)
    await group(redis, "dead", read=9, acked=range(9))
    await witness(redis)
    await rounds(pressed(redis), parked=1)
    assert await story(redis, str(TRADES)) == []


async def test_a_dead_group_that_is_not_in_the_way_is_not_parked(redis):
    ids = await write(redis, 1000)
    await group(redis, "dead", read=5, acked=range(5))
    await group(redis, "slow", read=3, acked=range(3))
    await witness(redis)
    await rounds(pressed(redis), parked=1, meanwhile=lambda: reads(redis, "slow", 1))
    assert (await left(redis), await story(redis, str(TRADES))) == (ids[3:], [])


async def test_a_parked_group_that_returns_is_told_exactly_what_it_lost_and_counts_again(redis):
    first = await write(redis, 10)
    await group(redis, "bot", read=6, acked=(0, 1, 3))
    tidy = pressed(redis)
    await rounds(tidy, parked=1)
    second = await write(redis, 10)
    await tidy.round()
    assert await reads(redis, "bot", 5) == second[-1:]
    third = await write(redis, 10)
    for _ in range(3):
        await tidy.round()
    assert (await story(redis), tidy.counters.lost, await left(redis)) == (
        [("parked",), ("gap", first[2], second[-2]), ("unparked",)],
        3 + 4 + 9,  # pending, not read, written since
        [second[-1], *third],
    )


async def test_a_group_that_never_came_is_parked_once_it_was_missed_for_long_enough(redis):
    ids = await write(redis, 10)
    await redis.hset(keys.groups("binance"), "late", "trades")
    tidy = pressed(redis)
    await tidy.round()
    before = await left(redis)
    await rounds(tidy, parked=1)
    async with Reader(redis, group="late", channels=("trades",), block_ms=20) as reader:
        async for delivery in reader:
            await delivery.ack()
            break
    await tidy.round()
    assert (before, await story(redis)) == (ids, [("parked",), ("gap", ids[0], ids[8]), ("unparked",)])


async def test_all_that_a_parked_group_has_pending_is_lost_with_it(redis):
    ids = await write(redis, 2500)
    await group(redis, "bot", read=2300, acked=(0, 7))
    tidy = pressed(redis)
    await rounds(tidy, parked=1)
    await reads(redis, "bot", 1)
    await tidy.round()
    assert (tidy.counters.lost, await story(redis)) == (
        2499 - 2,
        [("parked",), ("gap", ids[1], ids[2498]), ("unparked",)],
    )


async def test_a_group_that_came_is_missed_no_more(redis):
    await write(redis, 10)
    await redis.hset(keys.groups("binance"), "late", "trades")
    tidy = pressed(redis)
    await tidy.round()
    missed = await redis.hkeys(TRADES.retention)
    await group(redis, "late", read=1)
    await tidy.round()
    assert (missed, await redis.hkeys(TRADES.retention)) == ([b"group:late"], [])


async def test_a_group_that_returns_while_memory_is_short_is_told_two_losses_that_do_not_overlap(redis):
    first = await write(redis, 10)
    await group(redis, "bot")
    tidy = pressed(redis)
    await rounds(tidy, parked=1)
    await reads(redis, "bot", 1)
    second = await write(redis, 10)
    await tidy._trim("binance", [str(TRADES)], 0, 1 << 42, 0)
    await tidy.round()
    assert [words for words in await story(redis) if words[0] == "gap"] == [
        ("gap", first[0], first[-2]),
        ("gap", second[0], second[-2]),
    ]


async def test_each_time_that_a_group_is_parked_is_told(redis):
    await write(redis, 10)
    await group(redis, "bot", read=3)
    tidy = pressed(redis)
    for times in (1, 2):
        await rounds(tidy, parked=times)
        await reads(redis, "bot", 1)
        await write(redis, 10)
        await tidy.round()
    assert [words[0] for words in await story(redis)] == ["parked", "gap", "unparked"] * 2


async def test_groups_are_parked_stream_by_stream(redis):
    ids = await write(redis, 10)
    await write(redis, 10, key=StreamKey("binance", "trades", "ETH/USDT"))
    await group(redis, "bot", read=3)
    await rounds(pressed(redis), parked=1, meanwhile=lambda: reads(redis, "bot", 1))
    assert (await left(redis), [event.reason.split(": ")[0] for event in await told(redis)]) == (
        ids,
        ["md:{binance}:trades:ETH-USDT"],
    )


async def test_a_group_that_was_struck_off_is_forgotten(redis):
    await write(redis, 10)
    await redis.hset(keys.groups("binance"), "late", "trades")
    tidy = pressed(redis)
    await tidy.round()
    known = await redis.hkeys(TRADES.retention)
    await redis.hdel(keys.groups("binance"), "late")
    await tidy.round()
    assert (known, sorted(await redis.hkeys(TRADES.retention))) == ([b"group:late"], [b"trimmed_n", b"trimmed_to"])


async def test_what_is_told_says_it_in_words(redis):
    await write(redis, 3)
    await group(redis, "bot")
    tidy = pressed(redis)
    await rounds(tidy, parked=1)
    await reads(redis, "bot", 1)
    await tidy.round()
    assert [
        " ".join(words for words in event.reason.split() if not words.isdigit()) for event in await told(redis)
    ] == [
        "md:{binance}:trades:BTC-USDT: group bot has not read for s; what it needs may be trimmed",
        "md:{binance}:trades:BTC-USDT: trimmed before group bot had read it: entries",
        "md:{binance}:trades:BTC-USDT: group bot reads again; it was parked at ms",
    ]
