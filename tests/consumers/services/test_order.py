"""The order service: every approved intent becomes one order, by the book of its moment, whatever ends meanwhile."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from redis.exceptions import RedisError

from consumers import append as appending
from consumers.append import append
from consumers.delivery import Fence, Taken
from consumers.services.fees import fees
from consumers.services.kept import Kept, Overtaken
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.venue import Desk
from ingest.contract import keys
from tests.consumers.services.scene import (
    NOW_NS,
    SECOND_NS,
    approved,
    bodies,
    book,
    deliver,
    deliveries,
    key,
    moved_book,
    trade,
)

ASKS = (("101", "1"), ("102.5", "2.0"), ("110", "5"))
BIDS = (("99", "1"), ("98.5", "0.5"))
KEPT = keys.kept("binance", "order", "BTC/USDT")


def orders(redis, now_ns=NOW_NS, **more):
    return Orders(redis, venue=Paper(fees(["binance:0.0005:0.001"]), **more), now_ns=lambda: now_ns)


async def said(redis, symbol="BTC/USDT"):
    """The states of the orders, and the fills."""
    states = [(o.status, o.filled, o.average, o.reason) for o in await bodies(redis, key("orders", symbol))]
    fills = [(f.price, f.amount, dict(f.fees)) for f in await bodies(redis, key("fills", symbol))]
    return states, fills


async def test_a_market_order_walks_the_levels_and_pays_the_fee_of_each(redis):
    await append(redis, [book(1, BIDS, ASKS)])
    await deliver(redis, orders(redis), approved("i", "buy", "1.5"))
    assert await said(redis) == (
        [("new", "0", None, None), ("filled", "1.5", "101.5", None)],
        [("101", "1", {"USDT": "0.101"}), ("102.5", "0.5", {"USDT": "0.05125"})],
    )


async def test_a_market_order_beyond_the_book_is_canceled_for_the_rest(redis):
    await append(redis, [book(1, BIDS, ASKS)])
    await deliver(redis, orders(redis), approved("i", "sell", "4"))
    assert await said(redis) == (
        [
            ("new", "0", None, None),
            ("partially_filled", "1.5", "98.833333333333", None),
            ("canceled", "1.5", "98.833333333333", "the book has no more"),
        ],
        [("99", "1", {"USDT": "0.099"}), ("98.5", "0.5", {"USDT": "0.04925"})],
    )


async def test_an_order_rests_until_trades_fill_it_whoever_serves_meanwhile(redis):
    await append(redis, [book(1, BIDS, ASKS)])
    await deliver(redis, orders(redis), approved("i", "buy", "2", order_type="limit", price="98.5"))
    for number, price in enumerate(("99", "98.5", "98.5", "98"), 1):
        sold = trade(number, price, received_ns=NOW_NS + number, side="sell")
        await deliver(redis, orders(redis, NOW_NS + number), sold)
    states, fills = await said(redis)
    assert (states, fills) == (
        [
            ("new", "0", None, None),
            ("open", "0", None, None),
            ("partially_filled", "0.5", "98.5", None),
            ("partially_filled", "1.5", "98.5", None),
            ("filled", "2", "98.5", None),
        ],
        [
            (price, amount, {"USDT": fee})
            for price, amount, fee in [
                ("98.5", "0.5", "0.024625"),
                ("98.5", "1", "0.04925"),
                ("98.5", "0.5", "0.024625"),
            ]
        ],
    )


async def test_a_cancel_ends_what_rests(redis):
    await append(redis, [book(1, BIDS, ASKS)])
    rests = approved("i", order_type="limit", price="98")
    await deliver(redis, orders(redis), rests, approved("c", amount="0", order_type="cancel", cancels="i"))
    assert [status for status, *_ in (await said(redis))[0]] == ["new", "open", "canceled"]


@pytest.mark.parametrize(
    ("at_ns", "status", "reason"),
    [
        (NOW_NS + SECOND_NS, "filled", None),
        (NOW_NS + 2 * SECOND_NS, "expired", "came 1000 ms after its valid_until_ns"),
    ],
)
async def test_an_intent_is_good_until_it_says_and_no_longer(redis, at_ns, status, reason):
    await append(redis, [book(1)])
    await deliver(redis, orders(redis, at_ns), approved("i"))
    states, _ = await said(redis)
    assert (states[-1][0], states[-1][3]) == (status, reason)


async def test_nothing_is_filled_from_a_book_that_is_not_live(redis):
    gap, _ = moved_book(2)
    await append(redis, [book(1), gap])
    await deliver(redis, orders(redis), approved("i"))
    assert await said(redis) == ([("rejected", "0", None, "no live book")], [])


async def test_nothing_is_filled_from_a_crossed_book(redis):
    await append(redis, [book(1, bids=(("102", "1"),))])
    await deliver(redis, orders(redis), approved("i"))
    assert await said(redis) == ([("rejected", "0", None, "no live book: it is crossed")], [])


async def test_an_intent_that_comes_again_is_dropped_whole_even_if_the_book_has_moved(redis):
    it = orders(redis)
    await append(redis, [book(1, asks=(("101", "5"),))])
    await deliver(redis, it, approved("i", amount="3"))
    (again,) = await deliveries(redis, key("approved"), "order")
    before = await said(redis)
    # In this book the same order would take three levels.
    await append(redis, moved_book(2, asks=(("101", "1"), ("102", "1"), ("103", "1"))))
    await it.handle(again)
    await orders(redis, NOW_NS + 60 * SECOND_NS).handle(again)
    assert await said(redis) == before


async def test_what_was_decided_and_not_told_is_told_as_it_was_decided(redis, monkeypatch):
    await append(redis, [book(1, asks=(("101", "5"),)), approved("i", amount="3")])
    (delivery,) = await deliveries(redis, key("approved"), "order")

    async def fails(*_):
        raise RedisError("the line is cut")

    with monkeypatch.context() as broken:
        broken.setattr(appending, "_send", fails)
        with pytest.raises(RedisError):
            await orders(redis).handle(delivery)
    await append(redis, moved_book(2, asks=(("105", "9"),)))
    await orders(redis, NOW_NS + 60 * SECOND_NS).handle(delivery)
    assert (await said(redis), [field for field in await redis.hkeys(KEPT) if field.startswith(b"out ")]) == (
        ([("new", "0", None, None), ("filled", "3", "101", None)], [("101", "3", {"USDT": "0.303"})]),
        [],
    )


async def test_what_an_ex_owner_has_decided_is_told_by_the_owner(redis):
    await append(redis, [book(1), approved("i")])
    (delivery,) = await deliveries(redis, key("approved"), "order")
    fenced = keys.shards("binance", "order")
    await redis.hset(fenced, "7", "later 9 1 -")
    with pytest.raises(Taken):
        await orders(redis).handle(replace(delivery, fence=Fence(fenced, 7, "earlier 8")))
    assert await said(redis) == ([], [])
    await orders(redis).handle(replace(delivery, fence=Fence(fenced, 7, "later 9")))
    assert [status for status, *_ in (await said(redis))[0]] == ["new", "filled"]


async def test_who_knows_less_than_redis_by_now_reads_it_anew(redis):
    one, other = orders(redis), orders(redis)
    await append(redis, [book(1)])
    rest = [approved(name, order_type="limit", price="98") for name in "abc"]
    await deliver(redis, one, rest[0])
    await deliver(redis, other, rest[1])
    with pytest.raises(Overtaken):
        await deliver(redis, one, rest[2])
    await one.handle((await deliveries(redis, key("approved"), "order"))[2])
    desk = await Kept.open(redis, KEPT, Desk())
    assert [working.order.intent_id for working in desk.state.working] == ["a", "b", "c"]


async def test_while_the_kill_switch_is_on_nothing_is_placed_or_filled_and_cancels_go_on(redis):
    it = orders(redis)
    await append(redis, [book(1)])
    await deliver(redis, it, *(approved(name, order_type="limit", price="98") for name in "abc"))
    await redis.set(keys.kill("binance"), "on")
    await deliver(
        redis,
        it,
        approved("d", amount="0", order_type="cancel", cancels="a"),
        trade(1, "97", side="sell", received_ns=NOW_NS),
        approved("e"),
    )
    orders_ = [(o.intent_id, o.status, o.reason) for o in await bodies(redis, key("orders"))][6:]
    assert (orders_, await bodies(redis, key("fills"))) == (
        [
            ("a", "canceled", "canceled by d"),
            ("b", "canceled", "the kill switch is on"),
            ("c", "canceled", "the kill switch is on"),
            ("e", "rejected", "the kill switch is on"),
        ],
        [],
    )


async def test_an_intent_waits_for_its_latency_and_for_no_more(redis):
    await append(redis, [book(1)])
    it = orders(redis, latency_ns=20_000_000)
    await deliver(redis, it, approved("i"), approved("j", decided_ns=NOW_NS + 500 * SECOND_NS))
    assert [status for status, *_ in (await said(redis))[0]] == ["new", "filled"] * 2


async def test_the_same_intent_id_on_two_symbols_is_two_orders(redis):
    await deliver(redis, orders(redis), approved("i"), approved("i", symbol="ETH/USDT"))
    ids = {(await bodies(redis, key("orders", symbol)))[0].order_id for symbol in ("BTC/USDT", "ETH/USDT")}
    assert len(ids) == 2


async def test_orders_and_fills_are_registered_streams(redis):
    await append(redis, [book(1)])
    await deliver(redis, orders(redis), approved("i"))
    registered = {name.decode() for name in await redis.smembers(keys.streams("binance"))}
    assert registered == {str(key(channel)) for channel in ("orderbook", "approved", "orders", "fills")}
    assert sum(Decimal(fill.amount) for fill in await bodies(redis, key("fills"))) == 1
