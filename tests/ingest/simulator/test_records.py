from ingest.simulator import ledger, records
from ingest.simulator.bars import Bar
from ingest.simulator.book import Changes
from ingest.simulator.listings import UNIT, Listing
from ingest.simulator.market import Trade

HALVES = Listing("BTC/USDT", tick=UNIT // 2, lot=UNIT // 4, opening=1, usual_lots=1)


def test_a_trade_is_said_in_the_exchanges_digits_and_unit_of_time():
    said = records.trade("k", "x7", Trade(7, 3, 5, taker_sells=True, time_ns=1_999), HALVES, 1_000)
    assert said == ledger.Trade(
        key="k", s="x7", first="x7", price="1.50000000", amount="1.25000000", side="sell", exchange_ns=1_000
    )


def test_a_candle_is_closed_if_its_mark_says_so():
    bar = Bar(10, 20, open=2, high=4, low=1, close=3, lots=6)
    growing, closed = (records.candle("k", mark, bar, HALVES) for mark in (15, "closed"))
    assert (growing.s, growing.closed) == ("10.15", False)
    assert closed == ledger.Candle(
        key="k",
        s="10.closed",
        first="10.closed",
        open_ns=10,
        open="1.00000000",
        high="2.00000000",
        low="0.50000000",
        close="1.50000000",
        volume="1.50000000",
        closed=True,
    )


def test_changes_are_of_the_kind_that_the_exchange_numbers():
    changes = Changes(first=4, last=6, bids={2: 0}, asks={3: 4})
    levels = {"bids": (("1.00000000", "0.00000000"),), "asks": (("1.50000000", "1.00000000"),)}
    said = [records.changed(kind, "k", changes, HALVES) for kind in (ledger.Delta, ledger.Change)]
    assert said == [kind(key="k", s="6", first="4", **levels) for kind in (ledger.Delta, ledger.Change)]
