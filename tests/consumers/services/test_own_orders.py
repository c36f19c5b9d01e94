"""What a strategy can ask of an order, and what it hears of its own: no fill twice, none of others, none lost."""

from decimal import Decimal

import pytest
from msgspec import Struct
from msgspec.structs import replace

from consumers.services.bot import Bot
from consumers.services.order import Orders
from consumers.services.paper import Paper
from consumers.services.strategy import Alarm, Cancel, Wish
from consumers.services.venue import Ticket
from ingest.contract.events import Intent
from ingest.contract.keys import StreamKey
from tests.consumers.services import scene
from tests.consumers.services.scene import NOW_NS, SECOND_NS, bodies, book, deliver, deliveries, fill, key, trade

SEEN: list[str] = []
"""What the strategies of one test were shown."""
FIRST = "b/md:{binance}:trades:BTC-USDT/1/0"


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


def bot(redis, strategy, name="b", **more):
    return Bot(redis, name, strategy, now_ns=lambda: NOW_NS, **more)


def own(fill_id, side="buy", amount="1", *, intent_id=FIRST, received_ns=NOW_NS):
    """A fill of one of the bot's orders."""
    said = fill(fill_id, side, amount, "100")
    return replace(said, body=replace(said.body, intent_id=intent_id, received_ns=received_ns))


def refused(s, reason="no", *, expired=False, intent_id=FIRST):
    """A refusal of what the bot has wished."""
    event = Ticket("binance", "BTC/USDT", scene.intent(intent_id).body, NOW_NS).refused(reason, expired=expired)
    return replace(event, s=s)


async def wished(redis, symbol="BTC/USDT"):
    """The intents of the symbol, by what they want."""
    fields = ("side", "order_type", "amount", "price", "time_in_force", "cancels")
    return [tuple(getattr(each, field) for field in fields) for each in await bodies(redis, key("intents", symbol))]


async def told(redis):
    """The statuses, with the reasons behind the numbers."""
    said = await bodies(redis, StreamKey("binance", "status"))
    return [(each.state, each.reason.split(": ", 1)[1]) for each in said]


class Everything(Struct):
    """Wishes all that an order can be."""

    def on_trade(self, key, trade):
        one, price = Decimal(1), Decimal(99)
        yield Wish("buy", one)
        yield Wish("buy", one, "limit", price)
        yield Wish("buy", one, "limit", price, time_in_force="gtc")
        yield Wish("sell", one, "limit", price, time_in_force="ioc")
        yield Wish("sell", one, "limit", price, time_in_force="post_only")


async def test_a_wish_says_all_that_an_order_can_be(redis):
    await deliver(redis, bot(redis, Everything), trade(1, 100))
    assert await wished(redis) == [
        ("buy", "market", "1", None, None, None),
        ("buy", "limit", "1", "99", None, None),
        ("buy", "limit", "1", "99", "gtc", None),
        ("sell", "limit", "1", "99", "ioc", None),
        ("sell", "limit", "1", "99", "post_only", None),
    ]


class Rests(Struct):
    """Wishes upon one trade, here and elsewhere, and cancels both upon the next."""

    names: list[str] = []

    def on_trade(self, key, trade):
        if not self.names:
            here = yield Wish("buy", Decimal(1), "limit", Decimal(99))
            there = yield Wish("buy", Decimal(1), "limit", Decimal(9), symbol="ETH/USDT")
            self.names = [here, there]
        else:
            yield Cancel(self.names[0])
            yield Cancel(self.names[1], symbol="ETH/USDT")


async def test_what_was_wished_is_canceled_by_the_name_it_was_given(redis):
    for number in (1, 2):
        await deliver(redis, bot(redis, Rests), trade(number, 100))
    assert await wished(redis) == [
        ("buy", "limit", "1", "99", None, None),
        ("buy", "cancel", "0", None, None, FIRST),
    ]
    assert await wished(redis, "ETH/USDT") == [
        ("buy", "limit", "1", "9", None, None),
        ("buy", "cancel", "0", None, None, FIRST[:-1] + "1"),
    ]
    said = [(each.intent_id[-3:], each.valid_until_ns) for each in await bodies(redis, key("intents"))]
    assert said == [("1/0", NOW_NS + 5 * SECOND_NS), ("2/0", NOW_NS + 60 * SECOND_NS)]


class Cancels(Struct):
    """Cancels what the trade names by its side; notes what it hears."""

    def on_trade(self, key, trade):
        yield Cancel("b/never" if trade.side == "buy" else "other/1")

    def on_order(self, key, order):
        SEEN.append(f"{order.status}: {order.reason}")


async def test_a_cancel_of_what_nobody_has_wished_is_refused_and_the_strategy_hears_why(redis):
    strategy, orders = bot(redis, Cancels), Orders(redis, venue=Paper(), now_ns=lambda: NOW_NS)
    await deliver(redis, strategy, book(1), trade(1, 100))
    (cancel,) = await deliveries(redis, key("intents"), "order")
    await deliver(redis, orders, replace(scene.approved("x"), s=cancel.event.intent_id, body=cancel.event))
    for delivery in await deliveries(redis, key("orders"), "b"):
        await strategy.handle(delivery)
    assert SEEN == ["rejected: nothing to cancel: no open order of 'b/never'"]


async def test_a_cancel_of_what_another_bot_has_wished_is_the_strategys_failure(redis):
    await deliver(redis, bot(redis, Cancels), trade(1, 100, side="sell"))
    assert (await told(redis), await wished(redis)) == (
        [("strategy_failed", "ValueError: 'other/1' is no intent of this bot, to cancel it")],
        [],
    )


class Holds(Struct):
    """Knows what it holds, and notes it; sells what it is told by a trade at 1."""

    held: Decimal = Decimal(0)

    def on_trade(self, key, trade):
        SEEN.append(f"holds {self.held}")
        if trade.price == "7":
            return [Alarm(1000, "up")]
        return [Wish("sell", self.held)] if trade.price == "1" else []

    def on_fill(self, key, fill):
        self.held += Decimal(fill.amount) if fill.side == "buy" else -Decimal(fill.amount)
        SEEN.append(f"{fill.side} {fill.amount}")
        if fill.amount == "13":
            raise RuntimeError("unlucky")
        while fill.amount == "14":
            pass

    def on_alarm(self, key, alarm):
        SEEN.append("alarm")
        raise RuntimeError("overslept")


async def test_a_strategy_hears_its_own_fills_and_no_others_each_once_whoever_goes_on(redis):
    happened = [
        own("f1", amount="2"),
        fill("f2", "buy", "5", "100"),
        own("f3", "sell", intent_id="b/md:{binance}:trades:ETH-USDT/1/0"),
        own("f4", intent_id="bb/1"),
        trade(1, 1),
    ]
    for event in happened:
        await deliver(redis, bot(redis, Holds), event)
    for channel in ("fills", "trades"):
        for delivery in await deliveries(redis, key(channel), "b"):
            await bot(redis, Holds).handle(delivery)
    assert (SEEN, await wished(redis)) == (
        ["buy 2", "sell 1", "holds 1"],
        [("sell", "market", "1", None, None, None)],
    )


async def test_a_strategy_that_raises_upon_a_fill_is_told_of_and_hears_the_next(redis):
    other = bot(redis, Holds, "other")
    theirs = [own(f"t{number}", amount=amount, intent_id="other/1") for number, amount in ((1, "13"), (2, "4"))]
    await scene.write(
        redis, *[[event] for event in (own("f1", amount="13"), own("f2", amount="3"), *theirs, trade(1, 1))]
    )
    for name, it in (("b", bot(redis, Holds)), ("other", other)):
        for channel in ("fills", "trades"):
            for delivery in await deliveries(redis, key(channel), name):
                await it.handle(delivery)
    assert SEEN == ["buy 13", "buy 3", "holds 3", "buy 13", "buy 4", "holds 4"]
    assert await told(redis) == [("strategy_failed", "RuntimeError: unlucky")] * 2
    assert [each.bot for each in await bodies(redis, key("intents"))] == ["b", "other"]


async def test_a_strategy_that_loops_upon_a_fill_is_halted_and_the_other_bot_goes_on(redis):
    looping, other = bot(redis, Holds, limit_s=0.05), bot(redis, Holds, "other")
    await deliver(redis, looping, own("f1", amount="14"), trade(1, 1))
    for channel in ("fills", "trades"):
        for delivery in await deliveries(redis, key(channel), "other"):
            await other.handle(delivery)
    halted = "took more than 0.05 s: it hears nothing more until the bot is started anew"
    assert (SEEN, await told(redis)) == (["buy 14", "holds 0"], [("strategy_halted", halted)])


async def test_an_alarm_that_fails_keeps_no_fill_from_the_strategy(redis):
    later = own("f1", amount="2", received_ns=NOW_NS + 2 * SECOND_NS)
    await deliver(redis, bot(redis, Holds), trade(1, 7), later, trade(2, 8))
    assert (SEEN, await told(redis)) == (
        ["holds 0", "alarm", "buy 2", "holds 2"],
        [("strategy_failed", "RuntimeError: overslept")],
    )


async def test_the_orders_of_others_do_not_move_a_strategys_clock(redis):
    theirs = own("f1", intent_id="other/1", received_ns=NOW_NS + 2 * SECOND_NS)
    await deliver(redis, bot(redis, Holds), trade(1, 7), theirs, trade(2, 8))
    assert SEEN == ["holds 0", "holds 0"]


class Stubborn(Struct):
    """Wishes again upon each refusal; an expired one it leaves to its alarm."""

    def on_trade(self, key, trade):
        SEEN.append(trade.price)

    def on_order(self, key, order):
        SEEN.append(order.status)
        if order.status == "expired":
            SEEN.append((yield Alarm(1000, name="again")))
        else:
            yield Wish("buy", Decimal(1))

    def on_alarm(self, key, alarm):
        yield Wish("buy", Decimal(2))


async def test_upon_a_refusal_an_alarm_may_be_set_and_a_wish_is_a_failure(redis):
    late = trade(1, 100, received_ns=NOW_NS + SECOND_NS)
    await deliver(redis, bot(redis, Stubborn), refused("o1"), refused("o2", expired=True), late)
    ((state, reason),) = await told(redis)
    assert (SEEN, state) == (["rejected", "expired", "again", "100"], "strategy_failed")
    assert reason.endswith("upon a refusal; set an Alarm, or wait for what the market says next")
    assert await wished(redis) == [("buy", "market", "2", None, None, None)]


async def test_old_fills_are_remembered_and_wished_upon_no_more(redis):
    class Flat(Struct):
        def on_trade(self, key, trade): ...

        def on_fill(self, key, fill):
            SEEN.append(fill.fill_id)
            yield Wish("sell", Decimal(fill.amount))

    old = own("f1", received_ns=NOW_NS - 10 * SECOND_NS - 1)
    await deliver(redis, bot(redis, Flat), old, own("f2"))
    (intent,) = await bodies(redis, key("intents"))
    assert (SEEN, intent) == (
        ["f1", "f2"],
        Intent(
            intent_id="b/md:{binance}:fills:BTC-USDT/f2/0",
            account="paper",
            bot="b",
            side="sell",
            order_type="market",
            amount="1",
            decided_ns=NOW_NS,
            valid_until_ns=NOW_NS + 5 * SECOND_NS,
        ),
    )
