"""What an account holds after fills: by hand, and against the identity that no rounding may break."""

from decimal import Decimal, localcontext

from hypothesis import given, settings
from hypothesis import strategies as some

from consumers.services.accounting import EXACT, Position, after, divided, plain
from ingest.contract.events import Fill

Q = "USDT"


def fill(side, amount, price, *fees):
    return Fill(
        fill_id="f",
        order_id="o",
        intent_id="i",
        account="paper",
        side=side,
        price=price,
        amount=amount,
        fees=fees,
        liquidity="taker",
        exchange_ns=1,
        received_ns=1,
    )


def held(*fills):
    position = Position(quote=Q)
    for each in fills:
        position = after(position, each)
    return position


def figures(position):
    return tuple(map(plain, (position.quantity, position.average_price, position.cost, position.realized)))


def test_a_long_position_is_bought_at_its_average_price():
    assert figures(held(fill("buy", "1", "100"), fill("buy", "3", "200"))) == ("4", "175", "700", "0")


def test_a_partial_close_realizes_its_part_and_leaves_the_average():
    assert figures(held(fill("buy", "4", "175"), fill("sell", "1", "200"))) == ("3", "175", "525", "25")


def test_a_short_position_gains_when_it_is_bought_back_lower():
    assert figures(held(fill("sell", "2", "100"), fill("buy", "1", "90"))) == ("-1", "100", "-100", "10")


def test_a_flip_closes_all_and_opens_the_rest_at_the_new_price():
    assert figures(held(fill("buy", "2", "100"), fill("sell", "5", "110"))) == ("-3", "110", "-330", "20")


def test_a_flat_position_has_no_cost_even_if_its_average_repeats():
    bought = [fill("buy", "1", "10"), fill("buy", "2", "11")]
    sold = [fill("sell", "1", "12"), fill("sell", "1", "12"), fill("sell", "1", "12")]
    assert figures(held(*bought, *sold)) == ("0", "0", "0", "4")


def test_fees_in_the_quote_currency_reduce_the_profit_and_all_others_are_kept_by_currency():
    position = held(
        fill("buy", "1", "100", (Q, "0.1"), ("BNB", "0.002")),
        fill("sell", "1", "100", (Q, "0.1"), ("BNB", "-0.001")),
    )
    assert (plain(position.realized), position.fees) == ("-0.2", ((Q, Decimal("0.2")), ("BNB", Decimal("0.001"))))


def test_the_released_cost_is_rounded_to_18_places_half_to_even():
    position = held(fill("buy", "3", "1"), fill("buy", "4", "2"), fill("sell", "1", "2"))
    assert figures(position) == (
        "6",
        "1.571428571429",
        "9.428571428571428571",
        "0.428571428571428571",
    )


def test_numbers_are_plain_text():
    said = ["0E-8", "-0", "-0.00", "1E+3", "1E-8", "100", "1.10", "-2.50", "0." + "1" * 60]
    assert [plain(Decimal(text)) for text in said] == [
        "0",
        "0",
        "0",
        "1000",
        "0.00000001",
        "100",
        "1.1",
        "-2.5",
        "0." + "1" * 60,
    ]


def test_division_rounds_half_to_even():
    assert [str(divided(Decimal(n), Decimal(8), 2)) for n in (1, 3, -1, 2)] == ["0.12", "0.38", "-0.12", "0.25"]


def decimals(whole, places):
    return some.decimals(min_value=0, max_value=10**whole, places=places, allow_nan=False).map(lambda d: format(d, "f"))


fills = some.builds(
    lambda side, amount, price, quote_fee, other_fee: fill(side, amount, price, (Q, quote_fee), ("BNB", other_fee)),
    some.sampled_from(["buy", "sell"]),
    decimals(3, 12),
    decimals(6, 12),
    decimals(1, 20),
    decimals(1, 5),
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(some.lists(fills, max_size=30), decimals(6, 8))
def test_profit_is_cash_plus_worth_less_fees_to_the_last_digit(history, mark):
    position = held(*history)
    with localcontext(EXACT):
        signed = [(Decimal(each.amount) * (1 if each.side == "buy" else -1), each) for each in history]
        quantity = sum((amount for amount, _ in signed), start=Decimal(0))
        cash = sum((-amount * Decimal(each.price) for amount, each in signed), start=Decimal(0))
        fees = {Q: Decimal(0), "BNB": Decimal(0)}
        for each in history:
            for currency, fee in each.fees:
                fees[currency] += Decimal(fee)
        total = position.realized + position.unrealized(Decimal(mark))
        expected = cash + quantity * Decimal(mark) - fees[Q]
    assert (position.quantity, total, dict(position.fees), position.fills) == (
        quantity,
        expected,
        fees if history else {},
        len(history),
    )


@settings(derandomize=True, max_examples=100, deadline=None)
@given(some.lists(fills, max_size=20), decimals(6, 12))
def test_what_is_closed_whole_leaves_no_cost_and_has_realized_the_cash(history, price):
    position = held(*history)
    side = "sell" if position.quantity > 0 else "buy"
    flat = after(position, fill(side, plain(abs(position.quantity)), price))
    with localcontext(EXACT):
        cash = position.realized + position.unrealized(Decimal(price))
    assert (flat.quantity, flat.cost, flat.realized) == (0, 0, cash)
