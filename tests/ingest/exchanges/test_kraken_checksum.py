"""Kraken's checksum: examples that were worked by hand, those of its documentation, and what it really sent."""

import json
import os
from pathlib import Path

import pytest

from ingest.exchanges.kraken import Kraken
from ingest.exchanges.kraken_readers import crc
from ingest.exchanges.sorted_book import SortedBook

FRAMES = os.environ.get("FRAMES")
recorded = pytest.mark.skipif(not FRAMES, reason="FRAMES names no folder of recorded frames")


def levels(text):
    """Price and amount, by turns."""
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


ASKS = levels("""
    61250.1 0.50000000 61250.4 0.00012340 61251.0 1.00000000 61252.3 0.25000000 61253.0 0.04000000
    61255.5 3.10000000 61256.0 0.00700000 61258.8 0.81630000 61260.0 10.00000000 61262.2 0.06400000
""")
BIDS = levels("""
    61250.0 0.75000000 61249.9 1.20345000 61249.2 0.00500000 61248.0 2.00000000 61247.5 0.33000000
    61246.1 0.01632653 61245.0 0.10000000 61243.7 4.08000000 61242.0 0.00081640 61240.0 12.50000000
""")
UPDATES = [
    ([], levels("61250.2 0.30000000 61250.4 0 61250.7 0.09000000")),
    (levels("61249.9 1.10000000"), levels("61250.1 0 61265.0 0.51000000")),
]


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(10, [1080254761, 2402834338, 1385556332]), (None, [1080254761, 2402834338, 4039848050])],
    ids=["cut", "not cut, which shows one message too late"],
)
def test_the_worked_example(depth, expected):
    book = SortedBook(BIDS, ASKS, depth)
    sums = [crc(book)]
    for bids, asks in UPDATES:
        book.apply(bids, asks)
        sums.append(crc(book))
    assert sums == expected


def test_the_example_of_the_guide():
    """https://docs.kraken.com/api/docs/guides/spot-ws-book-v2"""
    bids = levels("""
        45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 1.54592586
        45279.0 0.07990000 45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 45276.6 0.15445238
    """)
    asks = levels("""
        45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 0.15890660
        45291.8 1.54553491 45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 45299.5 0.18772827
    """)
    assert crc(SortedBook(bids, asks, 10)) == 3310070434


def test_the_example_of_the_book_page_which_has_lost_its_zeros():
    """https://docs.kraken.com/api/docs/websocket-v2/book"""
    bids = levels("""
        0.5666 4831.75496356 0.5665 6658.22734739 0.5664 18724.91513344 0.5663 11563.92544914 0.5662 14006.65365711
        0.5661 17454.85679807 0.566 18097.1547 0.5659 33644.89175666 0.5658 148.3464 0.5657 606.70854372
    """)
    asks = levels("""
        0.5668 4410.79769741 0.5669 4655.40412487 0.567 49844.89424998 0.5671 24306.41678 0.5672 29783.25223475
        0.5673 57234.71239278 0.5674 45065.04744 0.5675 5912.76380354 0.5676 42514.92434778 0.5677 36304.0847022
    """)
    book = SortedBook(bids, asks, 10)
    assert (crc(book, 4, 8), crc(book)) == (2439117997, 3830085102)


def updates(message):
    """The older protocol's arrays: an update of both sides has two maps, and the checksum stands in the last."""
    return [part for part in message[1:-2] if isinstance(part, dict)]


def pairs(rows):
    return [(price, amount) for price, amount, *_ in rows]


@recorded
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "not cut, which is right in a deep book"])
def test_what_it_sent_in_the_older_protocol(cut):
    books, right, wrong = {}, 0, 0
    for line in (Path(FRAMES) / "kraken_v1.tsv").read_text(encoding="utf-8").splitlines():
        message = json.loads(line.split("\t", 1)[1])
        if not isinstance(message, list):
            continue
        symbol = message[-1]
        for part in updates(message):
            if "as" in part:
                depth = int(message[-2].removeprefix("book-")) if cut else None
                books[symbol] = SortedBook(pairs(part["bs"]), pairs(part["as"]), depth)
                continue
            books[symbol].apply(pairs(part.get("b", ())), pairs(part.get("a", ())))
            if "c" in part:
                right += crc(books[symbol]) == int(part["c"])
                wrong += crc(books[symbol]) != int(part["c"])
    assert (right, wrong) == (1465, 0)


@recorded
def test_the_whole_list_of_instruments():
    body = (Path(FRAMES) / "rest" / "kraken_AssetPairs.json").read_bytes()
    instruments = Kraken().instruments(body)
    assert (len(instruments), instruments["BTC/USD"].tick_size, instruments["DOGE/EUR"].native) == (
        sum("wsname" in pair for pair in json.loads(body)["result"].values()),
        "0.1",
        "DOGE/EUR",
    )
