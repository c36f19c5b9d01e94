"""The worked example of https://docs.kraken.com/api/docs/guides/spot-ws-book-v2, and a client as it asks for one."""

import json
from decimal import Decimal
from zlib import crc32

import pytest

from ingest.simulator.kraken.depth import checksum
from ingest.simulator.kraken.exchange import Kraken
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND
ASKS = {
    "61250.1": "0.50000000",
    "61250.4": "0.00012340",
    "61251.0": "1.00000000",
    "61252.3": "0.25000000",
    "61253.0": "0.04000000",
    "61255.5": "3.10000000",
    "61256.0": "0.00700000",
    "61258.8": "0.81630000",
    "61260.0": "10.00000000",
    "61262.2": "0.06400000",
}
BIDS = {
    "61250.0": "0.75000000",
    "61249.9": "1.20345000",
    "61249.2": "0.00500000",
    "61248.0": "2.00000000",
    "61247.5": "0.33000000",
    "61246.1": "0.01632653",
    "61245.0": "0.10000000",
    "61243.7": "4.08000000",
    "61242.0": "0.00081640",
    "61240.0": "12.50000000",
}


def cut(asks: dict[str, str], bids: dict[str, str]) -> list[tuple[str, str]]:
    best = sorted(asks.items(), key=lambda level: Decimal(level[0]))
    return best[:10] + sorted(bids.items(), key=lambda level: -Decimal(level[0]))[:10]


def test_the_worked_example():
    asks_a = {**ASKS, "61250.2": "0.30000000", "61250.7": "0.09000000"}
    del asks_a["61250.4"]
    asks_b = {**asks_a, "61265.0": "0.51000000"}
    del asks_b["61250.1"], asks_b["61262.2"]
    bids_b = {**BIDS, "61249.9": "1.10000000"}
    sums = [checksum(cut(*sides)) for sides in ((ASKS, BIDS), (asks_a, BIDS), (asks_b, bids_b))]
    assert sums == [1080254761, 2402834338, 1385556332]


class Client:
    """As the documents say one has to be."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}

    def apply(self, data: dict, *, snapshot: bool) -> bool:
        """Whether the checksum is right."""
        if snapshot:
            self.bids, self.asks = {}, {}
        for side, levels in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for level in levels:
                if level["qty"]:
                    side[level["price"]] = level["qty"]
                else:
                    side.pop(level["price"], None)
        self.asks = dict(sorted(self.asks.items())[: self.depth])
        self.bids = dict(sorted(self.bids.items(), reverse=True)[: self.depth])
        top = [*self.asks.items()][:10] + [*self.bids.items()][:10]
        text = "".join(format(number, "f").replace(".", "").lstrip("0") for level in top for number in level)
        return crc32(text.encode()) == data["checksum"]


@pytest.mark.parametrize("depth", [10, 25, 100, 1000])
def test_a_client_that_cuts_has_the_checksum_of_each_frame_and_in_the_end_the_book(depth: int):
    pairs = [listing("BTC/USD"), listing("DOGE/USD")]
    market = Market(pairs, rate=400, seed=3, start_ns=START_NS)
    live = Kraken(market, START_NS)
    session = live.connect("/v2")
    params = {"channel": "book", "symbol": ["BTC/USD", "DOGE/USD"], "depth": depth}
    session.receive(json.dumps({"method": "subscribe", "params": params}), START_NS)
    for step in range(1, 41):
        live.advance(START_NS + step * SECOND)
    clients = {"BTC/USD": Client(depth), "DOGE/USD": Client(depth)}
    right = []
    for frame in session.outgoing:
        message = json.loads(frame.text, parse_float=Decimal)
        if message.get("channel") == "book":
            (data,) = message["data"]
            right.append(clients[data["symbol"]].apply(data, snapshot=message["type"] == "snapshot"))
    books = [
        [{Decimal(listed.price(price)): Decimal(listed.amount(lots)) for price, lots in side.levels(depth)}
         for side in (listed.pair.book.bids, listed.pair.book.asks)]
        for listed in live._listed.values()
    ]  # fmt: skip
    assert (len(right) > 1000, all(right)) == (True, True)
    assert [[client.bids, client.asks] for client in clients.values()] == books


def test_one_that_does_not_cut_has_not():
    market = Market([listing("BTC/USD")], rate=400, seed=3, start_ns=START_NS)
    live = Kraken(market, START_NS)
    session = live.connect("/v2")
    session.receive('{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"]}}', START_NS)
    for step in range(1, 21):
        live.advance(START_NS + step * SECOND)
    client = Client(10_000)
    frames = [json.loads(frame.text, parse_float=Decimal) for frame in session.outgoing]
    right = [
        client.apply(frame["data"][0], snapshot=frame["type"] == "snapshot")
        for frame in frames
        if frame.get("channel") == "book"
    ]
    assert not all(right)
