"""OKX's frames by themselves, to lines of JSON."""

import json

import pytest

from ingest.contract.events import Trade
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.okx_reader import OkxReader
from tests.ingest.exchanges.test_okx import BAR, DAY, NOTICE, NOW, TRADE, UPDATE, WHOLE, ack

MERGED = TRADE.replace(b'"trades-all"', b'"trades"').replace(b'"source":"0"', b'"count":"3","source":"0"')


def read(*frames, raw=False, snapshot=b""):
    reader = OkxReader({"BTC-USDT": "BTC/USDT"}, raw_books=raw)
    if snapshot:
        reader.snapshot(snapshot)
    events = [event for frame in frames for event in reader.read(frame, NOW)]
    return [(type(event.body).__name__, str(event.key), event.s) for event in events], reader.held


def test_each_frame_is_told_under_our_names():
    said, _ = read(TRADE, DAY, BAR)
    assert said == [
        ("Trade", "md:{okx}:trades:BTC-USDT", "912345123"),
        ("Ticker", "md:{okx}:ticker:BTC-USDT", "ticker.1795305600203000000"),
        ("Candle", "md:{okx}:candles-1m:BTC-USDT", "1795305600000000000.12304511000000000000"),
    ]


def test_merged_trades_say_how_many_they_are():
    (event,) = OkxReader({}, raw_books=False).read(MERGED, NOW)
    assert (event.s, event.first, event.key.symbol, event.body) == (
        "912345123",
        "912345121",
        "BTC/USDT",
        Trade(
            price="83805.2",
            amount="0.0021",
            side="buy",
            received_ns=NOW,
            exchange_ns=1_795_305_600_229_000_000,
            count=3,
        ),
    )


def test_a_book_waits_for_the_whole_of_it():
    whole = [("Snapshot", "68123456000"), ("Status", "reader.1"), ("Delta", "68123456012")]
    early, held = read(UPDATE)
    rest = json.dumps({"code": "0", "msg": "", "data": json.loads(WHOLE)["data"]}).encode()
    by_rest, _ = read(UPDATE, snapshot=rest)
    said, _ = read(WHOLE, UPDATE)
    assert (early, held) == ([], 1)
    assert [[(kind, s) for kind, _, s in each] for each in (said, by_rest)] == [whole, whole]


def test_raw_updates_are_told_whether_they_join_or_not():
    said, _ = read(UPDATE, WHOLE, UPDATE, raw=True)
    assert [kind for kind, *_ in said] == ["Delta", "Snapshot", "Delta"]


SWAP = DAY.replace(b"BTC-USDT", b"BTC-USDT-SWAP")


@pytest.mark.parametrize(
    "frame", [b"pong", NOTICE, ack("books"), BAR.replace(b"candle1m", b"candle1D"), SWAP, b"{", b"[]"]
)
def test_what_is_no_data_is_skipped(frame):
    with pytest.raises(SkipFrame):
        read(frame)


def test_what_is_no_book_is_no_snapshot():
    with pytest.raises(SkipFrame):
        read(snapshot=b'{"code":"51001","msg":"","data":[]}')
