import json

import pytest

from consumers.audit import Account, accounts
from consumers.console.accounts import as_json, table
from ingest.contract import keys
from tests.consumers.console.test_lag import printed
from tests.consumers.producing import BTC, ETH, GROUP, ids, look_at, put, reader, take

ALL_READ = {"dead": 0, "letters": 0, "pending": 0, "unread": 0, "gone": 0, "trimmed": 0, "twice": 0}


READ = {"effected": 3, "dead": 1, "letters": 1, "pending": 2, "unread": 4}


async def account(redis):
    (found,) = await accounts(redis)
    return found


def figures(found):
    return found.effected, found.dead, found.pending, found.unread, found.gone, found.unaccounted, found.verdict


@pytest.fixture
async def read(redis):
    """Of ten entries a reader was given six: three are effected, one is dead, two are pending; four are unread."""
    await put(redis, BTC, range(1, 7))
    async with reader(redis) as trades:
        given = await look_at(trades, 6)
        for each in given[:3]:
            await each.ack()
        given[3].bury("it makes no sense", failures=5)
    await put(redis, BTC, range(7, 11))
    return ids(given)


async def test_each_entry_is_effected_dead_pending_or_unread(redis, read):
    assert await accounts(redis) == (
        Account(
            group=GROUP,
            key=BTC,
            written=10,
            effected=3,
            dead=1,
            letters=1,
            pending=2,
            unread=4,
            gone=0,
            trimmed=0,
            twice=0,
        ),
    )
    assert (await account(redis)).verdict == "balanced"


async def test_a_group_that_has_yet_to_come_has_all_unread(redis):
    await put(redis, BTC, range(1, 4))
    await put(redis, ETH, range(1, 4))
    await redis.hset(keys.groups("binance"), mapping={GROUP: "trades:ETH-USDT", "other": "orderbook"})

    assert await accounts(redis) == (
        Account(group=GROUP, key=ETH, written=3, effected=0, **(ALL_READ | {"unread": 3})),
    )


async def test_what_somebody_else_acknowledged_is_unaccounted_for(redis, read):
    """The first of the negative controls: an acknowledgement that no effect stands behind."""
    (first, *_) = await redis.xpending_range(str(BTC), GROUP, "-", "+", 1)
    await redis.xack(str(BTC), GROUP, first["message_id"])

    assert figures(await account(redis)) == (3, 1, 1, 4, 0, 1, "NOT BALANCED")


async def test_what_was_read_without_being_pending_is_unaccounted_for(redis, read):
    await redis.xreadgroup(GROUP, "careless", {str(BTC): ">"}, count=3, noack=True)

    assert figures(await account(redis)) == (3, 1, 2, 1, 0, 3, "NOT BALANCED")


async def test_what_a_group_was_made_to_pass_over_is_unaccounted_for(redis, read):
    await redis.xgroup_setid(str(BTC), GROUP, "$")

    assert figures(await account(redis)) == (3, 1, 2, 0, 0, 4, "NOT BALANCED")


async def test_what_is_counted_twice_is_unaccounted_for(redis, read):
    await redis.hset(keys.handled("binance", GROUP), str(BTC), "g 3 5 1-0")

    assert figures(await account(redis)) == (5, 1, 2, 4, 0, 2, "NOT BALANCED")


async def test_a_dead_letter_that_is_pending_too_is_unaccounted_for(redis, read):
    (first, *_) = await redis.xpending_range(str(BTC), GROUP, "-", "+", 1)
    await redis.xadd(
        keys.dead_letters("binance", GROUP),
        {"dead_stream": str(BTC), "dead_id": first["message_id"], "dead_group": GROUP},
    )

    assert figures(await account(redis)) == (3, 1, 2, 4, 0, 1, "NOT BALANCED")


async def test_a_letter_that_is_dropped_was_dead_all_the_same(redis, read):
    await redis.delete(keys.dead_letters("binance", GROUP))

    found = await account(redis)
    assert (found.dead, found.letters, found.verdict) == (1, 0, "balanced")


async def test_what_the_janitor_trimmed_is_not_provable_and_what_somebody_else_did_is_unaccounted_for(redis, read):
    await redis.xtrim(str(BTC), maxlen=2, approximate=False)
    by_somebody = figures(await account(redis))
    await redis.hset(BTC.retention, "trimmed_n", 8)

    assert (by_somebody, figures(await account(redis))) == (
        (3, 1, 0, 2, 2, 2, "NOT BALANCED"),
        (3, 1, 0, 2, 2, 0, "not provable: 2 trimmed"),
    )


async def test_a_stream_that_began_anew_is_accounted_for_anew_whatever_dead_letters_are_left(redis, read):
    await redis.delete(str(BTC), BTC.state)
    await put(redis, BTC, range(1, 4))
    async with reader(redis) as trades:
        await take(trades, 3)

    found = await account(redis)
    assert (figures(found), found.letters) == ((3, 0, 0, 0, 0, 0, "balanced"), 1)


async def test_a_stream_that_is_gone_leaves_its_effects_unexplained(redis):
    await put(redis, BTC, range(1, 4))
    async with reader(redis) as trades:
        await take(trades, 3)
    await redis.delete(str(BTC))

    assert figures(await account(redis)) == (3, 0, 0, 0, 0, 3, "NOT BALANCED")


async def test_an_account_is_shown_to_people_and_to_programs(redis, read):
    found = await account(redis)

    shown = printed(table([found])).splitlines()
    assert (shown[0].split(), shown[-1].split()) == (
        ["group", "stream", "written", "effected", "dead", "pending", "unread"],
        ["alerts", "binance:trades:BTC/USDT", "10", "3", "1", "2", "4", "balanced"],
    )
    assert json.loads(as_json(found)) == {
        "group": GROUP,
        "stream": str(BTC),
        "written": 10,
        "effected": 3,
        "dead": 1,
        "letters": 1,
        "pending": 2,
        "unread": 4,
        "gone": 0,
        "trimmed": 0,
        "twice": 0,
        "rest": 0,
        "unaccounted": 0,
        "verdict": "balanced",
    }
