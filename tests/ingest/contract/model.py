"""What the append script does, written a second time from its description: streams as plain Python values."""

from msgspec import Struct, field

from ingest.contract.append import Appended
from ingest.contract.codec import encode
from ingest.contract.events import Snapshot


class Stream(Struct):
    """One stream and what is kept beside it. Snapshots fall due by time only, which does not pass here."""

    g: str
    entries: list[tuple[str, ...]] = field(default_factory=list)
    last: int | None = None
    in_sync: bool = False
    epoch: int = 0
    snapshot_s: int = -1
    snap: dict[str, str | bytes] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    identities: set[str] = field(default_factory=set)
    sources: dict[str, int] = field(default_factory=dict)
    candle: tuple[int, float] = (-1, -1)
    told: tuple[str, int] = ("", 0)

    def add(self, event, late=False):
        n = str(len(self.entries) + 1)
        fields = {"v": "1", "type": type(event.body).__name__.lower(), "n": n, "g": self.g, "s": event.s}
        entry = [*fields.items(), ("data", encode(event.body))]
        if self.epoch:
            entry.append(("epoch", str(self.epoch)))
        if late:
            entry.append(("late", "1"))
        self.entries.append(tuple(entry))
        return True

    def dense(self, event):
        s, first = int(event.s), int(event.first)
        if self.last is not None and s <= self.last:
            return self.late(event, first, s)
        if self.last is not None and first != self.last + 1:
            return False
        self.last = s
        return self.add(event)

    def late(self, event, first, s):
        for gap in self.gaps:
            begin, end = map(int, gap.split("-"))
            if begin <= first and s <= end:
                del self.gaps[gap]
                rest = [(begin, first - 1), (s + 1, end)]
                self.gaps.update({f"{a}-{b}": a for a, b in rest if a <= b})
                return self.add(event, late=True)
        return True

    def range(self, event):
        s, first = int(event.s), int(event.first)
        if self.last is not None and s <= self.last:
            return True
        if not self.in_sync or first > self.last + 1:
            return False
        self.last = s
        return self.add(event)

    def snapshot(self, event):
        s = int(event.s)
        if self.in_sync or s <= self.snapshot_s:
            return True
        if self.last is not None and s < self.last:
            return True
        self.last = self.snapshot_s = s
        self.in_sync = True
        self.epoch += 1
        self.add(event)
        said = {"n": str(len(self.entries)), "g": self.g, "epoch": str(self.epoch)}
        self.snap = said | {"data": encode(event.body)}
        return True

    def gap(self, event):
        first, last = map(int, event.first.split("-"))
        if self.last is None or last <= self.last:
            return True
        if first != self.last + 1:
            return False
        self.last = last
        self.in_sync = False
        self.gaps[event.first] = first
        return self.add(event)

    def session(self, event):
        session, counter = event.s.rsplit(".", 1)
        known, newest = self.told
        if session == known and int(counter) <= newest:
            return True
        if session == known and int(counter) != newest + 1:
            return False
        whole = isinstance(event.body, Snapshot)
        if session != known:
            if counter != "1" or not whole:
                return False
            self.epoch += 1
        self.told = session, int(counter)
        self.add(event)
        if whole:
            said = {"n": str(len(self.entries)), "g": self.g, "epoch": str(self.epoch)}
            self.snap = said | {"data": encode(event.body)}
        return True

    def window(self, event):
        if event.s in self.identities:
            return True
        self.identities.add(event.s)
        return self.add(event)

    def ticker(self, event):
        source, mark = event.s.rsplit(".", 1)
        if int(mark) <= self.sources.get(source, -1):
            return True
        self.sources[source] = int(mark)
        return self.add(event)

    def candle_(self, event):
        opened, mark = event.s.split(".")
        candle = int(opened), float("inf") if mark == "closed" else int(mark)
        if candle <= self.candle:
            return True
        self.candle = candle
        return self.add(event)


class Server(Struct):
    """All streams of an exchange."""

    streams: dict = field(default_factory=dict)

    def append(self, g, events):
        """What one call replies."""
        called = {}
        for event in events:
            called.setdefault(event.key, []).append(event)
        return tuple(self._append(g, key, said) for key, said in called.items())

    def _append(self, g, key, events):
        stream = self.streams.get(key) or Stream(g)
        before, handled = len(stream.entries), 0
        for event in events:
            if not getattr(stream, {"candle": "candle_"}.get(event.rule, event.rule))(event):
                break
            handled += 1
        if stream.entries:
            self.streams[key] = stream
        n, last = len(stream.entries), stream.last
        refused = handled < len(events)
        g = stream.g if stream.entries else None
        return Appended(key, refused, False, g, n, None if last is None else str(last), handled, n - before)
