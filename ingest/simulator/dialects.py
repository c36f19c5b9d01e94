"""Every exchange that can be simulated, by name."""

from collections.abc import Mapping
from typing import Protocol

from ingest.simulator.binance.exchange import Binance
from ingest.simulator.bybit.exchange import Bybit
from ingest.simulator.coinbase.exchange import Coinbase
from ingest.simulator.kraken.exchange import Kraken
from ingest.simulator.market import Market
from ingest.simulator.okx.exchange import Okx
from ingest.simulator.venue import Dialect


class Speaks(Protocol):
    """Makes a dialect of a market that begins then."""

    def __call__(self, market: Market, start_ns: int) -> Dialect:
        """The whole exchange."""


DIALECTS: Mapping[str, Speaks] = {
    "binance": Binance,
    "bybit": Bybit,
    "coinbase": Coinbase,
    "kraken": Kraken,
    "okx": Okx,
}
