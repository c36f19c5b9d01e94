import pytest

from consumers.patterns import Patterns
from ingest.contract.keys import BadName, StreamKey, parse_key

KEYS = [
    "md:{binance}:candles-1m:BTC-USDT",
    "md:{binance}:status",
    "md:{binance}:trades:BTC-USDT",
    "md:{binance}:trades:ETH-USDT",
    "md:{kraken}:trades:BTC-USD",
]


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["binance:trades:BTC/USDT"], KEYS[2:3]),
        (["binance:trades:BTC-USDT"], KEYS[2:3]),
        (["*:trades:*"], KEYS[2:]),
        (["*:trades"], KEYS[2:]),
        (["binance"], KEYS[:4]),
        (["*"], KEYS),
        (["binance:status"], KEYS[1:2]),
        (["binance:candles:BTC/*"], KEYS[:1]),
        (["*:*:BTC/USD?"], [KEYS[0], KEYS[2]]),
        (["md:{binance}:trades:BTC-USDT"], KEYS[2:3]),
        (["md:{binance}:status"], KEYS[1:2]),
        (["md:*:trades:*"], KEYS[2:]),
        (["kraken", "binance:status"], [KEYS[1], KEYS[4]]),
        (["bybit"], []),
    ],
)
def test_streams_are_named_in_parts_or_by_key(texts, named):
    patterns = Patterns(texts)
    assert [name for name in KEYS if patterns.wants(parse_key(name))] == named


def test_a_stream_of_an_exchange_is_not_one_of_a_namesake():
    assert not Patterns(["binance"]).wants(StreamKey("binanceus", "trades", "BTC/USDT"))


@pytest.mark.parametrize("text", ["", ":trades", "a:b:c:d", "binance::BTC/USDT"])
def test_what_can_name_none_is_refused(text):
    with pytest.raises(BadName, match="names no streams"):
        Patterns([text])
