"""One stream's part of a conversation: what it may want of the shell, and patience with holes."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from ingest.contract.events import Event
from ingest.exchanges.exchange import NEVER, Kept, Locate, Standing

HOLD_NS = 250_000_000
"""How long a stream has to stand still before a hole in it is ours to fill: another writer may be about to."""


class BookWanted(Struct, frozen=True):
    """A snapshot, by REST."""

    just_its_id: bool = False
    """Whether what is in it does not matter."""


class BestWanted(Struct, frozen=True):
    """The best prices of a book, by REST."""


class TradesWanted(Struct, frozen=True):
    """A page of trades from this id on, by REST; without one, of the newest."""

    first: int | None


class OlderTradesWanted(Struct, frozen=True):
    """A page of the trades right before this id, by REST."""

    before: int


class CandlesWanted(Struct, frozen=True):
    """A page of candles that open at this time or later, by REST."""

    from_ms: int


class CandlePartWanted(Struct, frozen=True):
    """What was traded in [begin_ms, end_ms), the first part of an interval, by REST."""

    begin_ms: int
    end_ms: int


class SubscriptionWanted(Struct, frozen=True):
    """Once more: nothing comes, although there is something."""


Question = (
    BookWanted | BestWanted | TradesWanted | OlderTradesWanted | CandlesWanted | CandlePartWanted | SubscriptionWanted
)
"""What the exchange is to be asked for, one way or another."""
Wanted = Question | Locate | Event
"""An event is to be said as it is: it had to wait for its time."""


class Topic(Protocol):
    """What a conversation asks of each of its streams. Answers to what it wants come by methods of its own."""

    kept: Kept

    @property
    def position(self) -> str | None:
        """Where the next connection goes on, see `Standing.position`."""

    def open(self, now_ns: int) -> Sequence[Event]:
        """The subscription stands."""

    def due(self) -> int:
        """When something is next wanted."""

    def wants(self, now_ns: int) -> Sequence[Wanted]:
        """What is wanted now; it is then under way."""

    def located(self, standing: Standing | None, now_ns: int) -> Sequence[Event]:
        """Where the stream stands; None if that could not be had."""

    def refused(self, position: str | None, now_ns: int) -> Sequence[Event]:
        """The stream stands there, and does not take what was said behind that."""

    def failed(self, reason: str, now_ns: int) -> Sequence[Event]:
        """What was wanted of REST could not be had."""

    def closed(self, reason: str) -> Sequence[Event]:
        """Nothing is heard from now on."""


class Hold:
    """A hole that somebody else may fill: given up once the stream was found at one place twice in a row."""

    def __init__(self) -> None:
        self.on = False
        self._at = NEVER
        self._seen: Standing | None = None

    def begin(self, now_ns: int) -> None:
        """There is a hole; no news if there was one already."""
        if not self.on:
            self.on = True
            self._at = now_ns
            self._seen = None

    def end(self) -> None:
        """It is filled, or somebody is filling it."""
        self.on = False
        self._at = NEVER

    def due(self) -> int:
        """When to look where the stream stands."""
        return self._at

    def looking(self) -> None:
        """A look is under way."""
        self._at = NEVER

    def still(self, standing: Standing | None, now_ns: int) -> bool:
        """Whether it stands where it stood at the look before; if not, or unknown, the next look is due in a while."""
        before, self._seen = self._seen, standing
        if before and standing and before.position == standing.position:
            return True
        self._at = now_ns + HOLD_NS
        return False
