import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.simulator.listings import _KNOWN, UNIT, Listing, decimal, listing


def test_numbers_are_written_with_eight_places():
    btc = listing("BTC/USDT")
    written = (btc.price(6_125_010), btc.amount(420), btc.value(6_125_010 * 420), decimal(-5), decimal(0))
    assert written == ("61250.10000000", "0.00420000", "257.25042000", "-0.00000005", "0.00000000")


@settings(derandomize=True, max_examples=30)
@given(st.sampled_from([*_KNOWN, "NEW/COIN", "1INCH/TRY"]))
def test_a_tick_times_a_lot_is_never_rounded(symbol: str):
    each = listing(symbol)
    assert (each.tick * each.lot % UNIT, each.base + "/" + each.quote) == (0, symbol)


def test_an_unknown_symbol_is_listed_alike_every_time():
    assert listing("NEW/COIN") == listing("NEW/COIN") != listing("OTHER/COIN")


@pytest.mark.parametrize(("tick", "said"), [(UNIT // 100, "1.23"), (UNIT, "123"), (1, "0.00000123")])
def test_an_exact_price_has_the_places_of_a_tick(tick: int, said: str):
    assert Listing("BTC/USDT", tick, 1, 1, 1).exact_price(123) == said
