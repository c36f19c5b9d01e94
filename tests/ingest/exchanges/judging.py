"""What was emitted and what stands on the bus, compared by the oracle of the chaos runs."""

from ingest.contract.keys import StreamKey
from ingest.simulator.ledger import Candle, Record
from tests.chaos.exchange import Truth
from tests.chaos.oracle import Verdict, judge
from tests.ingest.exchanges.joined import Joined

SYMBOLS = {"binance": ("BTC/USDT", "ETH/USDT"), "kraken": ("BTC/USD", "ETH/USD")}
"""What is played with on each exchange."""

_UNSENT = ("gap", "garble", "silent", "reorder")


def verdict(joined: Joined, key: StreamKey) -> Verdict:
    """On one stream. What the ledger says was not sent can be missing where ids do not tell: from tickers."""
    lives = [Truth(_heard(joined, key, life.emitted[str(key)]), life.depths.get(str(key)), ()) for life in joined.lives]
    if key.interval:
        lives = [Truth(lives[0].emitted, None, _closed(joined, key)), *lives[1:]]
    return judge(str(key), joined.past(key.channel, key.symbol), lives)


def _heard(joined: Joined, key: StreamKey, emitted: list[Record]) -> list[Record]:
    if key.channel != "ticker":
        return emitted
    unsent = {hit.s for hit in joined.struck if hit.key == str(key) and hit.fault.startswith(_UNSENT)}
    return [record for record in emitted if record.s not in unsent]


def _closed(joined: Joined, key: StreamKey) -> list[Candle]:
    pair = next(pair for pair in joined.market.pairs if pair.listing.symbol == key.symbol)
    price, amount = pair.listing.price, pair.listing.amount
    return [
        Candle(
            key=str(key),
            s=f"{bar.open_ns}.closed",
            first=f"{bar.open_ns}.closed",
            open_ns=bar.open_ns,
            open=price(bar.open),
            high=price(bar.high),
            low=price(bar.low),
            close=price(bar.close),
            volume=amount(bar.lots),
            closed=True,
        )
        for bar in pair.bars.closed(key.interval)
    ]
