"""The example strategy: it trades where its averages cross, and only there."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as some

from consumers.services.strategies.moving_average import MovingAverage
from consumers.services.strategy import frozen, thawed
from ingest.contract.events import Candle
from ingest.contract.keys import StreamKey

KEY = StreamKey("binance", "candles-1m", "BTC/USDT")


def candle(price, closed=True):
    said = dict.fromkeys(("open", "high", "low", "close"), str(price))
    return Candle(open_ns=0, volume="1", closed=closed, received_ns=1, **said)


def wishes(candles, few=2, many=4):
    """What the strategy wishes at each candle; between any two it is kept and read back."""
    strategy = MovingAverage(few, many, amount=Decimal("0.5"))
    said = []
    for each in candles:
        said.append([(wish.side, wish.amount) for wish in strategy.on_candle(KEY, each)])
        strategy = thawed(MovingAverage, frozen(strategy))
    return said


def test_it_buys_where_the_short_average_rises_above_the_long_one_and_sells_where_it_falls_below():
    prices = [10, 10, 10, 10, 9, 8, 9, 10, 11, 9, 7]
    crossings = {index: said for index, said in enumerate(wishes(map(candle, prices))) if said}
    assert crossings == {7: [("buy", Decimal("0.5"))], 10: [("sell", Decimal("0.5"))]}


def test_a_candle_that_still_grows_says_nothing():
    prices = [10, 10, 10, 10, 9, 8, 9, 10]
    growing = [candle(20, closed=False)]
    assert wishes([each for price in prices for each in (*growing, candle(price))])[1::2] == wishes(map(candle, prices))


@settings(max_examples=100)
@given(some.lists(some.decimals(min_value=1, max_value=9, places=2), max_size=40))
def test_its_sums_say_what_the_averages_would(prices):
    expected, above = [], None
    for end in range(1, len(prices) + 1):
        few, many = ([Fraction(price) for price in prices[max(0, end - size) : end]] for size in (2, 4))
        said = []
        if len(many) == 4 and sum(few) / 2 != sum(many) / 4:
            now = sum(few) / 2 > sum(many) / 4
            if above is not None and now != above:
                said = [("buy" if now else "sell", Decimal("0.5"))]
            above = now
        expected.append(said)
    assert wishes(map(candle, prices)) == expected
