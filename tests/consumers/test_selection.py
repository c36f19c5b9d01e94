import pytest

from consumers.selection import Selection
from ingest.contract.keys import BadName, StreamKey

STREAMS = [
    StreamKey("binance", "candles-1m", "BTC/USDT"),
    StreamKey("binance", "candles-5m", "ETH/USDT"),
    StreamKey("binance", "status"),
    StreamKey("binance", "trades", "BTC/USDT"),
    StreamKey("binance", "trades", "ETH/USDT"),
    StreamKey("kraken", "trades", "BTC/USDT"),
]


@pytest.mark.parametrize(
    ("channels", "exchanges", "symbols", "wanted"),
    [
        ((), (), (), []),
        (("trades",), (), (), STREAMS[3:]),
        (("trades",), ("binance",), (), STREAMS[3:5]),
        (("trades", "status"), ("binance",), ("BTC-USDT",), STREAMS[2:4]),
        (("candles",), (), (), STREAMS[:2]),
        (("candles-1m",), (), (), STREAMS[:1]),
    ],
)
def test_filters_select_streams(channels, exchanges, symbols, wanted):
    selection = Selection(channels, exchanges, symbols)

    assert [key for key in STREAMS if selection.wants(key)] == wanted


def test_what_it_is_told_goes_before_the_filters():
    selection = Selection(("trades",), ("binance",), ())

    selection.tell("binance", "trades", "BTC/USDT", wanted=False)
    selection.tell("binance", "candles", "ETH-USDT", wanted=True)
    selection.tell("kraken", "trades", "BTC/USDT", wanted=True)

    assert [key for key in STREAMS if selection.wants(key)] == [STREAMS[1], STREAMS[4], STREAMS[5]]
    assert selection.needs("binance") == {"trades", "candles:ETH-USDT"}
    assert selection.needs("kraken") == {"trades:BTC-USDT"}
    assert selection.exchanges(["binance", "kraken", "okx"]) == {"binance", "kraken"}


def test_a_group_that_reads_some_symbols_needs_no_others():
    assert Selection(("trades", "status"), (), ("BTC/USDT", "ETH/USDT")).needs("binance") == {
        "trades:BTC-USDT",
        "trades:ETH-USDT",
        "status:BTC-USDT",
        "status:ETH-USDT",
    }


@pytest.mark.parametrize("names", [(("tra des",), (), ()), ((), ("bin*",), ()), ((), (), ("BTC",))])
def test_what_can_be_no_name_is_refused(names):
    with pytest.raises(BadName):
        Selection(*names)
