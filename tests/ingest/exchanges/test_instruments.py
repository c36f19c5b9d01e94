"""What exchanges trade, over all of them: what is halted says so, and only that."""

import pytest

from ingest.exchanges import EXCHANGES
from ingest.exchanges.exchange import Instrument
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import BadFault, parse
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from tests.ingest.exchanges.joined import SECOND, START_NS, target

BOTH = sorted(EXCHANGES.keys() & DIALECTS.keys())
on_both = pytest.mark.parametrize("name", BOTH)
SYMBOLS = ("BTC/USDT", "ETH/USDT")


def traded(name: str, fault: str = "", after_s: int = 2) -> dict[str, Instrument]:
    """As the exchange reads what its simulated counterpart lists."""
    market = Market([listing(symbol) for symbol in SYMBOLS], rate=0, seed=1, start_ns=START_NS)
    venue, exchange = Disturbed(DIALECTS[name](market, START_NS), START_NS), EXCHANGES[name]()
    if fault:
        venue.strike(parse(fault))
    venue.advance(START_NS + after_s * SECOND)
    answer = venue.get(target(exchange.list_instruments()), START_NS + after_s * SECOND)
    return dict(exchange.instruments(answer.body))


def takes_orders(instruments: dict[str, Instrument]) -> dict[str, bool]:
    return {symbol: each.trading and not each.halted for symbol, each in instruments.items()}


@on_both
def test_everything_that_is_listed_is_traded_and_has_its_sizes(name: str):
    instruments = traded(name)
    sizes = [each.tick_size and each.lot_size for each in instruments.values()]
    assert (takes_orders(instruments), all(sizes)) == (dict.fromkeys(SYMBOLS, True), True)


@on_both
def test_what_is_halted_takes_no_orders_until_the_fault_is_over(name: str):
    fault = "halt::BTC/USDT@1s/5s"
    assert [takes_orders(traded(name, fault, after_s)) for after_s in (0, 2, 7)] == [
        {"BTC/USDT": True, "ETH/USDT": True},
        {"BTC/USDT": False, "ETH/USDT": True},
        {"BTC/USDT": True, "ETH/USDT": True},
    ]


def test_halted_are_symbols_and_not_channels():
    with pytest.raises(BadFault, match="halt is of symbols, not of a channel"):
        traded("binance", "halt:trades:BTC/USDT")
