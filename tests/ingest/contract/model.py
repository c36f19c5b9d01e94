"""What the append script does, written a second time from its description: streams as plain Python values."""

from msgpack import packb
from msgspec import Struct, field

from ingest.contract.append import Appended
from ingest.contract.codec import encode
from ingest.contract.events import Event, Gap, Snapshot

WINDOW = 2000
ANOTHER_SERIES = 1_000_000
CLOSED = float("inf")
NO_MARK = (0, -1)


def span(text):
    first, last = text.split("-")
    return int(first), int(last)


def named(s):
    """Source, and which of its series and which mark there."""
    name, _, mark = s.rpartition(".")
    source, _, series = name.partition("~")
    return source, (int(series or 0), int(mark))


class Stream(Struct):
    """One stream and what is kept beside it. Snapshots fall due by time only, which does not pass here."""

    g: str
    n: int = 0
    base: int = 0
    """What the generations before this one had."""
    entries: list[tuple[str, ...]] = field(default_factory=list)
    appended: int = 0
    last: int | None = None
    fence: int | None = None
    in_sync: bool = False
    said: str | None = None
    epoch: int = 0
    snapshot_s: int = -1
    snap: dict[str, str | bytes] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    identities: dict[str, int] = field(default_factory=dict)
    newest_ms: int | None = None
    older: int = 0
    sources: dict[str, tuple[int, int]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    """Sources of tickers that came behind the last word of silence."""
    ended: bool = False
    """Whether the call brought tickers of a series that has ended."""
    growing: tuple[int, float] = (-1, -1)
    told: tuple[str, int] = ("", 0)
    fresh_g: str = ""
    """The generation that the call brought."""

    def add(self, event, late=False, more=()):
        self.n += 1
        self.appended += 1
        fields = {"v": "1", "type": type(event.body).__name__.lower(), "n": str(self.n), "g": self.g, "s": event.s}
        data = encode(event.body)
        if more:
            data = bytes([data[0] + len(more)]) + data[1:] + b"".join(more)
        entry = [*fields.items(), ("data", data)]
        if self.epoch:
            entry.append(("epoch", str(self.epoch)))
        if late:
            entry.append(("late", "1"))
        self.entries.append(tuple(entry))
        return True

    def remember(self, s, score):
        self.identities[s] = score
        if len(self.identities) > WINDOW:
            del self.identities[min(self.identities, key=lambda s: (self.identities[s], s))]

    def around(self, first, last):
        return next((gap for gap in self.gaps if span(gap)[0] <= first and last <= span(gap)[1]), None)

    def late(self, event, first, last):
        if gap := self.around(first, last):
            begin, end = span(gap)
            del self.gaps[gap]
            rest = [(begin, first - 1), (last + 1, end)]
            self.gaps.update({f"{a}-{b}": a for a, b in rest if a <= b})
            self.add(event, late=True)
        return True

    def whole(self, event):
        self.add(event)
        said = {"n": str(self.n), "g": self.g, "epoch": str(self.epoch)}
        self.snap = said | {"data": encode(event.body)}
        self.in_sync = True
        self.go_on()

    def go_on(self):
        if self.said != "live":
            self.said = None

    def dense(self, event):
        s, first = int(event.s), int(event.first)
        if self.last is not None and s <= self.last:
            return (self.around(first, s) and self.late(event, first, s)) or self.last - s <= ANOTHER_SERIES
        if self.last is not None and first != self.last + 1:
            return False
        self.last = s
        return self.add(event)

    def range(self, event):
        s, first = int(event.s), int(event.first)
        if self.last is not None and s <= self.last:
            return self.last - s <= ANOTHER_SERIES
        if not self.in_sync or first > self.last + 1:
            return False
        self.last = s
        self.go_on()
        return self.add(event)

    def snapshot(self, event):
        s = int(event.s)
        if self.in_sync or s <= self.snapshot_s:
            return True
        if self.last is not None and s < self.last:
            return True
        if self.last is not None and s > self.last + 1:
            return False
        self.last = self.snapshot_s = s
        self.epoch += 1
        self.whole(event)
        return True

    def gap(self, event):
        first, last = span(event.first)
        if self.last is None or last <= self.last:
            return True
        if first != self.last + 1:
            return False
        self.last = last
        self.in_sync = False
        self.gaps[event.first] = first
        return self.add(event)

    def span(self, event):
        if event.s in self.identities:
            return True
        first, last = span(event.first)
        self.add(event)
        self.gaps[event.first] = first
        self.remember(event.s, self.base + self.n if self.newest_ms is None else last)
        return True

    def session(self, event):
        session, counter = event.s.rsplit(".", 1)
        known, newest = self.told
        if session == known and int(counter) <= newest:
            return True
        if session == known and int(counter) != newest + 1:
            return False
        whole = isinstance(event.body, Snapshot)
        if session != known:
            if session in self.identities:
                return True
            if counter != "1" or not whole:
                return False
            self.epoch += 1
        self.told = session, int(counter)
        if whole:
            self.whole(event)
        else:
            self.add(event)
        if session != known:
            self.remember(session, self.base + self.n)
        return True

    def window(self, event):
        if event.s not in self.identities:
            self.add(event)
            self.remember(event.s, self.base + self.n)
        return True

    def opaque(self, event):
        ms, *before = map(int, event.first.split(" "))
        if event.s in self.identities:
            return True
        if len(self.identities) >= WINDOW and ms < min(self.identities.values()) and not self.around(ms, ms):
            self.older += 1
            return True
        if before and self.newest_ms is not None and before[0] > self.newest_ms:
            self.doubt(event.key, self.newest_ms, max(ms, before[0]))
        self.add(event, late=self.newest_ms is not None and ms < self.newest_ms)
        self.remember(event.s, ms)
        self.newest_ms = max(ms, self.newest_ms or 0)
        return True

    def doubt(self, key, first_ms, last_ms):
        name = f"{first_ms}-{last_ms}"
        if name not in self.identities:
            gap = Gap("unverifiable", from_ns=first_ms * 1_000_000, to_ns=last_ms * 1_000_000 + 999_999)
            self.add(Event(key, name, gap, "span", name))
            self.gaps[name] = first_ms
            self.remember(name, last_ms)

    def ticker(self, event):
        source, mark = named(event.s)
        newest = self.sources.get(source, NO_MARK)
        self.ended = self.ended or mark[0] < newest[0]
        if mark <= newest:
            return True
        self.sources[source] = mark
        self.heard.add(source)
        self.go_on()
        return self.add(event)

    def silence(self, event):
        source, mark = named(event.first)
        if event.s in self.identities or source not in self.heard or self.sources.get(source, NO_MARK) >= mark:
            return True
        self.add(event)
        self.said = "stale"
        self.heard = set()
        self.remember(event.s, self.base + self.n)
        return True

    def candle(self, event):
        opened, mark = event.s.split(".")
        first, last = span(event.first)
        if self.last is not None and first <= self.last:
            return self.late(event, first, last) if mark == "closed" else True
        if self.last is not None and first != self.last + 1:
            return False
        if mark == "closed":
            self.last = last
            return self.add(event)
        if self.growing[0] == int(opened) and int(mark) <= self.growing[1]:
            return True
        self.growing = int(opened), int(mark)
        if self.last is None:
            self.last = first - 1
        return self.add(event)

    def state(self, event):
        word, *marks = event.first.split(" ")
        if event.s in self.identities or self.said == word:
            return True
        if word != "live" and not (all(map(self.stands_at, marks)) if marks else self.n == 0):
            return True
        self.add(event)
        self.said = word
        if word == "stale":
            self.heard = set()
        self.remember(event.s, self.base + self.n)
        return True

    def stands_at(self, mark):
        session, _, count = mark.rpartition(".")
        if not session:
            return self.last is not None and str(self.last) == mark
        if session == self.told[0]:
            return str(self.told[1]) == count
        source, number = named(mark)
        return self.sources.get(source) == number

    def renewal(self, event):
        g, n, *last = event.first.split(" ")
        if (g, int(n)) != self.stands:
            return True
        if not self.entries:
            self.forget()
        self.renew(event)
        if last:
            self.behind(int(last[0]))
            self.gaps = {gap: first for gap, first in self.gaps.items() if first <= self.last}
        return True

    def restart(self, event):
        if event.s in self.identities:
            return True
        last, begin = event.first.split(" ")
        if last != ("-" if self.last is None else str(self.last)):
            return False
        g, n = self.stands
        self.renew(event, packb("after_g") + packb(g), packb("after_n") + b"\xcf" + n.to_bytes(8, "big"))
        self.behind(int(begin))
        self.gaps = {}
        self.remember(event.s, self.base + self.n)
        return True

    @property
    def stands(self):
        return (self.g, self.n) if self.n else ("-", 0)

    def forget(self):
        self.newest_ms, self.said, self.told, self.growing = None, None, ("", 0), (-1, -1)
        self.heard, self.sources, self.identities = set(), {}, {}

    def renew(self, event, *more):
        self.g = self.fresh_g
        self.base += self.n
        self.n = 0
        self.add(event, more=more)

    def behind(self, last):
        self.last = last
        self.snapshot_s = -1
        self.in_sync = False


class Early(Exception):
    """The call before this one was not carried out."""


class Server(Struct):
    """All streams of an exchange."""

    streams: dict = field(default_factory=dict)
    lines: dict = field(default_factory=dict)

    def append(self, g, events, *, known=None, fences=None, line="", number=0):
        """What one call replies."""
        if line and number > 1 and self.lines.get(line) != number - 1:
            raise Early
        called = {}
        for event in events:
            called.setdefault(event.key, []).append(event)
        replies = tuple(self._append(g, key, said, known or {}, fences or {}, line) for key, said in called.items())
        if line:
            self.lines[line] = number
        return replies

    def _append(self, g, key, events, known, fences, line):
        born = key in self.streams
        stream = self.streams.get(key) or Stream(g)
        before, fence = stream.appended, fences.get(key)
        gone = born and not stream.entries and (line != "" or key in known)
        lost = gone or (key in known and (not born or known[key] != stream.g))
        fenced = not lost and None not in (fence, stream.fence) and fence < stream.fence
        handled = 0
        if not lost and not fenced:
            stream.fresh_g = g
            stream.ended = False
            stream.fence = fence if fence is not None else stream.fence
            for event in events:
                if not getattr(stream, event.rule)(event):
                    break
                handled += 1
        if stream.appended > before:
            self.streams[key] = stream
        refused = not lost and not fenced and (handled < len(events) or stream.ended)
        alive = key in self.streams
        last = stream.last if alive else None
        return Appended(
            key,
            refused,
            lost,
            stream.g if alive else None,
            stream.n if alive else 0,
            None if last is None else str(last),
            handled,
            stream.appended - before,
            fenced,
        )
