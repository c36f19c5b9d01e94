"""An exchange's names of streams, and who understands the frames that come under each."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.talk import UNREADABLE

Hearer = Callable[[bytes, int], Sequence[Event]]
"""A frame, and when it came. Raises what UNREADABLE names, before it has changed anything."""


class Routes:
    """Those of one connection. A stream may have several names, of which the first opens it."""

    def __init__(self) -> None:
        self.keys: dict[str, StreamKey] = {}
        """Which stream a name belongs to, also of those that were let go."""
        self._hearers: dict[bytes, Hearer] = {}
        self._first: set[str] = set()

    def open(self, key: StreamKey, hearers: Mapping[str, Hearer]) -> None:
        """From now on its frames are understood."""
        self.keys.update(dict.fromkeys(hearers, key))
        self._hearers.update((name.encode(), hearer) for name, hearer in hearers.items())
        self._first.update(list(hearers)[:1])

    def let_go(self, names: Iterable[str]) -> None:
        """Frames that are still on the way are not unknown, but unheard."""
        self._hearers.update((name.encode(), _unheard) for name in names)

    def opened_by(self, names: Iterable[str]) -> list[StreamKey]:
        """The streams that stand now that these names do."""
        return [self.keys[name] for name in names if name in self._first]

    def __contains__(self, name: bytes) -> bool:
        return name in self._hearers

    def hear(self, name: bytes, frame: bytes, now_ns: int) -> Sequence[Event]:
        """What the frame means. Raises SkipFrame."""
        try:
            return self._hearers.get(name, _unknown)(frame, now_ns)
        except UNREADABLE as bad:
            raise SkipFrame(str(bad), stream=name.decode(errors="replace"), frame=frame) from bad


def _unheard(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    return ()


def _unknown(_frame: bytes, _now_ns: int) -> Sequence[Event]:
    raise ValueError("a stream that nobody subscribed to")
