"""Symbols a person asked for."""

import pytest

from ingest.exchanges.exchange import Instrument
from ingest.exchanges.symbols import UnknownSymbols, find

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
