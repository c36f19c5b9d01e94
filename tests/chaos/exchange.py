"""A simulated exchange on a port that stays, and the truth that it leaves behind."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
from msgspec import Struct

from deploy.local_redis import free_port, wait_for_port
from ingest.contract.keys import StreamKey, parse_key
from ingest.simulator import ledger as ledgers
from ingest.simulator.ledger import Candle, Record
from tests.chaos.child import Child
from tests.ingest.exchanges.facts import FACTS

_MS = 1_000_000
_HEARD_WITHIN_S = 60


class Depth(Struct, frozen=True):
    """A whole book as of an update id: price → amount."""

    last_id: int
    bids: dict[str, str]
    asks: dict[str, str]


class Truth(Struct, frozen=True):
    """What an exchange says of one stream of one of its lives."""

    emitted: Sequence[Record] = ()
    depth: Depth | None = None
    """Of a book: what it was at some moment, every later change of which is in `emitted`."""
    candles: Sequence[Candle] = ()
    """Of candles: all that closed, heard by anybody or not."""
    unsent: Collection[str] = ()
    """What may be missing without a word where no ids tell, as of tickers: faults hit it."""


def unsent(struck: Iterable[ledgers.Struck]) -> dict[str, set[str]]:
    """By stream, what a fault kept back, or may have made old news."""
    missed: dict[str, set[str]] = defaultdict(set)
    for hit in struck:
        if hit.fault.startswith(("gap", "garble", "silent", "reorder")):
            missed[hit.key].add(hit.s)
    return missed


class Exchange:
    """One life after another, each with a seed and a ledger of its own: other prices, other ids."""

    def __init__(
        self, name: str, symbols: Sequence[str], keys: Sequence[StreamKey], rate: int, seed: int, folder: Path
    ) -> None:
        self.port = free_port()
        self.process: Child
        self._name = name
        self._symbols = symbols
        self._keys = keys
        self._rate = rate
        self._seed = seed
        self._folder = folder
        self._ledgers: list[Path] = []
        self._depths: list[dict[StreamKey, Depth]] = []
        self._candles: list[dict[StreamKey, list[Candle]]] = []

    async def start(self) -> None:
        """Begin a life."""
        life = len(self._ledgers)
        self._ledgers.append(self._folder / f"ledger-{life}.jsonl")
        what = (
            "--symbols",
            ",".join(self._symbols),
            "--rate",
            str(self._rate),
            "--seed",
            str(self._seed + 1000 * life),
            "--series",
            str(life),
        )
        where = ("--port", str(self.port), "--ledger", str(self._ledgers[-1]))
        self.process = Child("exchange", self._folder, "ingest", "simulate", self._name, *what, *where, env={})
        self.process.start()
        await asyncio.to_thread(wait_for_port, self.port, self.process.alive)

    async def heard(self) -> bool:
        """Whether somebody hears all trades and books within a while. From then on its books can be followed."""
        followed = [key for key in self._keys if key.channel in ("trades", "orderbook")]
        deadline = time.monotonic() + _HEARD_WITHIN_S
        while len(self.newest()) < len(followed):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        books = [key for key in self._keys if key.channel == "orderbook"]
        self._depths.append({key: await asyncio.to_thread(_depth, self.port, key) for key in books})
        return True

    async def end(self) -> int | None:
        """End this life, after it has sent all it said. Returns the exit code."""
        candles = [key for key in self._keys if key.interval]
        self._candles.append({key: await asyncio.to_thread(_closed_candles, self.port, key) for key in candles})
        return await self.process.end()

    def newest(self) -> dict[str, range]:
        """Of trades and books, from the newest place in this life up to where the life before began, see `place`."""
        newest = {record.key: place_of(record) for record in _followed(self._ledgers[-1])}
        before = _followed(self._ledgers[-2]) if len(self._ledgers) > 1 else ()
        ends = {record.key: place_of(record) for record in reversed([*before]) if has_order(parse_key(record.key))}
        return {key: range(said, ends.get(key, 1 << 53)) for key, said in newest.items()}

    def truth(self) -> list[dict[str, Truth]]:
        """All of it, by lives, once they have ended."""
        return [self._life(*life) for life in zip(self._ledgers, self._depths, self._candles, strict=True)]

    def _life(
        self, ledger: Path, depths: dict[StreamKey, Depth], candles: dict[StreamKey, list[Candle]]
    ) -> dict[str, Truth]:
        emitted: dict[str, list[Record]] = defaultdict(list)
        for record in ledgers.read(ledger):
            emitted[record.key].append(record)
        missed = unsent(ledgers.struck(ledger))
        return {
            str(key): Truth(emitted[str(key)], depths.get(key), candles.get(key, ()), missed[str(key)])
            for key in self._keys
        }


def has_order(key: StreamKey) -> bool:
    """Whether the ids of a stream follow one another."""
    return key.channel != "trades" or FACTS[key.exchange].numbers_trades


def place(key: StreamKey, s: str, exchange_ns: int | None) -> int:
    """Where a trade or a change stands: its id; or its time in ms, where ids have no order."""
    return int(s) if has_order(key) else (exchange_ns or 0) // _MS


def place_of(record: ledgers.Trade | ledgers.Delta) -> int:
    """Where it is to stand."""
    return place(parse_key(record.key), record.s, record.exchange_ns if isinstance(record, ledgers.Trade) else None)


def _followed(ledger: Path) -> Iterator[ledgers.Trade | ledgers.Delta]:
    for record in ledgers.read(ledger) if ledger.exists() else ():
        if isinstance(record, ledgers.Trade | ledgers.Delta):
            yield record


class _Depth(Struct):
    lastUpdateId: int  # noqa: N815 - the exchange's name
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


def _depth(port: int, key: StreamKey) -> Depth:
    said = msgspec.json.decode(_get(port, "depth", key, "limit=5000"), type=_Depth)
    return Depth(said.lastUpdateId, dict(said.bids), dict(said.asks))


def _closed_candles(port: int, key: StreamKey) -> list[Candle]:
    rows: list[list[Any]] = msgspec.json.decode(_get(port, "klines", key, f"interval={key.interval}&limit=1000"))
    return [_candle(key, *row[:6]) for row in rows[:-1]]


def _candle(key: StreamKey, open_ms: int, *values: str) -> Candle:
    s = f"{open_ms * _MS}.closed"
    prices = dict(zip(("open", "high", "low", "close", "volume"), values, strict=True))
    return Candle(key=str(key), s=s, first=s, open_ns=open_ms * _MS, closed=True, **prices)


def _get(port: int, path: str, key: StreamKey, query: str) -> bytes:
    symbol = key.symbol.replace("/", "")
    with urlopen(f"http://127.0.0.1:{port}/api/v3/{path}?symbol={symbol}&{query}", timeout=10) as answer:
        body: bytes = answer.read()
        return body
