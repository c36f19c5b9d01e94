"""Frames that Binance really sent: over a WebSocket, through Redis, to a reader, against the files themselves."""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from consumers.reader import Reader
from ingest.contract.events import Candle, Delta, Snapshot, Ticker
from ingest.simulator.replay import replayed_binance
from tests.end_to_end.running import working
from tests.eventually import eventually

FRAMES = os.environ.get("FRAMES")
SYMBOLS = {"NKNUSDT": "NKN/USDT", "BLZETH": "BLZ/ETH", "LRCBTC": "LRC/BTC", "RUNEEUR": "RUNE/EUR"}
MS = 1_000_000

pytestmark = pytest.mark.skipif(not FRAMES, reason="FRAMES names no folder of recorded frames")


def recorded(kind):
    lines = (Path(FRAMES) / "binance.tsv").read_text(encoding="utf-8").splitlines()
    frames = [json.loads(line.split("\t", 1)[1]) for line in lines]
    return [frame["data"] for frame in frames if kind in frame["stream"]]


def recorded_snapshot(native):
    return json.loads((Path(FRAMES) / "rest" / f"binance_depth_{native}.json").read_text(encoding="utf-8"))


def books_of_the_files():
    books = {}
    for native in SYMBOLS:
        snapshot = recorded_snapshot(native)
        bids, asks = dict(snapshot["bids"]), dict(snapshot["asks"])
        for data in recorded("@depth"):
            if data["s"] == native and data["u"] > snapshot["lastUpdateId"]:
                bids.update(data["b"])
                asks.update(data["a"])
        books[SYMBOLS[native]] = tuple({p: a for p, a in side.items() if Decimal(a)} for side in (bids, asks))
    return books


def deltas_of_the_files():
    last = {native: recorded_snapshot(native)["lastUpdateId"] for native in SYMBOLS}
    return [
        (SYMBOLS[d["s"]], str(d["u"]), d["E"] * MS, tuple(map(tuple, d["b"])), tuple(map(tuple, d["a"])))
        for d in recorded("@depth")
        if d["u"] > last[d["s"]]
    ]


def tickers_of_the_files():
    return [(SYMBOLS[d["s"]], f"book.{d['u']}", d["b"], d["B"], d["a"], d["A"]) for d in recorded("@bookTicker")]


def candles_of_the_files():
    return [
        (
            (SYMBOLS[d["s"]], f"{d['k']['t'] * MS}.{d['E'] * MS}", d["k"]["t"] * MS),
            tuple(d["k"][name] for name in "ohlcvqnx"),
        )
        for d in recorded("@kline_1m")
    ]


@pytest.fixture
async def heard(redis):
    """Every delivery of the whole recording, by type."""
    wanted = len(deltas_of_the_files()) + len(SYMBOLS) + len(tickers_of_the_files()) + len(candles_of_the_files())
    kept = []
    async with replayed_binance(folder=Path(FRAMES)) as exchange, working(redis, exchange, list(SYMBOLS.values())):
        channels = ("ticker", "orderbook", "candles-1m")
        async with Reader(redis, group="test", channels=channels) as reader:

            async def written():
                streams = await redis.smembers("md:{binance}:streams")
                entries = [await redis.xlen(stream) for stream in streams if b"status" not in stream]
                return sum(entries) >= wanted + 2 * len(SYMBOLS)  # each book says syncing and live

            await eventually(written)
            async for delivery in reader:
                await delivery.ack()
                if isinstance(delivery.event, Candle | Delta | Snapshot | Ticker):
                    kept.append(delivery)
                if len(kept) == wanted:
                    reader.stop()
    return kept


def of(heard, kind):
    return [delivery for delivery in heard if isinstance(delivery.event, kind)]


@pytest.mark.slow
async def test_every_recorded_frame_arrives_as_the_event_it_means(heard):
    deltas = [(d.key.symbol, d.entry.s, d.event.exchange_ns, d.event.bids, d.event.asks) for d in of(heard, Delta)]
    tickers = [
        (d.key.symbol, d.entry.s, d.event.bid, d.event.bid_amount, d.event.ask, d.event.ask_amount)
        for d in of(heard, Ticker)
    ]
    candles = [
        (
            (d.key.symbol, d.entry.s, d.event.open_ns),
            (
                d.event.open,
                d.event.high,
                d.event.low,
                d.event.close,
                d.event.volume,
                d.event.quote_volume,
                d.event.trades,
                d.event.closed,
            ),
        )
        for d in of(heard, Candle)
    ]
    assert (sorted(deltas), sorted(tickers), sorted(candles)) == (
        sorted(deltas_of_the_files()),
        sorted(tickers_of_the_files()),
        sorted(candles_of_the_files()),
    )


@pytest.mark.slow
async def test_the_book_a_reader_rebuilds_is_the_book_of_the_files_digit_by_digit(heard):
    rebuilt = {}
    for delivery in heard:
        match delivery.event:
            case Snapshot(bids=bids, asks=asks):
                rebuilt[delivery.key.symbol] = (dict(bids), dict(asks))
            case Delta(bids=bids, asks=asks):
                for side, levels in zip(rebuilt[delivery.key.symbol], (bids, asks), strict=True):
                    side.update(levels)
    whole = {s: tuple({p: a for p, a in side.items() if Decimal(a)} for side in book) for s, book in rebuilt.items()}
    assert whole == books_of_the_files()
