"""The risk service: what it approves and refuses stands in the streams once, whatever ends or comes again."""

import time
from decimal import Decimal

import pytest
from redis.exceptions import RedisError, ResponseError

from consumers import append as appending
from consumers.append import append
from consumers.services import killing
from consumers.services.limits import Limits
from consumers.services.position import Positions
from consumers.services.risk import Risk
from ingest.contract import instruments, keys
from ingest.contract.events import Event, Order, Status
from ingest.contract.keys import StreamKey
from tests.consumers.services.scene import NOW_NS, SECOND_NS, bodies, deliver, deliveries, fill, intent, key, ticker
from tests.consumers.services.test_limits import LISTED

LIMITS = Limits(
    position={"BTC/USDT": Decimal(3)},
    order_notional=Decimal(1000),
    exposure=Decimal(1000),
    orders_per_s=10,
    price_band=Decimal("0.05"),
    price_age_ms=1000,
)
KEPT = keys.kept("binance", "risk", "BTC/USDT")


def risk(redis, now_ns=NOW_NS):
    return Risk(redis, limits=LIMITS, now_ns=lambda: now_ns)


@pytest.fixture
async def market(redis):
    """A listed symbol with a fresh price."""
    await redis.hset(keys.instruments("binance"), "BTC/USDT", instruments.encode(LISTED))
    await append(redis, [ticker(1, bid="99.9", ask="100.1")])
    return redis


def order(intent_id, status, filled, *, amount="1"):
    body = Order(
        order_id=f"o{intent_id}",
        intent_id=intent_id,
        account="paper",
        status=status,
        side="buy",
        order_type="market",
        amount=amount,
        filled=filled,
        updated_ns=NOW_NS,
    )
    return Event(key("orders"), f"o{intent_id}.{status}", body, "window")


def of(intent_id, fill_event):
    body = fill_event.body
    return Event(
        fill_event.key,
        fill_event.s,
        type(body)(**{f: getattr(body, f) for f in body.__struct_fields__} | {"intent_id": intent_id}),
        "window",
    )


async def untold(redis):
    return [field for field in await redis.hkeys(KEPT) if field.startswith(b"out ")]


async def said(redis):
    """What was approved, and what was refused why."""
    refused = [(o.intent_id, o.reason) for o in await bodies(redis, key("orders")) if o.status == "rejected"]
    return [each.intent_id for each in await bodies(redis, key("approved"))], refused


async def test_an_intent_goes_on_as_it_is_or_is_refused_with_a_reason(market):
    fine, wrong = intent("i"), intent("j", amount="4")
    await deliver(market, risk(market), fine, wrong)
    assert (await bodies(market, key("approved")), await said(market)) == (
        [fine.body],
        (["i"], [("j", "position: 5 is above 3")]),
    )


async def test_what_is_open_counts_until_its_order_is_over_and_its_fills_are_here(market):
    wanted = [intent(name, amount="2") for name in "abcd"]
    await deliver(market, risk(market), wanted[0], wanted[1])
    await deliver(market, risk(market), order("a", "canceled", "1", amount="2"), wanted[2])
    await deliver(market, risk(market), of("a", fill("f", "buy", "1", "100")), wanted[3])
    assert await said(market) == (["a", "c"], [("b", "position: 4 is above 3"), ("d", "position: 5 is above 3")])


async def test_an_intent_that_comes_again_is_answered_once(market):
    await deliver(market, risk(market), intent("i"), intent("j", amount="9"))
    for again in await deliveries(market, key("intents"), "risk"):
        await risk(market).handle(again)
    for again in await deliveries(market, key("intents"), "another"):
        await risk(market).handle(again)
    assert await said(market) == (["i"], [("j", "position: 10 is above 3")])


async def test_what_was_decided_and_not_told_is_told_as_it_was_decided(market, monkeypatch):
    await append(market, [intent("i")])
    (delivery,) = await deliveries(market, key("intents"), "risk")

    async def fails(*_):
        raise RedisError("the line is cut")

    with monkeypatch.context() as broken:
        broken.setattr(appending, "_send", fails)
        with pytest.raises(RedisError):
            await risk(market).handle(delivery)
    # By now the same intent would be refused.
    await risk(market, NOW_NS + 60 * SECOND_NS).handle(delivery)
    assert (await said(market), await untold(market)) == ((["i"], []), [])


async def test_the_kill_switch_refuses_all_but_cancels(market):
    await killing.switch(market, ["binance"], on=True)
    cancel = intent("c", amount="0", order_type="cancel", cancels="i")
    await deliver(market, risk(market), intent("i"), cancel)
    await killing.switch(market, ["binance"], on=False)
    await deliver(market, risk(market), intent("j"))
    assert await said(market) == (["c", "j"], [("i", "the kill switch is on")])


async def test_nothing_is_approved_once_the_switch_is_on_even_by_who_has_looked_before(market, monkeypatch):
    it = risk(market)
    look = it._look

    async def looks_and_then_it_is_switched(*where):
        seen = await look(*where)
        await killing.switch(market, [], on=True)
        return seen

    monkeypatch.setattr(it, "_look", looks_and_then_it_is_switched)
    await deliver(market, it, intent("i"))
    assert await said(market) == ([], [("i", "the kill switch is on")])


async def test_switched_on_everywhere_it_is_so_at_exchanges_that_come_later(redis):
    there = await killing.switch(redis, [], on=True)
    await redis.hset(keys.instruments("binance"), "BTC/USDT", instruments.encode(LISTED))
    await append(redis, [ticker(1, last="100")])
    await deliver(redis, risk(redis), intent("i"))
    assert (there, await said(redis)) == (["*"], ([], [("i", "the kill switch is on")]))


async def test_an_error_of_redis_that_is_not_the_switch_is_no_refusal(market):
    await market.set(KEPT, "in the way")
    with pytest.raises(ResponseError):
        await deliver(market, risk(market), intent("i"))
    assert await said(market) == ([], [])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (intent("i", symbol="DOGE/EUR"), "unknown symbol: DOGE/EUR is not among the exchange's instruments"),
        (intent("i", order_type="limit", price="100.01"), "off tick: 100.01 is no multiple of 0.10"),
        (intent("i", valid_until_ns=NOW_NS - 120 * SECOND_NS), "came 120000 ms after its valid_until_ns"),
    ],
    ids=["unknown symbol", "off tick", "a bot whose clock is behind by minutes"],
)
async def test_nonsense_is_refused(market, wrong, reason):
    await deliver(market, risk(market), wrong)
    assert [o.reason for o in await bodies(market, key("orders", wrong.key.symbol))] == [reason]


async def test_our_own_clock_behind_by_minutes_refuses_all(market):
    await deliver(market, risk(market, NOW_NS - 120 * SECOND_NS), intent("i"))
    assert await said(market) == ([], [("i", "no fresh price: the latest is -120000 ms old")])


async def test_a_ticker_that_is_said_to_be_stale_is_no_price(market):
    quiet = Status(state="stale", reason="nobody hears it")
    await append(market, [Event(key("ticker"), "w.1", quiet, "silence", "book.2")])
    await deliver(market, risk(market), intent("i"))
    assert await said(market) == ([], [("i", "no fresh price")])


async def test_a_fill_of_nothing_that_was_approved_is_told_and_counts(market):
    await deliver(market, risk(market), fill("f", "buy", "2.5", "100"), intent("i"))
    status = [(s.state, s.symbol, s.reason) for s in await bodies(market, StreamKey("binance", "status"))]
    assert (status, await said(market)) == (
        [("unknown_fill", "BTC/USDT", "fill f belongs to no approved intent: i")],
        ([], [("i", "position: 3.5 is above 3")]),
    )


async def test_who_starts_late_begins_with_the_positions_there_are(market):
    await deliver(market, Positions(market, now_ns=time.time_ns), fill("f", "buy", "2.5", "100"))
    await deliver(market, risk(market), intent("i"))
    for late in await deliveries(market, key("fills"), "risk"):
        await risk(market).handle(late)
    await deliver(market, risk(market), intent("j", amount="0.5"))
    assert await said(market) == (["j"], [("i", "position: 3.5 is above 3")])


async def test_who_begins_anew_counts_what_it_has_handled_and_the_positions_do_not_have_yet(market):
    await deliver(market, Positions(market, now_ns=time.time_ns), fill("f", "buy", "1", "100"))
    await deliver(market, risk(market), fill("g", "buy", "1.5", "100"))
    await market.delete(KEPT)
    await deliver(market, risk(market), intent("i"), intent("j", amount="0.5"))
    assert await said(market) == (["j"], [("i", "position: 3.5 is above 3")])


async def test_while_fills_are_missing_nothing_is_approved(market):
    await append(market, [fill("f", "buy", "1", "100")])
    (delivery,) = await deliveries(market, key("fills"), "risk")
    lost = type(delivery)(**{f: getattr(delivery, f) for f in delivery.__struct_fields__} | {"hole": 2})
    await risk(market).handle(lost)
    await deliver(market, risk(market), intent("i"))
    assert await said(market) == ([], [("i", "2 fills are missing: nobody knows the position")])
