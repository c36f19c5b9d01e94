"""All streams of a symbol up to one entry: the order is that of a replay, whatever the pages are."""

import random

import pytest

from consumers import Replay, stored
from consumers.append import append
from consumers.services.abreast import up_to
from tests.consumers.services.scene import key, ticker, trade

STREAMS = (key("ticker"), key("trades"))


async def ids(redis, after, until):
    return [(str(each), entry.id) async for each, entry in up_to(redis, after, *until)]


@pytest.mark.parametrize("last", STREAMS)
async def test_what_was_before_an_entry_comes_in_the_order_of_a_replay(redis, last):
    dice, numbers = random.Random(1), dict.fromkeys(STREAMS, 0)
    while max(numbers.values()) < 1_300:
        batch = []
        for each in dice.choices(STREAMS, weights=(1, 3), k=50):
            numbers[each] += 1
            batch.append(trade(numbers[each], 1) if each == key("trades") else ticker(numbers[each], last="1"))
        await append(redis, batch)
    entries = [entry.id async for entry in stored.entries(redis, last, after="0-0")]
    replayed = [(str(step.key), step.id) async for step in Replay(redis, ["binance:*:*"], until=entries[-1])]
    end = replayed.index((str(last), entries[-1])) + 1
    assert await ids(redis, dict.fromkeys(STREAMS, "0-0"), (last, entries[-1])) == replayed[:end]
