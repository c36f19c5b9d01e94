"""All that is known of a symbol's prices, put together from what several sources say of it."""

from collections.abc import Mapping, Sequence

from ingest.contract.events import Event, Ticker
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Kept, Locate, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS, Wanted

_HELD = 1_000
DOUBT_NS = 2_000_000_000
"""For so long nothing but old marks may come from a source before it counts as one that counts anew."""


class KnownTicker:
    """One symbol's ticker: each update says all that is known, under the mark of the source that brought it.

    A source that counts anew goes on under another name: `book`, then `book~1`, which all writers agree upon because
    it follows the newest name in the stream.
    """

    kept = Kept(
        named="source and its newest mark",
        noticed="the connection is lost",
        mended="told as `stale`; the next one says all",
        far="the newest state",
    )

    def __init__(self, key: StreamKey, session: Session, position: str | None) -> None:
        """`position` are the newest marks in the stream, `SOURCE.MARK` each."""
        self.key = key
        self._session = session
        self._marks = _marks(position)
        self._names = _newest(self._marks)
        self._known: dict[str, str | None] = {}
        self._heard: dict[str, int] = {}
        self._doubts: dict[str, int] = {}
        self._doubted: set[str] = set()
        self._look_at = NEVER
        self._opening = False
        self._from: str | None = None
        self._held: list[Event] = []
        """What came before it was known where the stream stands."""

    @property
    def position(self) -> str | None:
        """The newest mark of each source."""
        return " ".join(f"{name}.{mark}" for name, mark in sorted(self._marks.items())) or None

    def open(self, now_ns: int) -> Sequence[Event]:
        """What is in the stream is as old as it may be: which of it is the newest, the bus is asked."""
        if self._marks:
            self._opening = True
            self._from = self.position
            self._look_at = now_ns
        return ()

    def closed(self, reason: str) -> Sequence[Event]:
        """What is in the stream will not get newer. Nothing to say where nothing is."""
        if not self._marks:
            return ()
        return (self._session.status(self.key, "stale", reason, self.position),)

    def heard(self, source: str) -> bool:
        """Whether this source has said anything."""
        return source in self._heard

    def say(
        self, source: str, mark: int, facts: Mapping[str, str | None], exchange_ns: int | None, now_ns: int
    ) -> Sequence[Event]:
        """A source brings news."""
        self._heard[source] = mark
        self._known |= facts
        name = self._names.setdefault(source, source)
        if mark <= self._marks.get(name, -1):
            self._doubts.setdefault(source, now_ns + DOUBT_NS)
            return ()
        self._marks[name] = mark
        if self._doubts or self._doubted:
            self._doubts.pop(source, None)
            self._doubted.discard(source)
        ticker = Ticker(received_ns=now_ns, exchange_ns=exchange_ns, **self._known)
        event = Event(self.key, f"{name}.{mark}", ticker, "ticker")
        if self._opening and len(self._held) < _HELD:
            self._held.append(event)
            return ()
        return (event,)

    def due(self) -> int:
        """When something is next wanted."""
        return min(self._look_at, *self._doubts.values()) if self._doubts else self._look_at

    def wants(self, now_ns: int) -> list[Wanted]:
        """Where the stream stands, if a source seems to count anew."""
        if self.due() > now_ns:
            return []
        self._look_at = NEVER
        self._doubted |= {source for source, at_ns in self._doubts.items() if at_ns <= now_ns}
        self._doubts = {source: at_ns for source, at_ns in self._doubts.items() if at_ns > now_ns}
        return [Locate(self.key)]

    def located(self, standing: Standing | None, now_ns: int) -> Sequence[Event]:
        """Go on under the newest name of each source, or under the next if that name's mark is above what is heard."""
        if self._opening:
            return self._opened(standing)
        if standing is None:
            self._look_at = now_ns + HOLD_NS
            return ()
        self._marks |= {name: max(mark, self._marks.get(name, -1)) for name, mark in _marks(standing.position).items()}
        before = dict(self._names)
        for source, newest in _newest(self._marks).items():
            name = self._names.get(source, newest)
            if _series(newest) > _series(name):
                self._names[source] = newest
            elif newest == name and source in self._doubted and self._heard[source] < self._marks[name]:
                self._names[source] = f"{source}~{_series(name) + 1}"
        self._doubted.clear()
        # What came in the time of doubt was not said.
        return self.closed("a source counts anew") if self._names != before else ()

    def _opened(self, standing: Standing | None) -> Sequence[Event]:
        """Nobody may have listened until now: that is told, unless somebody has written since the look."""
        self._opening = False
        held, self._held = self._held, []
        position = standing.position if standing else self._from
        if standing:
            for name, mark in _marks(standing.position).items():
                self._marks.setdefault(name, mark)
            self._names = _newest(self._marks)
        if position is None:
            return held
        return (self._session.status(self.key, "stale", "nobody listened", position), *held)

    def failed(self, reason: str, now_ns: int) -> Sequence[Event]:
        """It asks REST for nothing."""
        return ()

    def refused(self, position: str | None, now_ns: int) -> Sequence[Event]:
        """Tickers are never refused."""
        return ()


def _marks(position: str | None) -> dict[str, int]:
    marks = (each.rpartition(".") for each in (position or "").split())
    return {name: int(mark) for name, _, mark in marks}


def _newest(marks: Mapping[str, int]) -> dict[str, str]:
    """The name under which each source goes on."""
    return {_source(name): name for name in sorted(marks, key=_series)}


def _source(name: str) -> str:
    return name.partition("~")[0]


def _series(name: str) -> int:
    """How often the source has begun to count anew."""
    return int(name.partition("~")[2] or 0)
