"""Trades summed up."""

from msgspec import structs

from ingest.contract.events import Candle, Trade
from ingest.exchanges.candle_sum import sum_of, sum_of_part


def trade(price, amount, **more):
    return Trade(price=price, amount=amount, side="buy", received_ns=1, exchange_ns=7, **more)


PART = Candle(open_ns=0, open="5.0", high="9.5", low="4", close="6", volume="2.50", closed=True, received_ns=3)


def test_digits_are_as_they_were_written_and_sums_exact():
    some = sum_of(trade("61250.10", "0.00420000"))
    some.add(trade("9.9", "0.1"))
    some.add(trade("61250.1", "1000000000000"))
    said = some.candle(0, 2, closed=False)
    assert said == Candle(
        open_ns=0,
        open="61250.10",
        high="61250.10",
        low="9.9",
        close="61250.1",
        volume="1000000000000.10420000",
        closed=False,
        received_ns=2,
        quote_volume="61250100000000258.2404200000",
        trades=3,
        exchange_ns=7,
    )


def test_a_value_of_too_many_digits_is_unknown():
    some = sum_of(trade("0." + "0" * 19 + "1", "0." + "0" * 19 + "1"))
    assert some.candle(0, 2, closed=True).quote_volume is None


def test_behind_a_part_nobody_says_how_many_trades_there_were():
    some = sum_of(trade("7", "0.25"))
    some.begin_with(PART)
    assert some.candle(0, 2, closed=False) == Candle(
        open_ns=0,
        open="5.0",
        high="9.5",
        low="4",
        close="7",
        volume="2.75",
        closed=False,
        received_ns=2,
        exchange_ns=7,
        backfilled=True,
    )


def test_a_part_may_be_all_there_is():
    assert sum_of_part(PART).candle(0, 2, closed=True) == structs.replace(PART, received_ns=2, backfilled=True)


def test_what_was_fetched_in_part_says_so():
    some = sum_of(trade("7", "1", backfilled=True))
    some.add(trade("7", "1"))
    assert some.candle(0, 2, closed=True).backfilled
