"""What a simulated exchange has emitted: one JSON line an event, written before the event is sent."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

Levels = tuple[tuple[str, str], ...]


class _Record(Struct, frozen=True, omit_defaults=True, tag_field="type", tag=str.lower):
    key: str
    """The stream it belongs to, e.g. `md:{binance}:trades:BTC-USDT`."""
    s: str
    """Its identity there."""
    first: str
    """The first id that it covers; `s` itself where an event is one."""


class Trade(_Record, frozen=True):
    """As the bus says it."""

    price: str
    amount: str
    side: str
    exchange_ns: int


class Delta(_Record, frozen=True):
    """The update ids `first` to `s`."""

    bids: Levels
    asks: Levels


class Change(_Record, frozen=True):
    """The levels of a book that changed, however deep, where the exchange gives updates no ids.

    The bus names them after its connections then, so nothing can be compared by `s`, which is only a running number:
    what a reader has made of the entries must be the book, cut at the depth that was subscribed to, after some record,
    and each next one must be what it is after a later record.
    """

    bids: Levels
    asks: Levels


class Whole(_Record, frozen=True):
    """A book as it stood right before the event `s`. It is none itself: whoever follows the changes begins there.

    There is one before the first change of each book; and, where changes have ids, another once those have begun anew.
    """

    bids: Levels
    asks: Levels


class Ticker(_Record, frozen=True):
    """What one source says, which is a part of what the bus says."""

    bid: str | None = None
    bid_amount: str | None = None
    ask: str | None = None
    ask_amount: str | None = None
    last: str | None = None
    last_amount: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    volume: str | None = None
    quote_volume: str | None = None
    answer: bool = False
    """Whether it was told to one alone, who has just subscribed."""


class Candle(_Record, frozen=True):
    """One interval so far, or for good."""

    open_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    closed: bool


Record = Trade | Delta | Ticker | Candle


class Struck(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="struck"):
    """A fault that was played. It is no event; whoever compares events leaves it out."""

    fault: str
    """As it is written, e.g. `gap:trades:BTC/USDT@10s/0s`."""
    at_ns: int
    key: str = ""
    """Which stream's event it hit, if it hit one."""
    s: str = ""


Event = Record | Change
Entry = Event | Struck | Whole

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


class Ledger:
    """The file. An error in writing it must stop the exchange: what is not recorded must not be said."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def write(self, records: Sequence[Entry]) -> None:
        """Append them; when this returns, they outlive the process."""
        if records:
            self._file.write(_encoder.encode_lines(records))
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Record]:
    """All that was emitted under names, in order; a torn last line is left out. Raises OSError, ValueError."""
    return (entry for entry in everything(path) if not isinstance(entry, Change | Struck | Whole))


def changes(path: Path) -> Iterator[Change]:
    """The changes of books without names. Raises OSError, ValueError."""
    return (entry for entry in everything(path) if isinstance(entry, Change))


def struck(path: Path) -> Iterator[Struck]:
    """The faults that were played, and which event each hit. Raises OSError, ValueError."""
    return (entry for entry in everything(path) if isinstance(entry, Struck))


def everything(path: Path) -> Iterator[Entry]:
    """All lines, in order; a torn last one is left out. Raises OSError, ValueError."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _decoder.decode(line)
            except msgspec.DecodeError as bad:
                raise ValueError(f"{path}, line {number}: {bad}") from bad
