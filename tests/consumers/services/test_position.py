"""The position service: positions are the sum of the fills, each in once, whatever is delivered again or late."""

from decimal import Decimal

import pytest
from msgspec.structs import replace
from redis.exceptions import RedisError

from consumers import append as appending
from consumers.append import append
from consumers.services.position import Overtaken, Positions
from consumers.services.rebuilding import Rebuilt, rebuild
from ingest.contract import keys
from ingest.contract.events import Position as Told
from tests.consumers.services.scene import NOW_NS, bodies, deliver, deliveries, fill, key, ticker

POSITION = keys.position("binance", "paper", "BTC/USDT")


def positions(redis, now_ns=NOW_NS, **more):
    return Positions(redis, now_ns=lambda: now_ns, **more)


async def held(redis, name=POSITION):
    return {field.decode(): value.decode() for field, value in (await redis.hgetall(name)).items()}


async def of(redis, *fields, name=POSITION):
    stored = await held(redis, name)
    return tuple(stored[field] for field in fields)


FILLS = [
    fill("a.1", "buy", "1", "100", fee="0.1"),
    fill("a.2", "buy", "2", "101", fee="0.202"),
    fill("b.1", "sell", "2", "105", fee="0.21"),
    fill("c.1", "sell", "4", "104", fee="0.416"),
    fill("d.1", "buy", "1.50000000", "103", fee="0.1545"),
]


async def test_a_position_is_a_hash_that_says_all_of_it(redis):
    await deliver(redis, positions(redis), *FILLS[:2])
    last = (await deliveries(redis, key("fills")))[-1].entry
    assert (await held(redis), await redis.smembers(keys.positions("binance"))) == (
        {
            "exchange": "binance",
            "account": "paper",
            "symbol": "BTC/USDT",
            "quantity": "3",
            "average_price": "100.666666666667",
            "cost": "302",
            "realized_pnl": "-0.302",
            "unrealized_pnl": "1",
            "fees": '{"USDT":"0.302"}',
            "mark": "101",
            "fills": "2",
            "missing": "0",
            "updated_ns": str(NOW_NS),
            "fills_g": last.g,
            "fills_n": "2",
            "fills_id": last.id,
            "fill": "a.2",
        },
        {POSITION.encode()},
    )


async def test_a_flipped_position_adds_up_to_the_last_digit(redis):
    await deliver(redis, positions(redis), *FILLS, ticker(1, last="102.00"))
    fields = "quantity", "average_price", "realized_pnl", "unrealized_pnl", "mark", "fills"
    # Cash -100 -202 +210 +416 -154.5, quantity -1.5 of 102, fees 1.0825: 169.5 - 153 - 1.0825 = 15.4175
    said = await of(redis, *fields)
    realized, unrealized = said[2:4]
    assert (said, Decimal(realized) + Decimal(unrealized)) == (
        ("-1.5", "104", "12.4175", "3", "102", "5"),
        Decimal("15.4175"),
    )


async def test_a_fill_that_comes_again_changes_nothing(redis):
    it = positions(redis)
    await deliver(redis, it, *FILLS[:3])
    before = await held(redis)
    for service in (it, positions(redis, NOW_NS + 1)):
        for delivery in await deliveries(redis, key("fills")):
            await service.handle(delivery)
    assert await held(redis) == before


async def test_a_service_that_starts_anew_goes_on_with_what_is_stored(redis):
    for each in FILLS:
        await deliver(redis, positions(redis), each)
    by_many = await held(redis)
    await redis.delete(POSITION)
    it = positions(redis)
    for delivery in await deliveries(redis, key("fills")):
        await it.handle(delivery)
    assert await held(redis) == by_many


async def test_fills_are_booked_in_their_order_however_they_are_delivered(redis):
    await deliver(redis, positions(redis), *FILLS)
    in_order = await held(redis)
    await redis.delete(POSITION)
    it = positions(redis)
    first, second, third, fourth, fifth = await deliveries(redis, key("fills"))
    for delivery in (second, fourth, first, third, fifth, fifth):
        await it.handle(delivery)
    assert await held(redis) == in_order


async def test_a_fill_that_could_not_be_booked_is_booked_before_the_next(redis):
    it = positions(redis)
    await deliver(redis, it, FILLS[0])
    await append(redis, FILLS[1:3])
    _, second, third = await deliveries(redis, key("fills"))
    name, stored = POSITION, await redis.hgetall(POSITION)
    await redis.delete(name)
    await redis.set(name, "in the way")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await it.handle(second)
    await redis.delete(name)
    await redis.hset(name, mapping=stored)
    await it.handle(third)
    assert await of(redis, "quantity", "fills", "missing") == ("1", "3", "0")


async def test_accounts_in_one_symbol_are_kept_apart_and_in_step(redis):
    other = [replace(each, s=f"x{each.s}", body=replace(each.body, account="other")) for each in FILLS]
    mixed = [each for pair in zip(FILLS, other, strict=True) for each in pair]
    await append(redis, mixed)
    it = positions(redis)
    for delivery in (await deliveries(redis, key("fills")))[4:]:
        await it.handle(delivery)
    names = POSITION, keys.position("binance", "other", "BTC/USDT")
    assert [await of(redis, "quantity", "fills", "fills_n", name=name) for name in names] == [
        ("-1.5", "5", "9"),
        ("-1.5", "5", "10"),
    ]


async def test_two_services_at_once_book_every_fill_once(redis):
    one, other = positions(redis), positions(redis)
    await append(redis, FILLS)
    overtaken = 0
    for delivery, service in zip(await deliveries(redis, key("fills")), [one, other, one, other, one], strict=True):
        try:
            await service.handle(delivery)
        except Overtaken:
            overtaken += 1
            await service.handle(delivery)
    assert (overtaken, await of(redis, "quantity", "fills")) == (3, ("-1.5", "5"))


async def test_fills_trimmed_before_they_were_read_are_counted_as_missing(redis):
    await append(redis, FILLS[:4])
    await redis.xtrim(str(key("fills")), maxlen=1, approximate=False)
    it = positions(redis)
    (last,) = await deliveries(redis, key("fills"))
    await it.handle(last)
    await deliver(redis, it, FILLS[4])
    assert await of(redis, "fills", "missing") == ("2", "3")


async def test_a_generation_that_follows_another_is_booked_from_its_first_fill(redis):
    it = positions(redis)
    await deliver(redis, it, *FILLS[:3])
    await redis.hset(key("fills").state, mapping={"g": "later", "n": "0"})
    await append(redis, FILLS[3:])
    *_, old, _, fifth = await deliveries(redis, key("fills"))
    for delivery in (fifth, old):
        await it.handle(delivery)
    assert await of(redis, "quantity", "fills", "missing", "fills_g") == ("-1.5", "5", "0", "later")


async def test_marks_are_written_at_most_every_so_often(redis):
    now = [NOW_NS]
    it = Positions(redis, mark_every_ms=250, now_ns=lambda: now[0])
    await deliver(redis, it, FILLS[0])
    seen = []
    for step_ms, mark in ((0, "101"), (100, "102"), (150, "103"), (249, "104"), (1, "105")):
        now[0] += step_ms * 1_000_000
        await deliver(redis, it, ticker(mark, last=mark))
        seen.append(await of(redis, "mark", "unrealized_pnl"))
    assert seen == [("101", "1"), ("101", "1"), ("103", "3"), ("103", "3"), ("105", "5")]


async def test_without_a_last_price_the_middle_is_the_mark(redis):
    await deliver(redis, positions(redis), FILLS[0], ticker(1, bid="100", ask="100.01"))
    assert await of(redis, "mark", "unrealized_pnl") == ("100.005", "0.005")


async def test_a_fill_between_marks_is_marked_by_the_latest_ticker(redis):
    it = positions(redis)
    await deliver(redis, it, FILLS[0], ticker(1, last="101"), ticker(2, last="107"), FILLS[1])
    assert await of(redis, "mark", "quantity") == ("107", "3")


async def told(redis):
    return [(p.account, p.quantity, p.realized, p.fills) for p in await bodies(redis, key("positions"))]


async def test_each_fill_is_followed_by_the_position_that_it_made(redis):
    it = positions(redis)
    await deliver(redis, it, *FILLS)
    for again in await deliveries(redis, key("fills")):
        await positions(redis).handle(again)
    (_, _, _, _, last) = await bodies(redis, key("positions"))
    assert (await told(redis), last) == (
        [
            ("paper", "1", "-0.1", 1),
            ("paper", "3", "-0.302", 2),
            ("paper", "1", "8.154666666666666667", 3),
            ("paper", "-3", "11.072", 4),
            ("paper", "-1.5", "12.4175", 5),
        ],
        Told(
            account="paper",
            quantity="-1.5",
            average="104",
            realized="12.4175",
            fees=(("USDT", "1.0825"),),
            fills=5,
            updated_ns=NOW_NS,
            mark="103",
            unrealized="1.5",
        ),
    )


async def test_a_position_that_was_written_and_not_told_is_told(redis, monkeypatch):
    await append(redis, FILLS[:1])
    (delivery,) = await deliveries(redis, key("fills"))

    async def fails(*_):
        raise RedisError("the line is cut")

    with monkeypatch.context() as broken:
        broken.setattr(appending, "_send", fails)
        with pytest.raises(RedisError):
            await positions(redis).handle(delivery)
    assert await of(redis, "fills") == ("1",)
    await positions(redis).handle(delivery)
    assert await told(redis) == [("paper", "1", "-0.1", 1)]


async def test_numbers_that_are_too_long_for_the_bus_are_told_rounded(redis):
    long = fill("f", "buy", "0.1234567890123456789", "0.1234567890123456789", fee="0")
    await deliver(redis, positions(redis), long, fill("g", "sell", "0.1234567890123456789", "1"))
    assert [p.realized for p in await bodies(redis, key("positions"))] == ["0", "0.108215210259106842149809480012"]


async def test_what_is_rebuilt_has_the_same_digits(redis):
    other = [replace(each, s=f"x{each.s}", body=replace(each.body, account="other")) for each in FILLS[:3]]
    await deliver(redis, positions(redis), *FILLS, *other, ticker(1, last="107"))
    names = POSITION, keys.position("binance", "other", "BTC/USDT")
    before = [await held(redis, name) for name in names]
    same = await rebuild(redis, key("fills"), NOW_NS)
    assert (same, [await held(redis, name) for name in names]) == (Rebuilt(key("fills"), 2, 8, (), 0), before)

    await redis.hset(names[0], "quantity", "1000")
    await redis.delete(names[1])
    mended = await rebuild(redis, key("fills"), NOW_NS)
    assert (mended.changed, [await held(redis, name) for name in names]) == (("other", "paper"), before)


async def test_a_position_without_fills_is_gone_once_rebuilt(redis):
    await deliver(redis, positions(redis), FILLS[0])
    stray = keys.position("binance", "stray", "BTC/USDT")
    await redis.hset(stray, mapping={**await redis.hgetall(POSITION), b"account": b"stray"})
    await redis.sadd(keys.positions("binance"), stray)
    rebuilt = await rebuild(redis, key("fills"), NOW_NS)
    assert (rebuilt.changed, await redis.smembers(keys.positions("binance"))) == (("stray",), {POSITION.encode()})


@pytest.mark.parametrize("left", [2, 0])
async def test_what_cannot_be_rebuilt_is_left_as_it_is(redis, left):
    await deliver(redis, positions(redis), *FILLS)
    before = await held(redis)
    await redis.xtrim(str(key("fills")), maxlen=left, approximate=False)
    assert ((await rebuild(redis, key("fills"), NOW_NS)).missing, await held(redis)) == (5 - left, before)
