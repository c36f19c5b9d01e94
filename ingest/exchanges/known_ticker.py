"""All that is known of a symbol's prices, put together from what several sources say of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ingest.contract.events import Event, Ticker
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Kept, Locate, Standing
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS, Wanted

_HELD = 1_000
NOBODY_LISTENED = "nobody listened"
"""Why something may be missing before the first that a connection hears of a source."""
DOUBT_NS = 2_000_000_000
"""For so long nothing but old marks may come from a source before it counts as one that counts anew."""


class Mark(NamedTuple):
    """A place in what a source says; of two, the greater is the later one."""

    series: int
    """How often the source has begun to count anew."""
    number: int

    def of(self, source: str) -> str:
        """As tickers bear it: `SOURCE.MARK`, then `SOURCE~1.MARK` and so on."""
        return f"{source}~{self.series}.{self.number}" if self.series else f"{source}.{self.number}"


_NONE = Mark(0, -1)


class KnownTicker:
    """One symbol's ticker: each update says all that is known, under the mark of the source that brought it.

    A source that counts anew goes on under another name: `book`, then `book~1`, which all writers agree upon because
    it follows the newest name in the stream.

    From the first mark that is heard of a source on, all of it is said. Whether the stream has come that far by then,
    so that nothing is missing between the two, is decided where it is written: the rule `silence`. What is heard waits
    a moment before, for another writer may be about to say just that.
    """

    kept = Kept(
        named="source and its newest mark",
        noticed="the connection is lost",
        mended="told as `stale`; the next one says all",
        far="the newest state",
    )

    def __init__(self, key: StreamKey, session: Session, position: str | None) -> None:
        """`position` are the newest marks in the stream, `SOURCE.MARK` each; None if it has none."""
        self.key = key
        self._session = session
        self._marks = _marks(position)
        self._series = {source: mark.series for source, mark in self._marks.items()}
        """Under which each source goes on."""
        self._known: dict[str, str | None] = {}
        self._heard: dict[str, int] = {}
        self._joined: set[str] = set()
        self._joining: dict[str, Mark] = {}
        """The first that was heard of a source that has not joined."""
        self._held: list[Event] = []
        self._say_at = NEVER
        self._why = NOBODY_LISTENED
        self._doubts: dict[str, int] = {}
        self._doubted: set[str] = set()
        self._seen: dict[str, Mark] = {}
        """Where the doubted stood in the stream when we last looked."""
        self._look_at = NEVER

    @property
    def position(self) -> str | None:
        """The newest mark of each source."""
        return " ".join(mark.of(source) for source, mark in sorted(self._marks.items())) or None

    def open(self, now_ns: int) -> Sequence[Event]:
        """Whether anything was missed, the first tickers tell."""
        return ()

    def resume(self) -> Sequence[Event]:
        """It was subscribed to once more: in between, nobody listened."""
        said = self._join()
        self._joined.clear()
        self._why = NOBODY_LISTENED
        return said

    def closed(self, reason: str) -> Sequence[Event]:
        """What is in the stream will not get newer. Nothing to say where nothing is."""
        said = self._join()
        if not self._marks:
            return said
        return [*said, self._session.status(self.key, "stale", reason, self.position)]

    def heard(self, source: str) -> bool:
        """Whether this source has said anything."""
        return source in self._heard

    def say(
        self, source: str, mark: int, facts: Mapping[str, str | None], exchange_ns: int | None, now_ns: int
    ) -> Sequence[Event]:
        """A source brings news."""
        self._heard[source] = mark
        self._known |= facts
        now = Mark(self._series.setdefault(source, 0), mark)
        if now <= self._marks.get(source, _NONE):
            self._doubts.setdefault(source, now_ns + DOUBT_NS)
            return ()
        self._marks[source] = now
        if self._doubts or self._doubted:
            self._trust(source)
        event = Event(
            self.key, now.of(source), Ticker(received_ns=now_ns, exchange_ns=exchange_ns, **self._known), "ticker"
        )
        if source not in self._joined and source not in self._joining:
            self._joining[source] = now
            self._say_at = min(self._say_at, now_ns + HOLD_NS)
        if not self._joining:
            return (event,)
        self._held.append(event)
        return self._join() if len(self._held) >= _HELD else ()

    def due(self) -> int:
        """When something is next wanted."""
        return min(self._say_at, self._look_at, *self._doubts.values())

    def wants(self, now_ns: int) -> list[Wanted]:
        """To say what had to wait; or where the stream stands, if a source seems to count anew."""
        wanted: list[Wanted] = [*self._join()] if self._say_at <= now_ns else []
        doubted = {source for source, at_ns in self._doubts.items() if at_ns <= now_ns}
        if doubted or self._look_at <= now_ns:
            self._look_at = NEVER
            self._doubted |= doubted
            self._doubts = {source: at_ns for source, at_ns in self._doubts.items() if source not in doubted}
            wanted.append(Locate(self.key))
        return wanted

    def located(self, standing: Standing | None, now_ns: int) -> Sequence[Event]:
        """Go on in the newest series of each source, or in the next if that one's mark is above what is heard.

        But not while that one grows: then it is we who are behind.
        """
        if standing is None:
            self._look_at = now_ns + HOLD_NS
            return ()
        for source, mark in _marks(standing.position).items():
            self._marks[source] = max(mark, self._marks.get(source, _NONE))
        series = {source: self._now_in(source) for source in self._marks}
        if any(series[source] != self._series.get(source) for source in series.keys() & self._heard.keys()):
            self._begin_anew("a source counts anew")
        self._series |= series
        if self._doubted:
            self._look_at = now_ns + HOLD_NS
        return ()

    def failed(self, reason: str, now_ns: int) -> Sequence[Event]:
        """It asks REST for nothing."""
        return ()

    def refused(self, position: str | None, now_ns: int) -> Sequence[Event]:
        """A source has begun to count anew, and we have gone on in the series that ended: in which it is, the bus says.

        Whatever waited to be written was given up.
        """
        self._begin_anew("a source counts anew")
        self._look_at = now_ns
        return ()

    def _now_in(self, source: str) -> int:
        """The series in which a source goes on, now that it is known where the stream stands."""
        newest, series = self._marks[source], self._series.get(source, 0)
        if source not in self._doubted or newest.series > series or self._heard[source] >= newest.number:
            self._trust(source)
            return max(newest.series, series)
        if newest != self._seen.get(source):
            self._seen[source] = newest
            return series
        self._trust(source)
        return series + 1

    def _trust(self, source: str) -> None:
        self._doubts.pop(source, None)
        self._doubted.discard(source)
        self._seen.pop(source, None)

    def _join(self) -> Sequence[Event]:
        """What had to wait, behind the word that something may be missing before it."""
        said = [self._session.silence(self.key, self._why, mark.of(source)) for source, mark in self._joining.items()]
        said += self._held
        self._joined.update(self._joining)
        self._joining.clear()
        self._held = []
        self._say_at = NEVER
        return said

    def _begin_anew(self, why: str) -> None:
        """What follows does not join what was said; and what waits has names that are not right any more."""
        self._why = why
        self._joined.clear()
        self._joining.clear()
        self._held.clear()
        self._say_at = NEVER


def sources(position: str | None) -> set[str]:
    """Which sources these marks are of."""
    return set(_marks(position))


def _marks(position: str | None) -> dict[str, Mark]:
    """The newest of each source."""
    marks: dict[str, Mark] = {}
    for each in (position or "").split():
        name, _, number = each.rpartition(".")
        source, _, series = name.partition("~")
        marks[source] = max(Mark(int(series or 0), int(number)), marks.get(source, _NONE))
    return marks
