"""What a reader remembers of exchanges and streams while it reads them."""

import asyncio

from msgspec import Struct, field

from consumers.continuity import Continuity, Fields
from consumers.figures import Figures
from consumers.group import Mark, Tenancy
from ingest.contract.keys import StreamKey


class Exchange(Struct, eq=False):
    """What the reader knows of one exchange."""

    name: str
    figures: Figures = field(default_factory=Figures)
    done: list["Arrival"] = field(default_factory=list)
    """Dealt with, and not yet told to Redis."""
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)
    registered: frozenset[str] = frozenset()
    """What the group is known to need."""


class Stream(Struct, eq=False):
    """What the reader knows of one stream."""

    key: StreamKey
    exchange: Exchange
    redriven: bool = False
    """It holds entries of other streams, which the group is to handle after all."""
    continuity: Continuity = field(default_factory=Continuity)
    entered: bool = False
    entered_ns: int = 0
    """What was received before is history: it says nothing of how quick this reader is."""
    tenancy: Tenancy = Tenancy()
    """Under which it is read."""
    handled: tuple[bytes, int] = (b"", 0)
    """`g` and `n` of the newest entry that the group had handled when this reader came."""
    stopped: bool = False
    rests_until: float = 0.0
    """By the monotonic clock: something in it cannot be handled for now."""
    last_id: bytes = b""
    lost: dict[bytes, int] = field(default_factory=dict)
    """By the id of the entry behind them: how many are missing."""
    held: dict[bytes, "Arrival"] = field(default_factory=dict)
    """By id, in the order in which they came: what is in hand."""


class Doom(Struct, frozen=True):
    """Why an entry is to go among the dead letters."""

    reason: str
    failures: int = 0
    deliveries: int = 1


class Arrival(Struct, eq=False):
    """An entry in hand, from when it comes until Redis is told that it is dealt with, or it is let go."""

    stream: Stream
    id: bytes
    fields: Fields
    again: bool
    """Redis has handed it out before."""
    place: tuple[bytes, int] | None = None
    """Its `g` and `n`, if these can be read."""
    size: int = 0
    kept: bool = False
    """Its handler holds it beyond the next one."""
    done: bool = False
    """Dealt with."""
    told: bool = False
    """So that Redis knows."""
    doom: Doom | None = None
    noted: bool = False
    """It has tries in Redis."""

    @property
    def mark(self) -> Mark:
        """Its id, generation and number; `""` and 0 of one where these cannot be read."""
        g, n = self.place or (b"", 0)
        return Mark(self.id.decode(), g.decode(errors="replace"), n)

    @property
    def tried(self) -> str:
        """As what its tries are noted."""
        return f"{self.stream.key} {self.id.decode()}"
