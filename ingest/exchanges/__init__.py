"""The pure core: each exchange is a conversation, a function of bytes and time."""

from collections.abc import Mapping

from ingest.exchanges.binance import Binance
from ingest.exchanges.binance_reader import BinanceReader
from ingest.exchanges.bybit import Bybit
from ingest.exchanges.bybit_reader import BybitReader
from ingest.exchanges.coinbase import Coinbase
from ingest.exchanges.coinbase_reader import CoinbaseReader
from ingest.exchanges.exchange import Exchange
from ingest.exchanges.kraken import Kraken
from ingest.exchanges.kraken_reader import KrakenReader
from ingest.exchanges.okx import Okx
from ingest.exchanges.okx_reader import OkxReader
from ingest.exchanges.reading import Readers

EXCHANGES: Mapping[str, type[Exchange]] = {
    exchange.name: exchange for exchange in (Binance, Bybit, Coinbase, Kraken, Okx)
}
"""Every exchange by name: the one line that a new one adds."""

READERS: Mapping[str, Readers] = {
    "binance": BinanceReader,
    "bybit": BybitReader,
    "coinbase": CoinbaseReader,
    "kraken": KrakenReader,
    "okx": OkxReader,
}
"""Who reads an exchange's frames by themselves."""
