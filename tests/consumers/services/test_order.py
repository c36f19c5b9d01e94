"""The order service: every intent has one answer, by the book of its moment or with the reason why not."""

import pytest
from msgspec import structs

from consumers.append import append
from consumers.delivery import Fence, Taken
from consumers.services.order import Orders
from ingest.contract import keys
from tests.consumers.services.scene import NOW_NS, SECOND_NS, bodies, book, deliver, deliveries, intent, key, moved_book

ASKS = (("101", "1"), ("102.5", "2.0"), ("110", "5"))
BIDS = (("99", "1"), ("98.5", "0.5"))


def orders(redis, now_ns=NOW_NS):
    return Orders(redis, now_ns=lambda: now_ns)


async def answers(redis, *intents, now_ns=NOW_NS):
    """The states of the orders, and the fills, that the intents lead to at the book above."""
    await append(redis, [book(1, BIDS, ASKS)])
    await deliver(redis, orders(redis, now_ns), *intents)
    states = [(o.status, o.filled, o.average, o.reason) for o in await bodies(redis, key("orders"))]
    fills = [(f.price, f.amount, dict(f.fees)) for f in await bodies(redis, key("fills"))]
    return states, fills


async def test_a_market_order_walks_the_levels_and_pays_the_fee_of_each(redis):
    assert await answers(redis, intent("i", "buy", "1.5")) == (
        [("new", "0", None, None), ("filled", "1.5", "101.5", None)],
        [("101", "1", {"USDT": "0.101"}), ("102.5", "0.5", {"USDT": "0.05125"})],
    )


async def test_a_market_order_beyond_the_book_is_canceled_for_the_rest(redis):
    assert await answers(redis, intent("i", "sell", "4")) == (
        [
            ("new", "0", None, None),
            ("partially_filled", "1.5", "98.833333333333", None),
            ("canceled", "1.5", "98.833333333333", "paper: the book has no more"),
        ],
        [("99", "1", {"USDT": "0.099"}), ("98.5", "0.5", {"USDT": "0.04925"})],
    )


async def test_a_limit_order_takes_what_it_crosses_and_is_canceled_for_the_rest(redis):
    reason = "paper: limit orders are immediate or cancel"
    assert await answers(redis, intent("i", "buy", "2", order_type="limit", price="101.00")) == (
        [("new", "0", None, None), ("partially_filled", "1", "101", None), ("canceled", "1", "101", reason)],
        [("101", "1", {"USDT": "0.101"})],
    )


async def test_a_limit_order_that_crosses_nothing_is_canceled_whole(redis):
    reason = "paper: limit orders are immediate or cancel"
    assert await answers(redis, intent("i", "sell", "2", order_type="limit", price="99.01")) == (
        [("new", "0", None, None), ("canceled", "0", None, reason)],
        [],
    )


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (intent("i", amount="0.00"), "the amount is not above 0"),
        (intent("i", order_type="limit"), "a limit order without a price"),
        (intent("i", valid_until_ns=NOW_NS - SECOND_NS), "came 1000 ms after its valid_until_ns"),
    ],
    ids=["amount", "price", "valid_until"],
)
async def test_an_intent_is_refused_with_its_reason(redis, refused, reason):
    assert await answers(redis, refused) == ([("rejected", "0", None, reason)], [])


async def test_an_unknown_symbol_is_refused(redis):
    await deliver(redis, orders(redis), intent("i", symbol="DOGE/EUR"))
    said = [(o.status, o.reason) for o in await bodies(redis, key("orders", "DOGE/EUR"))]
    assert said == [("rejected", "unknown symbol: binance has no book of DOGE/EUR")]


async def test_nothing_is_filled_from_a_book_that_is_not_live(redis):
    gap, _ = moved_book(2)
    await append(redis, [book(1), gap])
    await deliver(redis, orders(redis), intent("i"))
    assert [(o.status, o.reason) for o in await bodies(redis, key("orders"))] == [("rejected", "no live book")]


async def test_nothing_is_filled_from_a_crossed_book(redis):
    await append(redis, [book(1, bids=(("102", "1"),))])
    await deliver(redis, orders(redis), intent("i"))
    said = [(o.status, o.reason) for o in await bodies(redis, key("orders"))]
    assert said == [("rejected", "no live book: it is crossed")]


async def test_an_intent_that_comes_again_is_dropped_whole_even_if_the_book_has_moved(redis):
    it = orders(redis)
    await append(redis, [book(1, asks=(("101", "5"),))])
    await deliver(redis, it, intent("i", amount="3"))
    (again,) = await deliveries(redis, key("intents"))
    before = await bodies(redis, key("orders")), await bodies(redis, key("fills"))
    # In this book the same order would take three levels.
    await append(redis, moved_book(2, asks=(("101", "1"), ("102", "1"), ("103", "1"))))
    await it.handle(again)
    await orders(redis, NOW_NS + 60 * SECOND_NS).handle(again)
    assert (await bodies(redis, key("orders")), await bodies(redis, key("fills"))) == before


async def test_each_order_is_filled_by_the_latest_book(redis):
    it = orders(redis)
    await append(redis, [book(1, asks=(("101", "5"),))])
    await deliver(redis, it, intent("a"))
    await append(redis, moved_book(2, asks=(("102", "5"),)))
    await deliver(redis, it, intent("b"))
    assert [fill.price for fill in await bodies(redis, key("fills"))] == ["101", "102"]


async def test_the_same_intent_id_on_two_symbols_is_two_orders(redis):
    await deliver(redis, orders(redis), intent("i"), intent("i", symbol="ETH/USDT"))
    ids = {(await bodies(redis, key("orders", symbol)))[0].order_id for symbol in ("BTC/USDT", "ETH/USDT")}
    assert len(ids) == 2


async def test_orders_and_fills_are_registered_streams(redis):
    await answers(redis, intent("i"))
    registered = {name.decode() for name in await redis.smembers(keys.streams("binance"))}
    assert registered == {str(key(channel)) for channel in ("orderbook", "intents", "orders", "fills")}


async def test_an_answer_of_who_no_longer_owns_the_symbol_is_not_given(redis):
    await append(redis, [book(1, BIDS, ASKS), intent("i")])
    (delivery,) = await deliveries(redis, key("intents"))
    table = keys.shards("binance", "order")
    await redis.hset(table, "7", "later 9 1 -")

    with pytest.raises(Taken):
        await orders(redis).handle(structs.replace(delivery, fence=Fence(table, 7, "earlier 8")))
    assert (await bodies(redis, key("orders")), await bodies(redis, key("fills"))) == ([], [])

    await orders(redis).handle(structs.replace(delivery, fence=Fence(table, 7, "later 9")))
    assert [order.status for order in await bodies(redis, key("orders"))] == ["new", "filled"]
