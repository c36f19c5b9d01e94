"""What a reader remembers of exchanges and streams while it reads them."""

from typing import NamedTuple

from msgspec import Struct, field

from consumers.delivery import Continuity, Fields, Figures
from consumers.group import Mark
from ingest.contract.codec import Entry
from ingest.contract.keys import StreamKey


class Exchange(Struct, eq=False):
    """What the reader knows of one exchange."""

    name: str
    figures: Figures = field(default_factory=Figures)
    acked: list[tuple[StreamKey, Entry]] = field(default_factory=list)
    """Handled, and not yet told to Redis."""
    registered: frozenset[str] = frozenset()
    """What the group is known to need."""


class Stream(Struct, eq=False):
    """What the reader knows of one stream."""

    key: StreamKey
    exchange: Exchange
    continuity: Continuity = field(default_factory=Continuity)
    entered: bool = False
    entered_ns: int = 0
    """What was received before is history: it says nothing of how quick this reader is."""
    stopped: bool = False
    last_id: bytes = b""
    settled: Mark | None = None
    """The newest entry that this reader has acknowledged to Redis."""
    lost: dict[bytes, int] = field(default_factory=dict)
    """By the id of the entry behind them: how many are missing."""


class Arrival(NamedTuple):
    """An entry as it came, and whether Redis had handed it out before."""

    stream: Stream
    id: bytes
    fields: Fields
    again: bool
