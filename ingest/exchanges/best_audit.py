"""A book against the exchange's best prices by REST: what nothing in the feed tells, three misses in a row do."""

from typing import Final, NamedTuple
from zlib import crc32

from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.topic import BestWanted

EVERY_NS: Final = 120_000_000_000
AGAIN_NS: Final = 5_000_000_000
"""From a miss to the next look."""
AROUND_NS: Final = 1_000_000_000
"""What the feed tells and what REST answers may be so far apart in time."""
MISSES: Final = 3


class Best(NamedTuple):
    """The best prices; -inf and inf where there is none. Floats will do: nobody is told of them."""

    bid: float
    ask: float


class BestAudit:
    """Of one book, from when it is live until it is not.

    What REST answers must have been our best at some time from a second before it was asked until a second after it
    answered; or have been between two that were, because a feed in batches does not tell of each.
    """

    def __init__(self, key: StreamKey, *, on: bool) -> None:
        """One that is not `on` wants nothing. By its `key` it looks at another time than others do."""
        self._on = on
        self._lot = crc32(str(key).encode()) / (1 << 32)
        self._misses = 0
        self.end()

    def begin(self, now_ns: int) -> None:
        """The book is live."""
        self.end()
        self._misses = 0
        if self._on:
            self._watch_at = now_ns + int(self._lot * EVERY_NS)

    def end(self) -> None:
        """It is not any more."""
        self._watch_at = self._ask_at = self._judge_at = NEVER
        self._lowest: Best | None = None
        self._highest: Best | None = None
        self._theirs: Best | None = None

    @property
    def watching(self) -> bool:
        """Whether each of our best prices is to be told, by `saw`."""
        return self._lowest is not None

    def saw(self, ours: Best) -> None:
        """They have changed, perhaps."""
        if self._lowest and self._highest:
            self._lowest = Best(min(self._lowest.bid, ours.bid), min(self._lowest.ask, ours.ask))
            self._highest = Best(max(self._highest.bid, ours.bid), max(self._highest.ask, ours.ask))

    def due(self) -> int:
        """When `wants` or `doubt` has something to say."""
        return min(self._watch_at, self._ask_at, self._judge_at)

    def wants(self, ours: Best, now_ns: int) -> list[BestWanted]:
        """Begin to watch, and a while later ask."""
        if self._watch_at <= now_ns:
            self._watch_at, self._ask_at = NEVER, now_ns + AROUND_NS
            self._lowest = self._highest = ours
        if self._ask_at > now_ns:
            return []
        self._ask_at = NEVER
        return [BestWanted()]

    def answered(self, theirs: Best, now_ns: int) -> None:
        """What REST says; it is judged once all has come that may belong to it."""
        if self.watching:
            self._theirs, self._judge_at = theirs, now_ns + AROUND_NS

    def failed(self, now_ns: int) -> None:
        """It says nothing of use."""
        if self.watching and self._ask_at == NEVER and self._theirs is None:
            self._look_again(now_ns + EVERY_NS)

    def doubt(self, now_ns: int) -> str | None:
        """Why the book is not to be trusted, if it was found wrong time and again."""
        theirs, lowest, highest = self._theirs, self._lowest, self._highest
        if self._judge_at > now_ns or theirs is None or lowest is None or highest is None:
            return None
        fits = lowest.bid <= theirs.bid <= highest.bid and lowest.ask <= theirs.ask <= highest.ask
        self._misses = 0 if fits else self._misses + 1
        self._look_again(now_ns + (EVERY_NS if fits else AGAIN_NS))
        if self._misses < MISSES:
            return None
        return f"REST has {theirs.bid:g} and {theirs.ask:g} for the best prices, and had others than ours before"

    def _look_again(self, at_ns: int) -> None:
        self.end()
        self._watch_at = at_ns
