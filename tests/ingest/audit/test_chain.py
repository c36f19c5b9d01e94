from datetime import UTC, datetime

import pytest

from ingest.audit.chain import chain_of
from ingest.contract.codec import Entry
from ingest.contract.events import Candle, Delta, Gap, Snapshot, Status, Trade
from ingest.contract.keys import parse_key

MINUTE_NS = 60_000_000_000


def entry(s, event, **header):
    return Entry(id="1-1", type=type(event).__name__.lower(), n=1, g="g", s=str(s), event=event, **header)


def trade(s, **said):
    return entry(s, Trade(price="1", amount="1", side="buy", received_ns=1, **said))


def lost(first, last):
    return entry("x.1", Gap(reason="away", first_id=str(first), last_id=str(last)))


def snapshot(s):
    return entry(s, Snapshot(bids=(), asks=(), received_ns=1))


def delta(s):
    return entry(s, Delta(bids=(), asks=(), received_ns=1))


def closed(open_ns, *, closed=True, late=False):
    body = Candle(open_ns=open_ns, open="1", high="1", low="1", close="1", volume="0", closed=closed, received_ns=1)
    return entry(f"{open_ns}.closed", body, late=late)


def minute(i, **said):
    return closed(i * MINUTE_NS, **said)


def missed(first, last):
    """Minutes, both inclusive."""
    return entry("x.1", Gap(reason="away", from_ns=first * MINUTE_NS, to_ns=(last + 1) * MINUTE_NS - 1_000_000))


def found(channel, *entries):
    chain = chain_of(parse_key(f"md:{{binance}}:{channel}:BTC-USDT"))
    findings = [chain.read(each) for each in entries]
    return [(each.column, each.count) for each in findings if each]


def test_a_time_that_a_book_without_ids_may_have_missed_has_no_place_among_its_counters():
    assert found("orderbook", snapshot("a.1.1"), missed(1, 1), snapshot("a.2.1"), missed(3, 3), snapshot("a.4.1")) == []


@pytest.mark.parametrize(
    ("entries", "faults"),
    [
        pytest.param([trade(5), trade(6), trade(7)], [], id="whole"),
        pytest.param([trade(5), trade(8)], [("holes", 2)], id="a hole"),
        pytest.param([trade(5), lost(6, 7), trade(8)], [], id="a hole that is said"),
        pytest.param([trade(5), lost(6, 6), trade(8)], [("holes", 1)], id="a gap that says too little"),
        pytest.param([trade(5), lost(7, 7), trade(8)], [("holes", 1)], id="a gap that begins too late"),
        pytest.param([trade(5), lost(5, 7), trade(8)], [("unfounded", 1)], id="a gap that says too much"),
        pytest.param([trade(5), lost(6, 8), lost(7, 8), trade(9)], [("unfounded", 1)], id="a gap said twice"),
        pytest.param([trade(5), trade(8, count=3)], [], id="merged trades"),
        pytest.param([trade(5), trade(9, count=3)], [("holes", 1)], id="a hole before merged trades"),
        pytest.param([trade(5), trade(7, count=3)], [("duplicates", 1)], id="merged trades that overlap"),
        pytest.param([lost(1, 4), trade(5)], [], id="a gap that stands first"),
        pytest.param([trade("a-b"), trade("c-d")], [], id="opaque ids"),
    ],
)
def test_of_trades_it_finds(entries, faults):
    assert found("trades", *entries) == faults


def test_what_comes_late_has_no_place_in_the_chain():
    late = entry(6, trade(6).event, late=True)
    assert found("trades", trade(5), lost(6, 7), trade(8), late, trade(9)) == []


@pytest.mark.parametrize(
    ("entries", "faults"),
    [
        pytest.param([snapshot(5), delta(7), delta(12), snapshot(12), delta(13)], [], id="whole"),
        pytest.param([delta(7), delta(12)], [], id="trimmed in front"),
        pytest.param([snapshot(5), lost(6, 9), snapshot(9), delta(12)], [], id="a loss that is said"),
        pytest.param([snapshot(5), lost(6, 9), delta(12)], [("holes", 1)], id="no snapshot behind a gap"),
        pytest.param([snapshot(5), lost(8, 9), snapshot(9)], [("holes", 2)], id="a gap that says too little"),
        pytest.param([snapshot(5), delta(7), lost(6, 9), snapshot(9)], [("unfounded", 1)], id="one that says too much"),
        pytest.param([snapshot(5), delta(7), snapshot(9)], [("holes", 2)], id="a snapshot ahead, without a gap"),
        pytest.param([snapshot("a.1"), delta("a.2"), delta("a.3"), snapshot("b.1")], [], id="sessions"),
        pytest.param([snapshot("a.1"), delta("a.3")], [("holes", 1)], id="a hole in a session"),
        pytest.param([snapshot("a.1"), delta("b.1")], [("holes", 1)], id="a session without its book"),
        pytest.param([snapshot("a.1"), delta("a.2"), delta("a.1")], [("disorder", 1)], id="a session turned round"),
        pytest.param([delta("a.7"), delta("a.8")], [], id="a session trimmed in front"),
    ],
)
def test_of_books_it_finds(entries, faults):
    syncing = entry("x.0", Status(state="syncing", reason=""))
    assert found("orderbook", syncing, *entries) == faults


@pytest.mark.parametrize(
    ("entries", "faults"),
    [
        pytest.param([minute(1), minute(2), minute(3)], [], id="whole"),
        pytest.param([minute(1), minute(4)], [("holes", 120_000)], id="a hole, in milliseconds"),
        pytest.param([minute(1), missed(2, 3), minute(4)], [], id="a hole that is said"),
        pytest.param([minute(1), missed(2, 2), minute(4)], [("holes", 60_000)], id="a gap that says too little"),
        pytest.param([minute(1), minute(2, closed=False), minute(2)], [], id="one that grows has no place"),
        pytest.param([minute(1), missed(2, 3), minute(4), minute(3, late=True)], [], id="late"),
    ],
)
def test_of_candles_it_finds(entries, faults):
    assert found("candles-1m", *entries) == faults


def months(*names):
    return [closed(round(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 10**9) for year, month in names]


def test_months_are_as_long_as_they_are():
    whole = months((2023, 12), (2024, 1), (2024, 2), (2024, 3), (2024, 4))
    hole = months((2024, 1), (2024, 3))
    assert (found("candles-1M", *whole), found("candles-1M", *hole)) == ([], [("holes", 29 * 86_400_000)])


@pytest.mark.parametrize("channel", ["ticker", "status", "intents", "candles-odd"])
def test_what_has_no_ids_has_no_chain(channel):
    assert chain_of(parse_key(f"md:{{binance}}:{channel}:BTC-USDT")) is None
