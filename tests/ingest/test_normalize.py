"""Frames to lines of JSON."""

import json
import subprocess
import sys

import pytest

from ingest.contract.events import Candle, Delta, Snapshot, Ticker, Trade
from ingest.exchanges.binance_reader import BinanceReader
from ingest.exchanges.bybit_reader import BybitReader
from ingest.exchanges.kraken_reader import KrakenReader
from ingest.normalize import normalize
from tests.ingest.exchanges import test_bybit
from tests.ingest.exchanges.test_binance import BOOK_TICKER, DAY, DEPTH, FRAMES, KLINE, REST_BOOK, TRADE
from tests.ingest.exchanges.test_kraken import DEMO_DELTA, DEMO_WHOLE

SYMBOLS = {"BTCUSDT": "BTC/USDT"}
STAMP, STAMP_NS = b"1795335330.2005\t", 1_795_335_330_200_500_000


def bare(frame: bytes) -> bytes:
    return json.dumps(json.loads(frame)["data"]).encode()


def lines(*frames: bytes, symbols=SYMBOLS, shown=(), raw=False, snapshot=b"") -> tuple[list[dict], list[str]]:
    """What is said, and what is complained about."""
    reader = BinanceReader(symbols, raw_books=raw)
    if snapshot:
        reader.snapshot(snapshot)
    said = list(normalize(reader, [STAMP + frame + b"\n" for frame in frames], shown))
    return [json.loads(each.text) for each in said if not each.wrong], [each.text for each in said if each.wrong]


def test_a_trade_is_told_with_its_names_and_the_contracts_fields():
    trade = {
        "type": "trade",
        "symbol": "BTC/USDT",
        "channel": "trades",
        "s": "6123456789",
        "price": "61250.10000000",
        "amount": "0.00420000",
        "side": "sell",
        "received_ns": STAMP_NS,
        "exchange_ns": 1_795_335_330_123_000_000,
    }
    assert lines(TRADE) == ([trade], [])


@pytest.mark.parametrize("frame", FRAMES, ids=["trade", "best", "day", "candle", "delta"])
def test_a_bare_frame_says_what_the_combined_one_says(frame):
    assert lines(bare(frame), raw=True) == lines(frame, raw=True)


def test_without_a_list_of_instruments_symbols_are_spelled_as_the_exchange_does():
    said, _ = lines(*FRAMES, symbols={}, raw=True)
    kinds = [kind.__name__.lower() for kind in (Trade, Ticker, Ticker, Candle, Delta)]
    assert [(line["symbol"], line["type"]) for line in said] == [("BTCUSDT", kind) for kind in kinds]


def test_every_trade_is_told_whether_others_are_missing_or_not():
    ids = [b"6123456789", b"6123456999", b"6123456789"]
    said, _ = lines(*(TRADE.replace(b"6123456789", each) for each in ids))
    assert [line["s"].encode() for line in said] == ids


def test_every_state_of_a_candle_is_told():
    closed = KLINE.replace(b'"x":false', b'"x":true')
    said, _ = lines(KLINE, KLINE, closed)
    assert [line["closed"] for line in said] == [False, False, True]


def test_changes_of_a_book_wait_for_a_snapshot_and_are_counted():
    assert lines(DEPTH) == ([], ["1 deltas are held: no snapshot that they join"])


def test_behind_a_snapshot_they_are_told():
    said, wrong = lines(DEPTH, snapshot=REST_BOOK)
    assert ([(line["type"], line["s"]) for line in said], len(wrong)) == (
        [("snapshot", "81234567890"), ("delta", "81234567897")],
        1,  # that the book is live
    )


def test_raw_they_are_told_as_they_come_joined_or_not():
    later = DEPTH.replace(b"81234567891", b"91234567891").replace(b"81234567897", b"91234567897")
    said, wrong = lines(later, DEPTH, raw=True, snapshot=REST_BOOK)
    assert ([(line["type"], line["s"]) for line in said], wrong) == (
        [("snapshot", "81234567890"), ("delta", "91234567897"), ("delta", "81234567897")],
        [],
    )
    assert said[0]["bids"] == [["61240.00000000", "2.00000000"]]


def test_what_cannot_be_read_is_told_with_its_line_and_the_rest_is():
    bad = [b"{", b'{"result":null,"id":1}', TRADE.replace(b'"61250.10000000"', b'"NaN"'), b"\xff", b"[]", b""]
    said, wrong = lines(*bad, TRADE)
    assert ([line["type"] for line in said], [each.split(":")[0] for each in wrong]) == (
        ["trade"],
        [f"line {number}" for number in range(1, 6)],
    )


AGGREGATE = (
    b'{"stream":"nknusdt@aggTrade","data":{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,'
    b'"p":"0.35280000","q":"58.00000000","f":19862788,"l":19862790,"T":1633998523963,"m":false,"M":true}}'
)


@pytest.mark.parametrize("frame", [AGGREGATE, bare(AGGREGATE)], ids=["combined", "bare"])
def test_several_trades_in_one_are_told_as_that_and_named_by_the_last(frame):
    (said,), wrong = lines(frame)
    assert (said["s"], said["count"], said["price"], said["side"], wrong) == ("19862790", 3, "0.35280000", "buy", [])


def kraken(*frames: bytes, raw: bool = False) -> tuple[list[dict], list[str]]:
    said = list(normalize(KrakenReader({}, raw_books=raw), [STAMP + frame + b"\n" for frame in frames], ()))
    return [json.loads(each.text) for each in said if not each.wrong], [each.text for each in said if each.wrong]


def test_of_kraken_a_book_is_told_from_its_snapshot_on_and_a_checksum_that_is_wrong_ends_it():
    change, wrong = DEMO_DELTA, DEMO_DELTA.replace(b"2525563957", b"2525563958")
    said, told = kraken(change, DEMO_WHOLE, change, wrong, change)
    assert ([line["type"] for line in said], told[-1], len(told)) == (
        ["snapshot", "delta"],
        "2 deltas are held: no snapshot that they join",
        3,  # live, suspect
    )
    assert [line["type"] for line in kraken(change, wrong, DEMO_WHOLE, raw=True)[0]] == ["delta", "delta", "snapshot"]


@pytest.mark.parametrize(
    "frame",
    [
        b'[1664,{"a":[["10.1","5.0","1618678132.1"]],"c":"974947235"},"book-1000","WAVES/EUR"]',
        b'{"event":"heartbeat"}',
    ],
)
def test_of_krakens_older_protocol_it_is_said_that_it_is_not_read(frame):
    _, (told,) = kraken(frame)
    assert told.startswith("line 1: a frame of WebSocket v1; frames of v2 are read: ")


@pytest.mark.parametrize("shown", [["BTC/USDT"], ["BTC-USDT"]])
def test_some_symbols_alone_can_be_shown(shown):
    other = TRADE.replace(b"btcusdt", b"ethusdt").replace(b"BTCUSDT", b"ETHUSDT")
    listed = {**SYMBOLS, "ETHUSDT": "ETH/USDT"}
    assert [line["symbol"] for line in lines(other, TRADE, symbols=listed, shown=shown)[0]] == ["BTC/USDT"]
    assert [line["symbol"] for line in lines(other, TRADE, symbols={}, shown=shown)[0]] == ["BTCUSDT"]


@pytest.mark.slow
def test_as_a_command_it_reads_stdin_and_ends_well(tmp_path):
    book, listed = tmp_path / "book.json", tmp_path / "instruments.json"
    book.write_bytes(REST_BOOK)
    listed.write_bytes(
        b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[]}]}'
    )
    command = [sys.executable, "-m", "ingest", "normalize", "binance", "--instruments", listed, "--snapshot", book]
    done = subprocess.run(command, input=b"\n".join([TRADE, b"{", DAY, BOOK_TICKER, DEPTH]), capture_output=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [kind.__name__.lower() for kind in (Trade, Ticker, Ticker, Snapshot, Delta)]
    assert (done.returncode, [line["type"] for line in said], {line["symbol"] for line in said}) == (
        0,
        kinds,
        {"BTC/USDT"},
    )
    assert done.stderr.startswith(b"line 2: ")


def of_bybit(*frames: bytes, raw: bool = False) -> tuple[list[dict], list[str]]:
    reader = BybitReader(SYMBOLS, raw_books=raw)
    said = list(normalize(reader, [STAMP.replace(b"1795335330", b"1795305600") + frame for frame in frames], ()))
    return [json.loads(each.text) for each in said if not each.wrong], [each.text for each in said if each.wrong]


def test_frames_of_bybit_are_told_each_as_it_comes():
    said, wrong = of_bybit(*test_bybit.FRAMES)
    assert ([(line["type"], line["symbol"], line["s"]) for line in said], len(wrong)) == (
        [
            ("trade", "BTC/USDT", "2290000001258834101"),
            ("trade", "BTC/USDT", "2290000001258834102"),
            ("ticker", "BTC/USDT", "24hr.1795305600126000000"),
            ("ticker", "BTC/USDT", "book.77"),
            ("snapshot", "BTC/USDT", "59438060"),
            ("delta", "BTC/USDT", "59438061"),
            ("candle", "BTC/USDT", "1795305600000000000.1795305600202000000"),
        ],
        1,  # that the book is live
    )


def test_raw_books_of_bybit_are_told_of_any_depth_whether_they_join_or_not():
    shallow = [frame.replace(b"orderbook.1000.", b"orderbook.50.") for frame in (test_bybit.DELTA, test_bybit.WHOLE)]
    said, wrong = of_bybit(*shallow, b'{"success":true,"op":"subscribe"}', raw=True)
    assert ([line["type"] for line in said], [complaint[:6] for complaint in wrong]) == (
        ["delta", "snapshot"],
        ["line 3"],
    )
