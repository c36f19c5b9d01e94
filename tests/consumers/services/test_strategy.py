"""Strategies by name: found, or refused with what is wrong."""

import re
import sys
from pathlib import Path

import pytest

from consumers.services.strategies.book_imbalance import BookImbalance
from consumers.services.strategy import EXAMPLE, BadStrategy, channels, load_strategies, load_strategy
from ingest.contract.events import Ticker
from ingest.contract.keys import StreamKey

README = Path(__file__).parents[3] / "consumers" / "services" / "README.md"
KEY = StreamKey("binance", "ticker", "BTC/USDT")
MODULE = """
from typing import Any
from msgspec import Struct

class Candles(Struct):
    interval = "5m"
    def on_candle(self, key, candle): ...
    def on_book(self, key, book): ...

class Deaf:
    def on_order(self): ...

class Demanding(Struct):
    size: int
    def on_trade(self, key, trade): ...

class Forgetful:
    def on_trade(self, key, trade): ...

class Unkeepable(Struct):
    what: Any = object()
    def on_trade(self, key, trade): ...

nothing = None
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module of strategies and a broken one."""
    (tmp_path / "my_strategies.py").write_text(MODULE)
    (tmp_path / "my_mistake.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    return tmp_path


def test_the_example_is_found():
    assert load_strategy(EXAMPLE) is BookImbalance


def test_a_strategy_in_the_current_folder_gets_the_channels_of_its_methods(folder):
    assert channels(load_strategy("my_strategies:Candles")) == ("candles-5m", "orderbook")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("my_strategies", "'my_strategies' names no strategy; expected module:Class, as in consumers.services.strat"),
        ("my_strategies:", "names no strategy"),
        (":Candles", "names no strategy"),
        ("no_such_module:Candles", "the module no_such_module cannot be imported: ModuleNotFoundError"),
        ("my_mistake:Candles", "the module my_mistake cannot be imported: ZeroDivisionError"),
        ("my_strategies:Candels", "the module my_strategies has no class Candels"),
        ("my_strategies:nothing", "the module my_strategies has no class nothing"),
        ("my_strategies:Deaf", "hears nothing: a strategy has at least one of on_trade, on_ticker, on_candle, on_book"),
        ("my_strategies:Demanding", "cannot be made without arguments, kept and read back: TypeError"),
        ("my_strategies:Forgetful", "is no msgspec.Struct: only what its fields remember outlives the process"),
        ("my_strategies:Unkeepable", "cannot be made without arguments, kept and read back: TypeError"),
    ],
)
def test_a_name_that_leads_to_no_strategy_is_refused_with_the_reason(folder, name, reason):
    with pytest.raises(BadStrategy, match=re.escape(reason)):
        load_strategy(name)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["my_strategies:Candles"] * 2,
            "two bots are called 'bot': give each a name, as in fast=my_strategies:Candles",
        ),
        (["a b=my_strategies:Candles"], "'a b' can be no bot's name"),
    ],
)
def test_bots_whose_names_make_no_sense_are_refused(folder, names, reason):
    with pytest.raises(BadStrategy, match=re.escape(reason)):
        load_strategies(names, "bot")


def test_bots_are_known_by_their_names(folder):
    names = ["my_strategies:Candles", "fast=my_strategies:Candles"]
    assert [*load_strategies(names, "slow")] == ["slow", "fast"]


def test_the_strategy_in_the_readme_does_what_its_sentence_says(folder):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "from_readme.py").write_text(code)
    strategy = load_strategy("from_readme:Dip")()
    prices = ("100", "101", "99.99", "99.98", "90")
    tickers = [Ticker(received_ns=1, last=price) for price in prices]
    said = [[wish.side for wish in strategy.on_ticker(KEY, ticker)] for ticker in tickers]
    assert said == [[], [], [], ["buy"], []]
