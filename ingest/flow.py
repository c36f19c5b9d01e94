"""Which streams flow over a connection: those that something was said of, and those that may be quiet."""

from collections.abc import Iterable, Mapping

from ingest.contract.events import Event, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.known_ticker import sources

_QUIET_NS = 3_000_000_000


class Flow:
    """Of one socket."""

    def __init__(self) -> None:
        self.unheard: set[StreamKey] = set()
        """Of which nothing but states was said since the socket opened."""
        self.silent: set[StreamKey] = set()
        """Of which nothing was said since something should have come of all it has."""
        self._sources: dict[StreamKey, set[str]] = {}
        """Of a ticker, those that are in the stream and were not heard so far: one does not tell of the others."""
        self._refused: set[StreamKey] = set()
        self._settled_ns = 0

    def begin(self, streams: Iterable[StreamKey], positions: Mapping[StreamKey, str], now_ns: int) -> None:
        """A socket opens, for these, which stand there."""
        self.unheard.clear()
        self.silent.clear()
        self._refused.clear()
        self.wait_for(streams, positions, now_ns)

    def wait_for(self, streams: Iterable[StreamKey], positions: Mapping[StreamKey, str], now_ns: int) -> None:
        """These come as well."""
        for key in streams:
            self.unheard.add(key)
            self._sources[key] = sources(positions.get(key)) if key.channel == "ticker" else set()
        self._settled_ns = now_ns

    def fell_silent(self, key: StreamKey, positions: Mapping[StreamKey, str], now_ns: int) -> None:
        """Nothing comes of it, or of a part of it, that should: it is subscribed to once more."""
        self.wait_for((key,), positions, now_ns)
        self.silent.add(key)

    def forget(self, streams: Iterable[StreamKey]) -> None:
        """These are carried no longer."""
        for key in streams:
            self.unheard.discard(key)
            self.silent.discard(key)
            self._sources.pop(key, None)
            self._refused.discard(key)

    def heard(self, event: Event) -> None:
        """This was said."""
        if isinstance(event.body, Status):
            return
        waiting = self._sources.get(event.key)
        if waiting:
            waiting -= sources(event.s)
        if not waiting:
            self.unheard.discard(event.key)
            self.silent.discard(event.key)

    def refuse(self, key: StreamKey) -> None:
        """The exchange does not want to say this: there is nothing to wait for."""
        self._refused.add(key)

    def unsettled(self, now_ns: int) -> None:
        """Some subscription does not stand yet."""
        self._settled_ns = now_ns

    def of(self, streams: Iterable[StreamKey], now_ns: int) -> list[StreamKey]:
        """Those that flow. A book is never quiet: it is said even if it does not change, once it is whole."""
        quiet = now_ns - self._settled_ns > _QUIET_NS
        return [
            key
            for key in streams
            if key not in self.unheard or key in self._refused or (quiet and key.channel != "orderbook")
        ]
