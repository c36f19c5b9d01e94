"""The oracle of trading sees what it is for: one history in which all is well, and what is wrong with others."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from consumers.services.accounting import Position, after
from consumers.services.held import Held, told
from consumers.services.limits import Limits
from ingest.contract.events import Fill, Gap, Intent, Order, Status, Ticker
from ingest.contract.keys import StreamKey
from tests.consumers.services.history import Market, Seen
from tests.consumers.services.judging import violations
from tests.consumers.services.test_limits import LISTED

MS = 1_000_000
BTC = "BTC/USDT"
LIMITS = Limits(
    order_amount={BTC: Decimal(3)},
    position={BTC: Decimal(3)},
    order_notional=Decimal(300),
    exposure=Decimal(320),
    orders_per_s=2,
    price_band=Decimal("0.05"),
    price_age_ms=1000,
)
RANKS = {"intents": 0, "approved": 1, "fills": 2, "orders": 3, "positions": 4, "ticker": 0}
TICKER = Ticker(received_ns=900 * MS, bid="99.9", ask="100.1")


def seen(ms, channel, s, body):
    return Seen((ms, RANKS[channel], ms), channel, s, body)


def intent(name="i", side="buy", amount="2", price="101.0", **more):
    fields = {"account": "a", "bot": "b", "decided_ns": 0, "valid_until_ns": 6000 * MS, "order_type": "limit"}
    return Intent(**(fields | {"intent_id": name, "side": side, "amount": amount, "price": price} | more))


def order(status, filled="0", name="i", amount="2", side="buy", **more):
    fields = {
        "order_id": f"o-{name}",
        "intent_id": name,
        "account": "a",
        "order_type": "limit",
        "updated_ns": 1003 * MS,
    }
    return Order(**(fields | {"status": status, "side": side, "amount": amount, "filled": filled} | more))


def fill(number, price, amount="1", name="i", side="buy", account="a"):
    return Fill(
        fill_id=f"o-{name}.{number}",
        order_id=f"o-{name}",
        intent_id=name,
        account=account,
        side=side,
        price=price,
        amount=amount,
        fees=(("USDT", "0.1009"),),
        liquidity="taker",
        exchange_ns=1003 * MS,
        received_ns=1003 * MS,
    )


FILLS = [fill(1, "100.9"), fill(2, "101.0")]
PLACES = [after(Position("USDT"), FILLS[0])]
PLACES.append(after(PLACES[0], FILLS[1]))
HELD = [Held(place, Decimal(100), "g", n, f"{n}-0", f"o-i.{n}") for n, place in enumerate(PLACES, 1)]
TOLD = [told(each, StreamKey("binance", "fills", BTC), "a", 0).body for each in HELD]

INTENTS = [seen(1000, "intents", "i", intent()), seen(1001, "intents", "late", intent("late", valid_until_ns=0))]
APPROVED = seen(1002, "approved", "i", intent())
ORDERS = [
    seen(1004, "orders", "o-i.1", order("new")),
    seen(1005, "orders", "o-i.2", order("partially_filled", "1")),
    seen(1016, "orders", "o-i.3", order("filled", "2")),
    seen(1007, "orders", "o-late.1", order("rejected", name="late", reason="late")),
]
FILLED = [seen(1004, "fills", "o-i.1", FILLS[0]), seen(1016, "fills", "o-i.2", FILLS[1])]
POSITIONS = [seen(1005, "positions", "a/o-i.1", TOLD[0]), seen(1017, "positions", "a/o-i.2", TOLD[1])]
CANCEL = intent("c", amount="0", price=None, order_type="cancel", cancels="i")
CANCELED = [
    seen(1008, "intents", "c", CANCEL),
    seen(1009, "approved", "c", CANCEL),
    seen(1017, "orders", "o-c.1", order("rejected", name="c", amount="0", reason="nothing to cancel")),
]
FINE = [*INTENTS, APPROVED, *ORDERS, *FILLED, *POSITIONS, *CANCELED]


SHOWN = seen(900, "ticker", "t", TICKER)


def judged(entries, *, limits=LIMITS, tickers=(SHOWN,), held=None, **more):
    market = Market(BTC, tuple(tickers), more.pop("listed", LISTED), more.pop("killed", ()))
    entries = sorted(entries, key=lambda each: each.at)
    return violations(entries, limits, market, {"a": HELD[1]} if held is None else held, **more)


def without(*gone):
    return [each for each in FINE if each not in gone]


def instead(old, **fields):
    return [each._replace(body=replace(old.body, **fields)) if each == old else each for each in FINE]


def approving(**fields):
    """The same, wished and approved otherwise."""
    return [
        each._replace(body=replace(each.body, **fields)) if each.channel in ("intents", "approved") else each
        for each in FINE
    ]


def test_nothing_is_found_where_all_is_well():
    assert judged(FINE) == []


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([*FINE, APPROVED], "approved i is there 2 times"),
        (without(INTENTS[0]), "i was approved and is not what was wished"),
        (instead(APPROVED, amount="1"), "i was approved and is not what was wished"),
        ([*FINE, seen(1010, "approved", "late", INTENTS[1].body)], "late was refused, and then approved"),
        (without(INTENTS[1]), "o-late.1 is of no intent"),
        (without(APPROVED), "i is an order and was not approved"),
        (without(ORDERS[3]), "late has no answer"),
        (without(*ORDERS[:3], *FILLED, *POSITIONS), "i was approved and is no order"),
        (without(CANCELED[2]), "c was approved and has ended no order"),
        ([*FINE, seen(1010, "orders", "p.1", order("new", order_id="p"))], "i has become 2 orders"),
        (without(ORDERS[0]), "o-i.2: partially_filled follows nothing"),
        ([*FINE, seen(1020, "orders", "o-i.4", order("canceled", "2"))], "o-i.4: canceled follows filled"),
        (instead(ORDERS[0], side="sell"), "o-i.1 is not what was wished"),
        (instead(ORDERS[0], updated_ns=6001 * MS), "o-i.1 was placed after its valid_until_ns"),
        (instead(ORDERS[1], filled="2"), "o-i.2: 2 filled, 1 in fills"),
        (instead(ORDERS[2], filled="1"), "o-i: 1 of 2 filled, 2 in fills"),
        ([*FINE, seen(1010, "fills", "o-i.3", fill(3, "101.0"))], "o-i: 2 of 2 filled, 3 in fills"),
        (without(*ORDERS[:3]), "o-i has fills and no state"),
        ([*FINE, seen(1010, "fills", "f", fill(3, "99.0", name="late"))], "f fills what was not approved"),
        (instead(FILLED[0], account="b"), "o-i.1 fills what was not approved"),
        (instead(FILLED[0], price="101.1"), "o-i.1 is at 101.1, beyond 101.0"),
    ],
)
def test_what_is_wrong_with_answers_orders_and_fills_is_found(entries, found):
    assert found in judged(entries)


@pytest.mark.parametrize(
    ("entries", "held"),
    [
        (without(FILLED[1]), None),
        (without(POSITIONS[0]), None),
        (instead(POSITIONS[0], quantity="2"), None),
        (instead(POSITIONS[0], realized="0.1009"), None),
        (instead(POSITIONS[0], fees=(("USDT", "0.10090000000000000001"),)), None),
        (instead(POSITIONS[1], fills=3), None),
        (instead(FILLED[1], price="100.99999999999999999999"), None),
        (FINE, {}),
        (FINE, {"a": HELD[0]}),
        (FINE, {"a": HELD[1], "b": HELD[1]}),
        (FINE, {"a": replace(HELD[1], missing=1)}),
        (
            FINE,
            {"a": replace(HELD[1], position=replace(PLACES[1], cost=Decimal("201.900000000000000000000000000001")))},
        ),
        (FINE, {"a": replace(HELD[1], position=replace(PLACES[1], fees=(("BNB", Decimal("0.2018")),)))}),
    ],
)
def test_positions_that_are_not_the_sums_of_their_fills_are_found(entries, held):
    assert any("fills add up to" in each for each in judged(entries, held=held))


def test_a_state_and_its_fills_are_one_step_which_may_take_a_moment():
    late = [each._replace(at=(each.at[0] + 2, *each.at[1:])) if each == FILLED[0] else each for each in FINE]
    assert judged(late) == []


OTHER = [seen(1010, "intents", "j", intent("j")), seen(1011, "approved", "j", intent("j"))]
SELLING = intent("s", "sell", "4")


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([*FINE, *OTHER], "approved j: a could buy up to 4"),
        ([*FINE, seen(1020, "fills", "f", fill(3, "99.0", "2"))], "fills f: a could buy up to 4"),
        (
            [seen(1010, "intents", "s", SELLING), seen(1011, "approved", "s", SELLING)],
            "approved s: a could sell up to 4",
        ),
    ],
)
def test_an_account_that_could_hold_too_much_is_found(entries, found):
    assert found in judged(entries)


def test_what_an_order_that_is_over_did_not_get_counts_no_more():
    over = seen(1009, "orders", "o-i.3", order("canceled", "1"))
    entries = [*without(ORDERS[2], FILLED[1], POSITIONS[1]), over, *OTHER]
    assert not any("could" in each for each in judged(entries, settled=False))


@pytest.mark.parametrize(
    ("entries", "limits", "why"),
    [
        (approving(valid_until_ns=900 * MS), {}, "after its valid_until_ns"),
        (FINE, {"order_amount": {BTC: Decimal(1)}}, "the amount 2"),
        (approving(amount="2.0001"), {}, "off its steps, 2.0001 at 101.0"),
        (approving(price="101.05"), {}, "off its steps, 2 at 101.05"),
        (FINE, {"price_age_ms": 50}, "the price was too old, at 100.0"),
        (FINE, {"price_band": Decimal("0.009")}, "outside of the price band, at 100.0"),
        (FINE, {"order_notional": Decimal(201)}, "above the value of an order, at 100.0"),
        (FINE, {"exposure": Decimal(201)}, "above the exposure, at 100.0"),
        (approving(amount="0.001", price="100.0"), {}, "below the least value, at 100.0"),
    ],
)
def test_what_was_approved_against_a_limit_is_found(entries, limits, why):
    found = judged(entries, limits=replace(LIMITS, **limits))
    assert [each for each in found if each.startswith("i was approved: ")] == [f"i was approved: {why}"]


@pytest.mark.parametrize(
    "tickers",
    [
        (),
        (seen(1100, "ticker", "t", TICKER),),
        (SHOWN, seen(910, "ticker", "w", Status(state="stale", reason="cut"))),
        (seen(900, "ticker", "t", Ticker(received_ns=900 * MS)),),
    ],
)
def test_what_was_approved_without_a_price_is_found(tickers):
    assert "i was approved: there was no price" in judged(FINE, tickers=tickers)


def test_of_the_prices_of_the_moment_one_has_to_allow_it():
    far = Ticker(received_ns=900 * MS, last="150")
    before, within = seen(901, "ticker", "u", far), seen(1001, "ticker", "u", far)
    assert [
        any("price band" in each for each in judged(FINE, tickers=[SHOWN, other])) for other in (before, within)
    ] == [True, False]


def test_a_gap_among_tickers_leaves_the_price_as_it_was():
    gap = seen(910, "ticker", "g", Gap(reason="rollback", after_g="g", after_n=1))
    assert judged(FINE, tickers=(SHOWN, gap)) == []


def test_what_is_not_traded_is_found():
    assert [judged(FINE, listed=listed) != [] for listed in (None, replace(LISTED, status="halted"))] == [True, True]


@pytest.mark.parametrize(("apart_ms", "found"), [(400, True), (600, False)])
def test_more_approvals_than_there_may_be_in_a_second_are_found(apart_ms, found):
    entries = []
    for number in range(3):
        small, ms = intent(f"{number}", amount="0.5"), 1000 + number * apart_ms
        entries += [seen(ms, "intents", small.intent_id, small), seen(ms + 1, "approved", small.intent_id, small)]
    said = judged(entries, settled=False, limits=replace(LIMITS, price_age_ms=5000))
    assert (said == ["a: 3 approved within a second, up to 2"]) is found


def test_one_that_was_decided_in_time_may_be_told_late():
    """The first was written down at once, and told by the next owner, right before two others."""
    entries = []
    for number, (came, told_ms) in enumerate([(1000, 2100), (2101, 2102), (2103, 2104)]):
        small = intent(f"{number}", amount="0.5")
        entries += [seen(came, "intents", f"{number}", small), seen(told_ms, "approved", f"{number}", small)]
    assert judged(entries, settled=False, limits=replace(LIMITS, price_age_ms=5000)) == []


@pytest.mark.parametrize(
    ("killed", "found"),
    [
        (
            (900, 1900),
            ["o-i.1 was filled while the kill switch was on", "i was approved: while the kill switch was on"],
        ),
        ((1001, 1900), ["o-i.1 was filled while the kill switch was on"]),
        ((1004, 1900), []),
        ((0, 1002), []),
    ],
)
def test_what_was_decided_while_the_kill_switch_was_on_is_found(killed, found):
    said = judged(FINE, killed=[(killed[0] * MS, killed[1] * MS)])
    assert [each for each in said if "kill switch" in each and "o-i.2" not in each] == found


def test_one_entry_that_was_acted_upon_under_two_names_is_found():
    stream = "md:{binance}:trades:BTC-USDT"
    names = {(stream, "5-0"): "77", (stream, "9-0"): "77", (stream, "9-1"): "78"}

    def named(*entries):
        return [
            seen(1000 + i, "intents", s, intent(s)) for i, s in enumerate(f"b/{stream}/{each}/0" for each in entries)
        ]

    assert [
        [each for each in judged(named(*entries), names=names, settled=False) if "2 intents" in each]
        for entries in (("77", "78"), ("5-0", "9-1"), ("5-0", "9-0"))
    ] == [[], [], [f"b/{stream}/77/0 has become 2 intents"]]
