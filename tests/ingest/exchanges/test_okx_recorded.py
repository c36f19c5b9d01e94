"""What OKX really sent, in 2022: its trades, its tickers, and books that had a checksum then."""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path

import pytest

from ingest.contract.events import Ticker, Trade
from ingest.exchanges.okx import Okx
from ingest.exchanges.okx_reader import OkxReader
from ingest.exchanges.sorted_book import SortedBook

FRAMES = os.environ.get("FRAMES")
recorded = pytest.mark.skipif(not FRAMES, reason="FRAMES names no folder of recorded frames")
MS = 1_000_000
CHECKED_LEVELS = 25


def crc(book: SortedBook) -> int:
    """Of the best bid, the best ask, the next of each, …, as OKX computed it until June 2026. It sends 0 since.

    https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
    """
    bids, asks = book.levels(CHECKED_LEVELS)
    pairs = chain.from_iterable(zip_longest(bids, asks))
    value = zlib.crc32(":".join(chain.from_iterable(level for level in pairs if level)).encode())
    return value - (1 << 32) if value >= 1 << 31 else value


def levels(text: str) -> list[tuple[str, str]]:
    """Price and amount, by turns."""
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        ("83805.1 0.52 83805 1.2 83804.9 0.007", "83805.2 0.1 83806 2.5", 1339273297),
        ("83805.1 0.52 83805 1.25 83804.9 0.007", "83805.8 0.4 83806 2.5", -286441246),
        ("3366.1 7", "3366.8 9 3368 8 3372 8", 831078360),
        ("8476.97 256 8475.55 101", "8476.98 415 8477 7", 2123921068),
        ("8476.97 256 8475.55 101", "8476.98 415", 214565906),
    ],
)
def test_the_worked_examples(bids: str, asks: str, expected: int):
    assert crc(SortedBook(levels(bids), levels(asks), None)) == expected


def lines() -> Iterator[tuple[int, bytes]]:
    """When each frame came, and the frame."""
    for line in (Path(str(FRAMES)) / "okx.tsv").read_bytes().splitlines():
        stamp, _, frame = line.partition(b"\t")
        yield int(float(stamp) * 1_000_000) * 1_000, frame


def of(channel: str, native: str) -> list[tuple[int, Mapping]]:
    said = ((at_ns, json.loads(frame)) for at_ns, frame in lines())
    arg = {"channel": channel, "instId": native}
    return [(at_ns, row) for at_ns, frame in said if frame["arg"] == arg for row in frame.get("data", ())]


@recorded
def test_all_of_its_books_had_the_checksum_that_they_should():
    books, right, wrong = {}, 0, 0
    for _, frame in lines():
        said = json.loads(frame)
        if said["arg"]["channel"] != "books" or "data" not in said:
            continue
        for data in said["data"]:
            bids, asks = ([(price, amount) for price, amount, *_ in data[side]] for side in ("bids", "asks"))
            if said["action"] == "snapshot":
                books[said["arg"]["instId"]] = SortedBook(bids, asks, None)
            else:
                books[said["arg"]["instId"]].apply(bids, asks)
            fits = crc(books[said["arg"]["instId"]]) == data["checksum"]
            right, wrong = right + fits, wrong + (not fits)
    assert (right, wrong, {name: len(book) for name, book in books.items()}["BTC-USDT"]) == (290, 0, 800)


def heard(kind: type) -> list:
    reader = OkxReader({"BTC-USDT": "BTC/USDT"}, raw_books=False)
    arg = b'"instId":"BTC-USDT"},"data"'
    events = [event for at_ns, frame in lines() if arg in frame for event in reader.read(frame, at_ns)]
    return [event for event in events if isinstance(event.body, kind)]


@recorded
def test_every_trade_is_the_event_it_means_and_none_is_missing():
    events = heard(Trade)
    assert [(e.s, e.first, e.body) for e in events] == [
        (
            row["tradeId"],
            row["tradeId"],
            Trade(
                price=row["px"],
                amount=row["sz"],
                side=row["side"],
                received_ns=at_ns,
                exchange_ns=int(row["ts"]) * MS,
            ),
        )
        for at_ns, row in of("trades", "BTC-USDT")
    ]
    ids = [int(event.s) for event in events]
    assert (ids, len(ids)) == (list(range(ids[0], ids[0] + 69)), 69)


@recorded
def test_every_ticker_is_the_event_it_means():
    names = {
        "bid": "bidPx",
        "bid_amount": "bidSz",
        "ask": "askPx",
        "ask_amount": "askSz",
        "last": "last",
        "last_amount": "lastSz",
        "open": "open24h",
        "high": "high24h",
        "low": "low24h",
        "volume": "vol24h",
        "quote_volume": "volCcy24h",
    }
    rows = of("tickers", "BTC-USDT")
    assert [(e.s, e.body) for e in heard(Ticker)] == [
        (
            f"ticker.{int(row['ts']) * MS}",
            Ticker(
                received_ns=at_ns,
                exchange_ns=int(row["ts"]) * MS,
                **{ours: row[theirs] for ours, theirs in names.items()},
            ),
        )
        for at_ns, row in rows
    ]
    assert len(rows) == 25


@recorded
def test_the_whole_list_of_instruments():
    body = (Path(str(FRAMES)) / "rest" / "okx_instruments_SPOT.json").read_bytes()
    instruments = Okx().instruments(body)
    assert (len(instruments), instruments["BTC/USDT"].tick_size, instruments["BTC/USDT"].lot_size) == (
        513,
        "0.1",
        "0.00000001",
    )
