"""The example strategy: it trades where its averages cross, and only there."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as some

from consumers.services.strategies.moving_average import MovingAverage
from consumers.services.strategy import frozen, thawed, worth
from ingest.contract.events import Candle
from ingest.contract.keys import StreamKey
from tests.consumers.services import scene

KEY = StreamKey("binance", "candles-1m", "BTC/USDT")


def candle(price, closed=True):
    said = dict.fromkeys(("open", "high", "low", "close"), str(price))
    return Candle(open_ns=0, volume="1", closed=closed, received_ns=1, **said)


def wishes(candles, few=2, many=4, filled=Decimal(1)):
    """What the strategy wishes at each candle, of which the share `filled` is filled; in between it is read back."""
    strategy = MovingAverage(few, many, value=Decimal(20))
    said = []
    for each in candles:
        said.append([(wish.side, wish.amount) for wish in strategy.on_candle(KEY, each)])
        for side, amount in said[-1]:
            strategy.on_fill(KEY, scene.fill("f", side, str(amount * filled), "1").body)
        strategy = thawed(MovingAverage, frozen(strategy))
    return said


PRICES = [10, 10, 10, 10, 9, 8, 9, 10, 11, 9, 7, 11, 12]


def crossings(**more):
    return {index: said for index, said in enumerate(wishes(map(candle, PRICES), **more)) if said}


def test_it_buys_where_the_short_average_rises_above_the_long_one_and_sells_where_it_falls_below():
    assert crossings() == {
        7: [("buy", Decimal(2))],
        10: [("sell", Decimal(2))],
        12: [("buy", Decimal("1.6"))],
    }


def test_it_sells_no_more_than_it_got():
    assert crossings(filled=Decimal("0.5")) == {7: [("buy", Decimal(2))], 10: [("sell", Decimal(1))]}
    assert crossings(filled=Decimal(0)) == {7: [("buy", Decimal(2))], 12: [("buy", Decimal("1.6"))]}


def test_a_candle_that_still_grows_says_nothing():
    prices = [10, 10, 10, 10, 9, 8, 9, 10]
    growing = [candle(20, closed=False)]
    assert wishes([each for price in prices for each in (*growing, candle(price))])[1::2] == wishes(map(candle, prices))


@settings(max_examples=100)
@given(some.lists(some.decimals(min_value=1, max_value=9, places=2), max_size=40))
def test_its_sums_say_what_the_averages_would(prices):
    expected, above, held = [], None, Decimal(0)
    for end in range(1, len(prices) + 1):
        few, many = ([Fraction(price) for price in prices[max(0, end - size) : end]] for size in (2, 4))
        said = []
        if len(many) == 4 and sum(few) / 2 != sum(many) / 4:
            now = sum(few) / 2 > sum(many) / 4
            if above is not None and now != above and now != bool(held):
                amount = worth(Decimal(20), prices[end - 1]) if now else held
                said = [("buy" if now else "sell", amount)]
                held = amount if now else Decimal(0)
            above = now
        expected.append(said)
    assert wishes(map(candle, prices)) == expected
