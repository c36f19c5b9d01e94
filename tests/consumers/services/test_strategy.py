"""Strategies by name: found, or refused with what is wrong."""

import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from consumers.services.bot import Bot
from consumers.services.strategies.book_imbalance import BookImbalance
from consumers.services.strategy import EXAMPLE, BadStrategy, channels, load_strategies, load_strategy, worth
from ingest.contract.events import Ticker
from ingest.contract.keys import StreamKey
from ingest.simulator.listings import listing
from tests.consumers.services import scene

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
        (
            "my_strategies:Deaf",
            "hears of no market: a strategy has at least one of on_trade, on_ticker, on_candle, on",
        ),
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


def from_readme(folder, number, name):
    """The strategy in that block of code."""
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[number]
    (folder / f"from_readme_{number}.py").write_text(code)
    return load_strategy(f"from_readme_{number}:{name}")


def test_the_strategy_in_the_readme_does_what_its_sentence_says(folder):
    strategy = from_readme(folder, 0, "Dip")()
    prices = ("100", "101", "100.99", "100.98", "90")
    tickers = [Ticker(received_ns=1, last=price) for price in prices]
    said = [[(wish.side, wish.amount) for wish in strategy.on_ticker(KEY, ticker)] for ticker in tickers]
    assert said == [[], [], [], [("buy", Decimal("9.9"))], []]


async def test_the_second_one_rests_cancels_and_sells_on_what_it_gets(redis, folder):
    bot = Bot(redis, "quotes", from_readme(folder, 1, "Quote"), now_ns=lambda: scene.NOW_NS)
    name = "quotes/md:{binance}:ticker:BTC-USDT/book.1/0"
    got = scene.fill("f1", "buy", "3", "99")
    later = scene.ticker(2, bid="98")
    events = [
        scene.ticker(1, bid="99"),
        replace(got, body=replace(got.body, intent_id=name)),
        replace(later, body=replace(later.body, received_ns=scene.NOW_NS + 2 * scene.SECOND_NS)),
    ]
    await scene.deliver(redis, bot, *events)
    said = [
        (each.side, each.order_type, each.amount, each.price, each.time_in_force, each.cancels)
        for each in await scene.bodies(redis, scene.key("intents"))
    ]
    assert said == [
        ("buy", "limit", "10", "99", "post_only", None),
        ("sell", "market", "3", None, None, None),
        ("buy", "cancel", "0", None, None, name),
        ("buy", "limit", "10", "98", "post_only", None),
    ]


@pytest.mark.parametrize("symbol", ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "DOGE/USDT", "ETH/BTC", "NKN/EUR"])
@pytest.mark.parametrize("value", ["1000", "100.5"])
def test_what_is_worth_so_much_is_a_whole_number_of_lots(symbol, value):
    listed = listing(symbol)
    price, lot = Decimal(listed.price(listed.opening)), Decimal(listed.amount(1))
    value = Decimal(value) if listed.quote != "BTC" else Decimal(value) / 10_000
    amount = worth(value, price)
    assert (amount % lot, value * Decimal("0.9") < amount * price <= value) == (0, True)
