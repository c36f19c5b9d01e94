"""Every frame that Coinbase really sent, through a conversation, against the file itself."""

import json
import os
from collections import Counter
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from ingest.contract.events import Delta, Event, Snapshot, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.coinbase import Coinbase
from ingest.exchanges.coinbase_reader import CoinbaseReader
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.topic import HOLD_NS

FRAMES = os.environ.get("FRAMES")
TAKER = {"buy": "sell", "sell": "buy"}

pytestmark = pytest.mark.skipif(not FRAMES, reason="FRAMES names no folder of recorded frames")


@cache
def recorded():
    """When each frame came, and what it is."""
    lines = (Path(FRAMES) / "coinbase.tsv").read_bytes().splitlines()
    stamped = (line.split(b"\t", 1) for line in lines)
    return [(int(Decimal(at.decode()) * 1_000_000_000), frame) for at, frame in stamped]


def said(kind):
    frames = ((at_ns, json.loads(frame)) for at_ns, frame in recorded())
    return [(at_ns, frame) for at_ns, frame in frames if frame["type"] == kind]


def symbol(frame):
    return frame["product_id"].replace("-", "/")


def exchange_ns(text):
    whole, _, part = text.removesuffix("Z").partition(".")
    return at_second(whole) * 1_000_000_000 + int(part.ljust(9, "0"))


def at_second(text):
    day, _, clock = text.partition("T")
    hours, minutes, seconds = map(int, clock.split(":"))
    assert day == "2021-04-17"
    return 1_618_617_600 + hours * 3600 + minutes * 60 + seconds


@cache
def heard():
    """All that comes of them."""
    exchange = Coinbase()
    instruments = exchange.instruments((Path(FRAMES) / "rest" / "coinbase_products.json").read_bytes())
    symbols = sorted({symbol(frame) for _, frame in said("snapshot")})
    keys = [StreamKey("coinbase", channel, each) for each in symbols for channel in ("trades", "ticker", "orderbook")]
    talk = exchange.converse(keys, instruments, {}, "x")
    now_ns = recorded()[0][0]
    talk.greet(now_ns)
    talk.own([key for key in keys if key.channel == "orderbook"], now_ns)
    heard = [(out, now_ns) for now_ns, frame in recorded() for out in talk.receive(frame, now_ns)]
    return [*heard, *((out, now_ns) for out in talk.tick(recorded()[-1][0] + HOLD_NS))]


def of(kind):
    return [(event, now_ns) for event, now_ns in heard() if isinstance(event, Event) and isinstance(event.body, kind)]


def test_there_is_as_much_of_each_as_was_recorded():
    kinds = Counter(json.loads(frame)["type"] for _, frame in recorded())
    assert kinds == {
        "l2update": 9719,
        "match": 97,
        "ticker": 107,
        "snapshot": 10,
        "last_match": 10,
        "subscriptions": 3,
    }


def test_every_match_is_a_trade_of_the_taker():
    expected = [
        (symbol(m), str(m["trade_id"]), m["price"], m["size"], TAKER[m["side"]], exchange_ns(m["time"]), at_ns)
        for at_ns, m in said("match")
    ]
    assert [
        (e.key.symbol, e.s, e.body.price, e.body.amount, e.body.side, e.body.exchange_ns, e.body.received_ns)
        for e, _ in of(Trade)
    ] == expected


def test_every_ticker_is_one():
    expected = sorted(
        (
            symbol(t),
            f"ticker.{t['sequence']}",
            (t["best_bid"], t["best_ask"], t["price"], t["last_size"], t["open_24h"]),
            (t["high_24h"], t["low_24h"], t["volume_24h"], exchange_ns(t["time"])),
        )
        for _, t in said("ticker")
    )
    told = sorted(
        (
            e.key.symbol,
            e.s,
            (e.body.bid, e.body.ask, e.body.last, e.body.last_amount, e.body.open),
            (e.body.high, e.body.low, e.body.volume, e.body.exchange_ns),
        )
        for e, _ in of(Ticker)
    )
    assert told == expected


def test_every_snapshot_is_the_whole_book_and_every_update_its_changes():
    snapshots = [(symbol(s), tuple(map(tuple, s["bids"])), tuple(map(tuple, s["asks"]))) for _, s in said("snapshot")]
    changes = [
        (
            symbol(u),
            tuple((price, size) for side, price, size in u["changes"] if side == "buy"),
            tuple((price, size) for side, price, size in u["changes"] if side == "sell"),
            exchange_ns(u["time"]),
        )
        for _, u in said("l2update")
    ]
    first = {e.key.symbol: (e.body.bids, e.body.asks) for e, _ in reversed(of(Snapshot))}
    deltas = [(e.key.symbol, e.body.bids, e.body.asks, e.body.exchange_ns) for e, _ in of(Delta)]
    assert (first, deltas) == ({each: (bids, asks) for each, bids, asks in snapshots}, changes)


def test_a_book_that_is_rebuilt_is_the_book_of_the_file_digit_by_digit():
    ours, theirs = {}, {}
    for event, _ in of(Snapshot | Delta):
        if isinstance(event.body, Snapshot):
            ours[event.key.symbol] = ({}, {})
        for side, levels in zip(ours[event.key.symbol], (event.body.bids, event.body.asks), strict=True):
            side.update(levels)
    for _, frame in recorded():
        data = json.loads(frame)
        if data["type"] == "snapshot":
            theirs[symbol(data)] = (dict(data["bids"]), dict(data["asks"]))
        if data["type"] == "l2update":
            for side, price, size in data["changes"]:
                theirs[symbol(data)][side == "sell"][price] = size
    assert rested(ours) == rested(theirs)


def rested(books):
    return {s: tuple({p: a for p, a in side.items() if Decimal(a)} for side in book) for s, book in books.items()}


def test_what_is_read_without_a_connection_is_the_same():
    reader = CoinbaseReader({}, raw_books=True)
    events = []
    for now_ns, frame in recorded():
        try:
            events += reader.read(frame, now_ns)
        except SkipFrame:
            assert b'"subscriptions"' in frame
    assert Counter(type(event.body) for event in events) == {Delta: 9719, Trade: 97, Ticker: 107, Snapshot: 10}
