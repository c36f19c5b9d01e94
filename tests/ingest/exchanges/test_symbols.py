"""Symbols a person asked for."""

import pytest

from ingest.exchanges.exchange import Instrument
from ingest.exchanges.symbols import UnknownSymbols, by_symbol, find, paid_in

KNOWN = {
    "BTC/USDT": Instrument("BTC/USDT", "BTCUSDT", True, "TRADING"),
    "BTC/USDC": Instrument("BTC/USDC", "BTCUSDC", True, "TRADING"),
    "OLD/USDT": Instrument("OLD/USDT", "OLDUSDT", False, "BREAK"),
}


def test_known_symbols_are_found():
    assert find(["BTC/USDT"], KNOWN, "binance") == {"BTC/USDT": KNOWN["BTC/USDT"]}


def test_all_unknown_ones_are_named_at_once_with_near_matches():
    with pytest.raises(UnknownSymbols) as wrong:
        find(["BTC/USD", "OLD/USDT", "ZZZ/QQQ"], KNOWN, "binance")
    assert str(wrong.value) == (
        "binance: BTC/USD is not traded, did you mean BTC/USDT or BTC/USDC?; "
        "OLD/USDT is not trading now (status BREAK); ZZZ/QQQ is not traded"
    )


def test_what_has_no_name_on_the_bus_is_left_out_and_sizes_that_are_no_numbers_are_unknown():
    odd = [
        Instrument("BTC", "BTC", True, "TRADING"),
        Instrument("A:B/C", "ABC", True, "TRADING"),
        Instrument("A-B/C", "ABC", True, "TRADING"),
        Instrument("NEG/USDT", "NEGUSDT", True, "TRADING", "-1", "0.1", "1e-8"),
    ]
    assert by_symbol(odd) == {"NEG/USDT": Instrument("NEG/USDT", "NEGUSDT", True, "TRADING", None, "0.1", None)}


@pytest.mark.parametrize(
    ("quote", "symbols"), [("", ["BTC/USDC", "BTC/USDT"]), ("USDT", ["BTC/USDT"]), ("usdc", ["BTC/USDC"])]
)
def test_what_is_paid_for_in_something_is_listed_without_what_does_not_trade(quote: str, symbols: list[str]):
    assert paid_in(quote, KNOWN, "binance") == symbols


def test_a_currency_that_nothing_is_paid_in_is_told_near_ones():
    with pytest.raises(
        UnknownSymbols, match=r"binance: nothing is paid for in USTD, did you mean USD[TC] or USD[TC]\?"
    ):
        paid_in("USTD", KNOWN, "binance")
