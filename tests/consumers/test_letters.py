"""Dead letters: put aside with all that is known, and brought back as the entries that they were."""

import asyncio
import json
import os
import sys

import pytest

from consumers import letters
from consumers.group import MOST_DEAD
from ingest.contract import keys
from tests.consumers.producing import BTC, ETH, GROUP, entry_id, ids, put, reader, standing, take
from tests.eventually import eventually


def reading(redis, partition, **options):
    return reader(redis, **{"partition": partition, "consumer": "me", "lease_ms": 300, **options})


async def bury(redis, partition, *poison):
    """Handle all there is but these."""
    async with reading(redis, partition) as trades:
        seen = 0
        async for delivery in trades:
            seen += 1
            if int(delivery.entry.s) in poison:
                delivery.bury("cannot", failures=5, deliveries=2)
            else:
                await delivery.ack()
            if seen == 5:
                break


async def all_letters(redis):
    return [letter async for letter in letters.found(redis)]


@pytest.mark.parametrize("partition", ["symbol", "none"])
async def test_a_dead_letter_says_where_it_is_from_and_why_it_is_here(redis, partition):
    await put(redis, BTC, range(1, 6))
    await bury(redis, partition, 3)
    ((_, entry),) = await redis.xrange(str(BTC), *[await entry_id(redis, BTC, 3)] * 2)

    (letter,) = await all_letters(redis)
    assert (letter.exchange, letter.group, letter.stream, letter.entry_id.encode(), letter.fields) == (
        "binance",
        GROUP,
        str(BTC),
        await entry_id(redis, BTC, 3),
        entry,
    )
    consumer = "me" if partition == "none" else "owner"
    assert (letter.consumer, letter.failures, letter.deliveries, letter.reason) == (consumer, 5, 2, "cannot")
    assert await redis.hgetall(keys.buried("binance", GROUP)) == {str(BTC).encode(): b"1"}
    assert await standing(redis, BTC) == (5, 4, 0)


@pytest.mark.parametrize("partition", ["symbol", "none"])
@pytest.mark.parametrize("trimmed", [False, True])
async def test_what_is_redriven_comes_as_what_it_was_whether_it_is_trimmed_or_not(redis, partition, trimmed):
    await put(redis, BTC, range(1, 6))
    await bury(redis, partition, 2, 4)
    if trimmed:
        await redis.xtrim(str(BTC), maxlen=0)
    first, second = await all_letters(redis)

    assert [await letters.redrive(redis, first), await letters.redrive(redis, first)] == [True, False]
    async with reading(redis, partition) as trades:
        (again,) = await take(trades, 1)

    assert (again.key, again.entry.id, again.entry.n, again.entry.s) == (BTC, first.entry_id, 2, "2")
    assert (again.hole, again.redriven, await all_letters(redis)) == (0, True, [second])
    redo = keys.redo(GROUP, "binance", "BTC/USDT")
    assert (await redis.xlen(str(redo)), (await redis.xpending(str(redo), GROUP))["pending"]) == (0, 0)


async def test_what_is_redriven_while_its_owner_runs_comes_beside_what_is_new(redis):
    await put(redis, BTC, range(1, 6))
    await bury(redis, "symbol", 2)
    async with reading(redis, "symbol") as trades:
        deliveries = aiter(trades)
        waiting = asyncio.create_task(anext(deliveries))
        await letters.redrive(redis, (await all_letters(redis))[0])
        again = await waiting
        await again.commit(("INCR", "count:{binance}"))
        await put(redis, BTC, [6])
        new = await anext(deliveries)
        await new.ack()

    assert (ids([again, new]), await redis.get("count:{binance}")) == ([2, 6], b"1")
    assert await standing(redis, BTC) == (6, 5, 0)


async def test_what_is_redriven_and_fails_again_is_a_letter_as_it_was(redis):
    await put(redis, BTC, range(1, 6))
    await bury(redis, "symbol", 2)
    (first,) = await all_letters(redis)
    await letters.redrive(redis, first)
    async with reading(redis, "symbol") as trades:
        async for delivery in trades:
            delivery.bury("still cannot")
            break
    (second,) = await all_letters(redis)

    assert (second.stream, second.entry_id, second.fields) == (first.stream, first.entry_id, first.fields)
    assert second.reason == "still cannot"


@pytest.mark.parametrize("partition", ["symbol", "none"])
async def test_where_there_are_too_many_letters_what_is_more_is_left_pending(redis, partition, monkeypatch):
    assert MOST_DEAD == 10_000
    monkeypatch.setattr("consumers.group.MOST_DEAD", 1)
    await put(redis, BTC, range(1, 4))
    await put(redis, ETH, range(1, 3))
    async with reading(redis, partition) as trades:
        got = []
        async for delivery in trades:
            got.append((delivery.key, int(delivery.entry.s)))
            if delivery.key == BTC and int(delivery.entry.s) < 3:
                delivery.bury("cannot")
            else:
                await delivery.ack()
            if (ETH, 2) in got and (BTC, 2 if partition == "symbol" else 3) in got:
                break
    assert [(letter.stream, letter.fields[b"s"]) for letter in await all_letters(redis)] == [(str(BTC), b"1")]
    assert (await standing(redis, BTC))[0] == (1 if partition == "symbol" else 3)


@pytest.mark.slow
async def test_the_commands_list_show_redrive_and_drop(redis, redis_server):
    await put(redis, BTC, range(1, 6))
    await bury(redis, "symbol", 2, 4)
    first, second = await all_letters(redis)

    async def dlq(*words):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumers", "dlq", *words),
            env={**os.environ, "CONSUMER_REDIS_URL": redis_server.url, "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        answer, said = await process.communicate()
        return process.returncode, answer.decode(), said.decode()

    code, answer, _ = await dlq("list", "--json")
    listed = [json.loads(line) for line in answer.splitlines()]
    assert (code, [(each["letter"], each["id"], each["entry"]["s"]) for each in listed]) == (
        0,
        [(first.id, first.entry_id, "2"), (second.id, second.entry_id, "4")],
    )
    assert listed[0]["entry"]["data"] == {"price": "64000.10", "amount": "0.5", "side": "buy", "received_ns": 2}
    code, answer, _ = await dlq("list")
    assert (code, [first.id in answer, "trades:BTC-USDT" in answer, "cannot" in answer]) == (0, [True] * 3)
    code, answer, _ = await dlq("show", "binance", GROUP, first.id)
    assert (code, answer.splitlines()[4]) == (0, f"stream      {BTC}")
    assert await dlq("redrive", "binance", GROUP, first.id) == (0, f"{first.id} redriven\n", "")
    assert await dlq("drop", "binance", GROUP, "--all") == (0, f"{second.id} dropped\n", "")
    assert await dlq("list") == (0, "", "no dead letters\n")
    assert await dlq("drop", "binance", GROUP, first.id) == (
        1,
        "",
        f"no letter {first.id} of the group {GROUP} at binance\n",
    )
    assert (await dlq("drop", "binance", GROUP))[0] == 2
    await eventually(lambda: redis.exists(str(keys.redo(GROUP, "binance", "BTC/USDT"))))
