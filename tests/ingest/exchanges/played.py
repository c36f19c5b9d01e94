"""What a conversation was told while all went well, to be told again to another one, up to any point."""

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ingest.contract.keys import StreamKey
from ingest.exchanges import EXCHANGES
from ingest.exchanges.exchange import Conversation, Exchange, Instrument, SkipFrame
from tests.ingest.exchanges.joined import START_NS, Joined

FRAMES = os.environ.get("FRAMES")
_TOLD = ("greet", "receive", "fetched", "located", "refused", "own", "tick")
_SECONDS = 3
_WORD = re.compile(rb'"[a-zA-Z@_]*"')
_KEPT = 4
_ODD = ("refuse@0s/1s", "notice@1s", "drop@2s")
"""What makes an exchange say what it seldom says."""
NOW_NS = START_NS + _SECONDS * 1_000_000_000
"""When it is over."""


class Told(NamedTuple):
    """One call of a conversation's method."""

    method: str
    arguments: tuple[Any, ...]

    def to(self, talk: Conversation) -> Sequence[object]:
        return getattr(talk, self.method)(*self.arguments)


class Play(NamedTuple):
    """A conversation's whole course, and what it takes to begin another one."""

    exchange: Exchange
    keys: tuple[StreamKey, ...]
    instruments: dict[str, Instrument]
    listing: bytes
    """The list of instruments, as REST answered it."""
    course: tuple[Told, ...]
    frames: tuple[bytes, ...]
    """A few of each shape, of all that came, and of what was recorded of the real exchange, if that is at hand."""
    answers: tuple[tuple[str, bytes], ...]
    """All that REST answered, by tag."""

    def begin(self) -> Conversation:
        return self.exchange.converse(self.keys, self.instruments, {}, "played")


@cache
def play(name: str) -> Play:
    """Of one exchange, the first seconds of its simulated counterpart."""
    exchange = EXCHANGES[name]()
    tapped, odd = _Tapped(exchange), _Tapped(exchange)
    met = _met(tapped, "gap:trades@1s")
    _met(odd, *_ODD)
    frames = [told.arguments[0] for told in (*tapped.course, *odd.course) if told.method == "receive"]
    answers = [told.arguments[:2] for told in tapped.course if told.method == "fetched"]
    recorded = _recorded(exchange)
    keys = [*met.keys, *(StreamKey(name, key.channel, symbol) for symbol in recorded.instruments for key in met.keys)]
    return Play(
        exchange,
        tuple(dict.fromkeys(keys)),
        {**met.instruments, **recorded.instruments},
        tapped.listing,
        tuple(tapped.course),
        _of_each_shape((*frames, *recorded.frames)),
        tuple((tag, body) for tag, body in answers if isinstance(body, bytes)),
    )


def _of_each_shape(frames: Sequence[bytes]) -> tuple[bytes, ...]:
    """A shape is the names in a frame, and what it is about."""
    shapes: dict[object, list[bytes]] = {}
    for frame in frames:
        shapes.setdefault(tuple(sorted(set(_WORD.findall(frame)))), []).append(frame)
    return tuple(frame for alike in shapes.values() for frame in alike[:: -(-len(alike) // _KEPT)])


def _met(exchange: "_Tapped", *faults: str) -> Joined:
    candles = min(channel for channel in exchange.channels if channel in ("candles-1s", "candles-1m"))
    met = Joined(exchange, ("BTC/USDT", "ETH/USDT"), ("trades", "ticker", "orderbook", candles), faults)
    return met.run(_SECONDS)


class _Tapped:
    """An exchange of which it is written down what its conversations are told."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.course: list[Told] = []
        self.listing = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def instruments(self, body: bytes) -> Any:
        self.listing = body
        return self._exchange.instruments(body)

    def converse(self, *about: Any) -> Any:
        return _TappedTalk(self._exchange.converse(*about), self.course)


class _TappedTalk:
    def __init__(self, talk: Conversation, course: list[Told]) -> None:
        self._talk = talk
        self._course = course

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._talk, name)
        if name not in _TOLD:
            return method

        def tell(*arguments: Any) -> Any:
            self._course.append(Told(name, arguments))
            return method(*arguments)

        return tell


class _Recorded(NamedTuple):
    frames: tuple[bytes, ...]
    instruments: dict[str, Instrument]


def _recorded(exchange: Exchange) -> _Recorded:
    """What the real one sent, and what it trades of that."""
    file = Path(FRAMES or "/nowhere") / f"{exchange.name}.tsv"
    if not file.exists():
        return _Recorded((), {})
    text = file.read_bytes()
    listed: dict[str, Instrument] = {}
    for answer in sorted((file.parent / "rest").glob(f"{exchange.name}_*")):
        try:
            listed |= exchange.instruments(answer.read_bytes())
        except SkipFrame:
            continue
    spoken = {symbol: each for symbol, each in listed.items() if f'"{each.native}"'.encode() in text}
    lines = [line.partition(b"\t")[2] for line in text.splitlines()]
    return _Recorded(tuple(line for line in lines if len(line) < 10_000), spoken)
