"""A Binance that says what it once said: recorded frames and REST answers, byte for byte."""

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct

from ingest.simulator.binance.rest import NO_SUCH_PATH
from ingest.simulator.binance.session import Session, Streams, parse
from ingest.simulator.faults import BadFault, Fault
from ingest.simulator.ledger import Record
from ingest.simulator.server import SimulatedExchange, opened
from ingest.simulator.venue import Answer, Frame

_FRAMES_AT_ONCE = 1000
_SYMBOL_UNKNOWN = b'{"code":-1121,"msg":"Invalid symbol."}'


class _Frame(NamedTuple):
    stream: str
    text: bytes


class _Wrapped(Struct):
    stream: str


class _Recorded(Streams):
    """What each request has asked for goes to its session in recorded order, each time from the beginning."""

    def __init__(self, frames: Iterable[_Frame]) -> None:
        super().__init__()
        self._frames = tuple(frames)
        self._told: dict[Session, deque[bytes]] = {}

    def join(self, session: Session, names: Iterable[str]) -> None:
        wanted = set(names)
        super().join(session, wanted)
        told = self._told.setdefault(session, deque())
        told += (frame.text for frame in self._frames if frame.stream in wanted)

    def leave(self, session: Session, names: Iterable[str]) -> None:
        super().leave(session, names)
        if not session.streams:
            self._told.pop(session, None)

    def tell(self) -> None:
        """As much as a connection takes."""
        for session, told in self._told.items():
            while told and len(session.outgoing) < _FRAMES_AT_ONCE:
                session.outgoing.append(Frame(told.popleft()))


class Replay:
    """The exchange of a FOLDER: `binance.tsv` holds `EPOCH_SECONDS<tab>FRAME` lines, frames in their combined form;
    `rest/` holds `binance_exchangeInfo.json` and a `binance_depth_SYMBOL.json` for each symbol.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError, ValueError if the folder does not hold that."""
        decode = msgspec.json.Decoder(_Wrapped).decode
        lines = (folder / "binance.tsv").read_bytes().splitlines()
        texts = (line.partition(b"\t")[2] for line in lines)
        self._streams = _Recorded(_Frame(decode(text).stream, text) for text in texts)
        self._exchange_info = (folder / "rest" / "binance_exchangeInfo.json").read_bytes()
        depths = (folder / "rest").glob("binance_depth_*.json")
        self._depths = {path.stem.removeprefix("binance_depth_"): path.read_bytes() for path in depths}

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """`/ws…` or `/stream…`"""
        return Answer(404, NO_SUCH_PATH) if parse(target) is None else None

    def connect(self, target: str) -> Session:
        """A connection to there; the frames are said in their recorded form on both."""
        return Session(target, self._streams)

    def advance(self, until_ns: int) -> list[Record]:
        """Say what was asked for, as fast as it is read. Nothing happens, so nothing is recorded."""
        self._streams.tell()
        return []

    def skip(self, by_ns: int) -> None:
        """No crowd, no pause."""

    def get(self, target: str, now_ns: int) -> Answer:
        """The recorded answers; of trades and candles there is no record."""
        url = urlsplit(target)
        match url.path:
            case "/api/v3/exchangeInfo":
                return Answer(200, self._exchange_info)
            case "/api/v3/depth":
                body = self._depths.get(parse_qs(url.query).get("symbol", [""])[0])
                return Answer(400, _SYMBOL_UNKNOWN) if body is None else Answer(200, body)
            case "/api/v3/historicalTrades" | "/api/v3/klines":
                return Answer(200, b"[]")
            case "/api/v3/time":
                return Answer(200, b'{"serverTime":%d}' % (now_ns // 1_000_000))
            case "/api/v3/ping":
                return Answer(200, b"{}")
        return Answer(404, NO_SUCH_PATH)

    def strike(self, fault: Fault) -> None:
        """Raises BadFault."""
        raise BadFault("a recording has no faults but its own")


@contextlib.asynccontextmanager
async def replayed_binance(*, folder: Path, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[SimulatedExchange]:
    """The recorded exchange on `host`, on a free port if `port` is 0. Raises OSError, ValueError."""
    exchange = SimulatedExchange(Replay(folder), None)
    async with opened(exchange, port, host):
        yield exchange
