"""Frames by themselves, without a connection or a stream to join: what each means is said at once."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import structs

from ingest.contract.events import Delta, Event, Snapshot, Ticker, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.book import Level
from ingest.exchanges.candles import Interval
from ingest.exchanges.pushed import Whole
from ingest.exchanges.steps import Told


class Reader(Protocol):
    """Reads one exchange's frames."""

    def read(self, frame: bytes, now_ns: int) -> Sequence[Event]:
        """What it means, received then. Raises SkipFrame, also for what is no data."""

    def snapshot(self, body: bytes) -> None:
        """The REST answer with the book of the first symbol whose book is heard. Raises SkipFrame."""

    @property
    def held(self) -> int:
        """Deltas that wait for a snapshot which they join."""


class Readers(Protocol):
    """How an exchange's Reader is made."""

    def __call__(self, symbols: Mapping[str, str], *, raw_books: bool) -> Reader:
        """`symbols` are ours by the exchange's name; others keep that. `raw_books` are not put in sync."""


class EachTrade:
    """As DenseTrades, without a word on what is missing."""

    def __init__(self, key: StreamKey) -> None:
        self._key = key

    def trade(self, trade_id: int, trade: Trade, _now_ns: int) -> Sequence[Event]:
        """As it comes."""
        return (Event(self._key, str(trade_id), trade, "dense", str(trade_id)),)

    def trades(self, first: int, last: int, trade: Trade, _now_ns: int) -> Sequence[Event]:
        """Those of these ids, as one."""
        whole = structs.replace(trade, count=last - first + 1)
        return (Event(self._key, str(last), whole, "dense", str(first)),)


class EachOpaqueTrade:
    """As OpaqueTrades, without a word on what is missing."""

    def __init__(self, key: StreamKey) -> None:
        self._key = key

    def trade(self, told: Told, _now_ns: int) -> Sequence[Event]:
        """As it comes."""
        return (Event(self._key, told.id, told.trade, "opaque", str(told.ms)),)


class EachTicker:
    """As KnownTicker, each as it comes, even if it is older than what came before."""

    def __init__(self, key: StreamKey) -> None:
        self._key = key
        self._known: dict[str, str | None] = {}
        self._heard: set[str] = set()

    def heard(self, source: str) -> bool:
        """Whether this source has said anything."""
        return source in self._heard

    def say(
        self, source: str, mark: int, facts: Mapping[str, str | None], exchange_ns: int | None, now_ns: int
    ) -> Sequence[Event]:
        """A source brings news, to be said with all that is known."""
        self._heard.add(source)
        self._known |= facts
        ticker = Ticker(received_ns=now_ns, exchange_ns=exchange_ns, **self._known)
        return (Event(self._key, f"{source}.{mark}", ticker, "ticker"),)


class EachCandle:
    """As Candles, each state of each interval."""

    def __init__(self, key: StreamKey) -> None:
        self._key = key

    def candle(self, heard: Interval, _now_ns: int) -> Sequence[Event]:
        """As it comes."""
        s = f"{heard.candle.open_ns}.{heard.mark}"
        return (Event(self._key, s, heard.candle, "candle", f"{heard.open_ms}-{heard.end_ms}"),)


class EachChange:
    """As RangedBook, whether the changes join or not."""

    def __init__(self, key: StreamKey) -> None:
        self._key = key

    def delta(self, first: int, last: int, delta: Delta, _now_ns: int) -> Sequence[Event]:
        """As it comes."""
        return (Event(self._key, str(last), delta, "range", str(first)),)

    def snapshot(
        self, last_id: int, bids: Sequence[Level], asks: Sequence[Level], cut: int, now_ns: int
    ) -> Sequence[Event]:
        """As it comes; a side of `cut` levels may go on."""
        depth = cut if max(len(bids), len(asks)) >= cut else None
        whole = Snapshot(bids=tuple(bids), asks=tuple(asks), received_ns=now_ns, depth=depth)
        return (Event(self._key, str(last_id), whole, "snapshot"),)


class EachBook:
    """As PushedBook, whether the changes join or not."""

    def __init__(self, key: StreamKey, depth: int) -> None:
        self._each = EachChange(key)
        self._depth = depth

    def delta(self, first: int, last: int, delta: Delta, now_ns: int) -> Sequence[Event]:
        """As it comes."""
        return self._each.delta(first, last, delta, now_ns)

    def snapshot(self, whole: Whole, now_ns: int, *, anew: bool = False) -> Sequence[Event]:
        """As it comes."""
        return self._each.snapshot(whole.last, whole.bids, whole.asks, self._depth, now_ns)
