"""The kill switch: where it is on, and that nobody slips through while it is switched."""

import pytest
from redis.asyncio.client import Pipeline

from consumers import stored
from consumers.append import append
from consumers.services.killing import NoSuchExchange, switch
from consumers.services.order import Orders
from consumers.services.paper import Paper
from ingest.contract import keys
from tests.consumers.services.scene import NOW_NS, approved, bodies, book, deliver, key, trade


async def test_of_an_exchange_that_nobody_has_heard_of_it_is_refused(redis):
    await redis.sadd(keys.EXCHANGES, "binance")
    with pytest.raises(NoSuchExchange):
        await switch(redis, ["binance", "binanse"], on=True)
    assert await redis.keys("*kill*") == []


async def test_off_at_one_exchange_it_stays_on_at_the_others(redis):
    await redis.sadd(keys.EXCHANGES, "binance", "kraken")
    steps = [(["binance", "kraken"], True), (["kraken"], False), ([], False)]
    said = [await switch(redis, exchanges, on=on) for exchanges, on in steps]
    assert said == [["binance", "kraken"], ["binance"], []]


async def test_on_everywhere_it_is_not_off_at_one_exchange_and_nothing_is_filled_there(redis):
    it = Orders(redis, venue=Paper(), now_ns=lambda: NOW_NS)
    await append(redis, [book(1)])
    await deliver(redis, it, approved("i", order_type="limit", price="98"))
    said = [await switch(redis, exchanges, on=on) for exchanges, on in (([], True), (["binance"], False))]
    await deliver(redis, it, trade(1, "97", side="sell", received_ns=NOW_NS))
    assert (said, await bodies(redis, key("fills"))) == ([["*", "binance"]] * 2, [])


async def test_who_comes_while_it_is_switched_on_finds_it_on(redis, monkeypatch):
    members, found = stored.members, []

    async def comes_meanwhile(*args):
        there = await members(*args)
        await redis.sadd(keys.EXCHANGES, "kraken")
        found.append(await redis.exists(keys.KILL))
        return there

    monkeypatch.setattr(stored, "members", comes_meanwhile)
    assert (await switch(redis, [], on=True), found) == (["*"], [1])


async def test_off_at_one_exchange_gives_way_to_on_everywhere_in_the_same_moment(redis, monkeypatch):
    await redis.sadd(keys.EXCHANGES, "binance")
    await switch(redis, ["binance"], on=True)
    execute = Pipeline.execute

    async def another_comes_first(pipe, *args):
        monkeypatch.undo()
        await switch(redis, [], on=True)
        return await execute(pipe, *args)

    monkeypatch.setattr(Pipeline, "execute", another_comes_first)
    assert await switch(redis, ["binance"], on=False) == ["*", "binance"]
