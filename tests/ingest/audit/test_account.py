from collections.abc import Iterable

import pytest
from msgspec import structs

from ingest.audit.account import Account
from ingest.audit.report import StreamReport
from ingest.contract.codec import encode
from ingest.contract.events import Body, Candle, Delta, Gap, Snapshot, Status, Ticker, Trade
from ingest.simulator import ledger
from ingest.simulator.ledger import Record

KEY = "md:{binance}:trades:BTC-USDT"


def emitted_trade(number: int, price: str = "61250.10000000") -> Record:
    s = str(number)
    return ledger.Trade(key=KEY, s=s, first=s, price=price, amount="0.1", side="sell", exchange_ns=number * 1000)


def trade(number: int, **changes: object) -> tuple[str, Body]:
    said = Trade(price="61250.10000000", amount="0.1", side="sell", exchange_ns=number * 1000, received_ns=1)
    return str(number), structs.replace(said, **changes)


def delta(first: int, last: int) -> tuple[Record, tuple[str, Body]]:
    bids = ((f"{last}.0", "1"),)
    record = ledger.Delta(key=KEY, s=str(last), first=str(first), bids=bids, asks=())
    return record, (str(last), Delta(bids=bids, asks=(), received_ns=1))


def account(
    emitted: Iterable[Record],
    entries: Iterable[tuple[str, Body]],
    *,
    gaps: tuple[tuple[int, int], ...] = (),
    places: Iterable[tuple[str, int]] | None = None,
    opaque: bool = False,
) -> dict[str, object]:
    """What the report says that is not nothing; `places` are generation and number of each entry."""
    entries = list(entries)
    compared = Account(KEY, emitted, opaque=opaque)
    for (s, body), (g, n) in zip(entries, places or [("g", n + 1) for n in range(len(entries))], strict=True):
        fields = {"v": "1", "type": type(body).__name__.lower(), "n": str(n), "g": g, "s": s}
        compared.read(b"1-1", {name.encode(): text.encode() for name, text in fields.items()} | {b"data": encode(body)})
    report = compared.close(gaps)
    nothing = StreamReport(key=KEY)
    said = {name: value for name, value in structs.asdict(report).items() if value != getattr(nothing, name)}
    said.pop("examples", None)
    return said | {"balanced": report.balanced}


def test_all_that_was_emitted_is_there():
    assert account(map(emitted_trade, (5, 6, 7)), map(trade, (5, 6, 7))) == {
        "entries": 3,
        "emitted": 3,
        "in_stream": 3,
        "balanced": True,
    }


def test_a_missing_trade_is_unaccounted_for():
    found = account(map(emitted_trade, (5, 6, 7)), map(trade, (5, 7)))
    assert found == {"entries": 2, "emitted": 3, "in_stream": 2, "unaccounted": 1, "balanced": False}


def test_a_trade_that_never_reached_the_end_of_the_stream_is_unaccounted_for():
    assert account(map(emitted_trade, (5, 6)), [trade(5)])["unaccounted"] == 1


def test_an_empty_stream_excuses_nothing():
    ticker = ledger.Ticker(key=KEY, s="book.7", first="book.7", bid="1")
    assert account([emitted_trade(5), ticker], [])["unaccounted"] == 2


def test_a_registered_gap_answers_for_what_it_covers():
    found = account(
        map(emitted_trade, (5, 6, 7, 8)),
        [trade(5), ("s.1", Gap(reason="away", first_id="6", last_id="7")), trade(8)],
        gaps=((1, 2), (6, 7)),
    )
    assert found == {"entries": 3, "gaps": 2, "emitted": 4, "in_stream": 2, "in_gaps": 2, "balanced": True}


def test_a_registered_gap_answers_for_nothing_else():
    found = account(
        map(emitted_trade, (5, 6, 7, 8, 9)),
        [trade(5), ("s.1", Gap(reason="away", first_id="6", last_id="7")), trade(9)],
        gaps=((6, 7),),
    )
    assert (found["in_gaps"], found["unaccounted"], found["balanced"]) == (2, 1, False)


def test_what_was_emitted_before_the_stream_began_is_told_apart():
    found = account(map(emitted_trade, (3, 4, 5)), [trade(5)], places=[("g", 17)])
    assert found == {"entries": 1, "emitted": 3, "in_stream": 1, "before": 2, "balanced": True}


def test_a_duplicate_is_found():
    found = account([emitted_trade(5)], [trade(5), trade(5)])
    assert found == {"entries": 2, "duplicates": 1, "emitted": 1, "in_stream": 1, "balanced": False}


@pytest.mark.parametrize(
    "change",
    [{"price": "61250.1"}, {"amount": "0.2"}, {"side": "buy"}, {"exchange_ns": 6000}, {"exchange_ns": None}],
)
def test_a_trade_that_says_something_else_is_found(change: dict[str, object]):
    found = account([emitted_trade(5)], [trade(5, **change)])
    assert found == {"entries": 1, "differs": 1, "emitted": 1, "in_stream": 1, "balanced": False}


def test_a_trade_that_was_never_emitted_is_found():
    found = account(map(emitted_trade, (5, 7)), map(trade, (4, 5, 6, 7)))  # 4 was traded before anybody recorded
    assert found == {"entries": 4, "invented": 1, "emitted": 2, "in_stream": 2, "balanced": False}


def test_merged_trades_answer_for_each_of_them():
    found = account(map(emitted_trade, (5, 6, 7)), [trade(7, count=3, amount="0.3")])
    assert found == {"entries": 1, "emitted": 3, "in_stream": 3, "balanced": True}


@pytest.mark.parametrize(
    ("places", "breaks"),
    [
        ([("a", 5), ("a", 6), ("a", 7)], 0),
        ([("a", 5), ("b", 1), ("b", 2)], 0),
        ([("a", 5), ("a", 7), ("a", 8)], 1),
        ([("a", 5), ("a", 5), ("a", 6)], 1),
        ([("a", 5), ("b", 2), ("b", 3)], 1),
    ],
)
def test_n_is_dense_within_a_generation(places: list[tuple[str, int]], breaks: int):
    found = account(map(emitted_trade, (5, 6, 7)), map(trade, (5, 6, 7)), places=places)
    assert (found.get("breaks", 0), found["balanced"]) == (breaks, not breaks)


def ticker(s: str) -> tuple[str, Body]:
    return s, Ticker(received_ns=1)


def candle(open_ns: int, mark: str, close: str = "1") -> tuple[str, Body]:
    body = Candle(
        open_ns=open_ns,
        open="1",
        high="1",
        low="1",
        close=close,
        volume="0",
        closed=mark == "closed",
        received_ns=1,
    )
    return f"{open_ns}.{mark}", body


@pytest.mark.parametrize(
    ("entries", "disorder"),
    [
        ([trade(5), trade(4)], 1),
        ([ticker("book.7"), ticker("24hr.3"), ticker("book.8"), ticker("24hr.4")], 0),
        ([ticker("book.7"), ticker("24hr.3"), ticker("book.7")], 1),
        ([candle(60, "61"), candle(60, "62"), candle(60, "closed"), candle(120, "121")], 0),
        ([candle(60, "closed"), candle(60, "62")], 1),
        ([candle(120, "121"), candle(60, "closed")], 1),
        ([("5", Snapshot(bids=(), asks=(), received_ns=1)), delta(6, 7)[1]], 0),
        ([delta(6, 7)[1], ("7", Snapshot(bids=(), asks=(), received_ns=1))], 0),
        ([delta(6, 7)[1], ("6", Snapshot(bids=(), asks=(), received_ns=1))], 1),
        ([("s.2", Status(state="live", reason="")), ("s.1", Status(state="live", reason=""))], 0),
    ],
)
def test_the_order_of_a_stream_is_that_of_its_identities(entries: list[tuple[str, Body]], disorder: int):
    assert account([], entries).get("disorder", 0) == disorder


def test_deltas_up_to_the_first_snapshot_belong_to_it():
    records, entries = zip(*(delta(first, first + 9) for first in (10, 20, 30)), strict=True)
    found = account(records, [("29", Snapshot(bids=(), asks=(), received_ns=1)), entries[2]])
    assert found == {"entries": 2, "emitted": 3, "in_stream": 1, "before": 2, "balanced": True}


def test_a_delta_lost_after_the_snapshot_is_unaccounted_for():
    records, entries = zip(*(delta(first, first + 9) for first in (10, 20, 30)), strict=True)
    assert account(records, [("19", Snapshot(bids=(), asks=(), received_ns=1)), entries[2]])["unaccounted"] == 1


def test_a_delta_with_another_level_is_found():
    record, (s, body) = delta(10, 19)
    assert account([record], [(s, structs.replace(body, asks=(("7", "0"),)))])["differs"] == 1


def test_tickers_and_candles_may_be_superseded_but_not_altered():
    emitted: list[Record] = [
        ledger.Ticker(key=KEY, s="book.7", first="book.7", bid="1"),
        ledger.Ticker(key=KEY, s="book.8", first="book.8", bid="2"),
        ledger.Ticker(key=KEY, s="book.9", first="book.9", bid="3"),
    ]
    said = [("book.8", Ticker(received_ns=1, bid="2", last="5")), ("book.9", Ticker(received_ns=1, bid="4"))]
    assert account(emitted, said) == {
        "entries": 2,
        "emitted": 3,
        "in_stream": 2,
        "superseded": 1,
        "differs": 1,
        "balanced": False,
    }


def test_an_altered_candle_is_found():
    s, _ = candle(60, "closed")
    record = ledger.Candle(
        key=KEY, s=s, first=s, open_ns=60, open="1", high="1", low="1", close="1", volume="0", closed=True
    )
    found = [account([record], [candle(60, "closed", close)])["balanced"] for close in ("1", "2")]
    assert found == [True, False]


def test_an_entry_that_cannot_be_read_is_found():
    compared = Account(KEY)
    compared.read(b"1-1", {b"v": b"1", b"type": b"trade", b"n": b"1", b"g": b"g", b"s": b"5", b"data": b"\xc1"})
    report = compared.close(())
    assert (report.unreadable, report.balanced) == (1, False)


def opaque_record(s: str, ms: int) -> Record:
    return ledger.Trade(key=KEY, s=s, first=s, price="1", amount="1", side="buy", exchange_ns=ms * 1_000_000)


def opaque_trade(s: str, ms: int) -> tuple[str, Body]:
    return s, Trade(price="1", amount="1", side="buy", exchange_ns=ms * 1_000_000, received_ns=1)


def test_trades_whose_ids_have_no_order_are_missing_by_their_times():
    emitted = [opaque_record(s, ms) for s, ms in (("9-old", 1), ("b", 5), ("2", 6), ("a", 7), ("1", 9))]
    entries = [opaque_trade(s, ms) for s, ms in (("b", 5), ("1", 9))]
    assert account(emitted, entries, gaps=((6, 6),), opaque=True) == {
        "entries": 2,
        "emitted": 5,
        "in_stream": 2,
        "in_gaps": 1,
        "gaps": 1,
        "before": 1,
        "unaccounted": 1,
        "balanced": False,
    }


def test_one_of_them_that_was_never_emitted_is_invented_unless_it_is_older_than_all():
    entries = [opaque_trade(s, ms) for s, ms in (("older", 4), ("b", 5), ("new", 6))]
    assert account([opaque_record("b", 5)], entries, opaque=True) == {
        "entries": 3,
        "emitted": 1,
        "in_stream": 1,
        "invented": 1,
        "balanced": False,
    }
