from pathlib import Path

import pytest

from ingest.simulator import ledger
from ingest.simulator.ledger import Ledger, Record, read

RECORDS: list[Record] = [
    ledger.Trade(
        key="md:{binance}:trades:BTC-USDT",
        s="6123456789",
        first="6123456789",
        price="61250.10000000",
        amount="0.00420000",
        side="sell",
        exchange_ns=1795335330123000000,
    ),
    ledger.Delta(
        key="md:{binance}:orderbook:BTC-USDT", s="107", first="100", bids=(("61250.09000000", "0.00000000"),), asks=()
    ),
    ledger.Ticker(key="md:{binance}:ticker:BTC-USDT", s="book.107", first="book.107", bid="1.0", ask="2.0"),
]


def test_what_is_written_is_read(tmp_path: Path):
    with Ledger(tmp_path / "ledger") as open_ledger:
        open_ledger.write(RECORDS[:2])
        before_closing = list(read(tmp_path / "ledger"))
        open_ledger.write([])
        open_ledger.write(RECORDS[2:])
    assert (before_closing, list(read(tmp_path / "ledger"))) == (RECORDS[:2], RECORDS)


def test_a_line_is_readable_without_this_code(tmp_path: Path):
    with Ledger(tmp_path / "ledger") as open_ledger:
        open_ledger.write(RECORDS[1:2])
    assert (tmp_path / "ledger").read_text() == (
        '{"type":"delta","key":"md:{binance}:orderbook:BTC-USDT","s":"107","first":"100",'
        '"bids":[["61250.09000000","0.00000000"]],"asks":[]}\n'
    )


def test_a_torn_last_line_is_left_out(tmp_path: Path):
    with Ledger(tmp_path / "ledger") as open_ledger:
        open_ledger.write(RECORDS)
    whole = (tmp_path / "ledger").read_bytes()
    (tmp_path / "torn").write_bytes(whole[:-10])
    assert list(read(tmp_path / "torn")) == RECORDS[:2]


def test_what_is_no_ledger_is_named(tmp_path: Path):
    (tmp_path / "notes").write_text("{}\n")
    with pytest.raises(ValueError, match=r"notes, line 1: "):
        list(read(tmp_path / "notes"))


def test_faults_that_were_played_are_no_events(tmp_path: Path):
    played = ledger.Struck(fault="gap@1s/0s", at_ns=7, key=RECORDS[0].key, s=RECORDS[0].s)
    with Ledger(tmp_path / "ledger") as open_ledger:
        open_ledger.write([RECORDS[0], played, RECORDS[1]])
    assert (list(read(tmp_path / "ledger")), list(ledger.struck(tmp_path / "ledger"))) == (RECORDS[:2], [played])
