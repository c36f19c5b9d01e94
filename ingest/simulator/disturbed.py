"""Between a dialect and its connections: carries every frame, but as the faults of the moment will have it."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from ingest.contract.keys import parse_key
from ingest.simulator.faults import NS, OF_BOOKS, OF_CONNECTIONS, OF_FRAMES, OF_REST, Fault, aimed_at
from ingest.simulator.ledger import Entry, Event, Struck
from ingest.simulator.venue import CUT, Answer, Close, Dialect, Frame
from ingest.simulator.wire import Wire

HELD_FRAMES: Final = 50_000
"""What waits for the end of a stall; a connection for which more would wait is cut."""
_KEPT_ANSWERS: Final = 1_000
_SWAPPED_WITHIN_NS: Final = NS
"""A frame that is to come behind the next one does not wait longer for it."""
_NEVER: Final = 1 << 63


class _Playing(Struct, eq=False):
    """A fault, coming or at work."""

    fault: Fault
    keys: frozenset[str]
    begin_ns: int
    end_ns: int
    once: bool
    """It waits for its chance, and is over then."""
    hit: list[tuple[Event, ...]] = []
    """The frames that it has hit since time passed last: of each, all connections' copies."""
    wires: set[Wire] = set()
    """The connections that it has struck."""
    done: bool = False


class Disturbed:
    """A Venue: a dialect under faults. Each fault is in the ledger, with the events that it hit."""

    def __init__(self, dialect: Dialect, start_ns: int) -> None:
        self.keys = dialect.keys
        self._dialect = dialect
        self._now_ns = start_ns
        self._coming: list[_Playing] = []
        self._playing: list[_Playing] = []
        self._wires: dict[Wire, None] = {}
        self._books: dict[str, Answer] = {}
        self._entries: list[Entry] = []

    def strike(self, fault: Fault) -> None:
        """Let this go wrong, counted from now. Raises BadFault if it cannot."""
        begin_ns = self._now_ns + int(fault.at_s * NS)
        end_ns = begin_ns + int(fault.length_s * NS)
        once = end_ns == begin_ns or fault.kind == "rest-slow"
        playing = _Playing(
            fault, aimed_at(fault, self.keys, checksums=self._dialect.has_checksums), begin_ns, end_ns, once
        )
        self._coming = sorted([*self._coming, playing], key=lambda each: each.begin_ns)

    def admit(self, target: str, now_ns: int) -> Answer | None:
        """As its dialect does, but for maintenance."""
        refusal = self._dialect.admit(target, now_ns)
        if refusal is None and (down := self._at_work("maintenance")):
            return self._dialect.rest.in_trouble(503, self._left_s(down))
        return refusal

    def connect(self, target: str) -> Wire:
        """A new connection to there."""
        wire = Wire(self._dialect.connect(target), self)
        self._wires[wire] = None
        return wire

    def advance(self, until_ns: int) -> list[Entry]:
        """All that happens until then; faults begin and end on their nanosecond, however time is cut."""
        while (moment_ns := self._next_ns()) <= until_ns:
            self._pass(max(moment_ns, self._now_ns))
            self._end()
            self._begin()
        self._pass(until_ns)
        entries, self._entries = self._entries, []
        return entries

    def skip(self, by_ns: int) -> None:
        """The crowd pauses."""
        self._dialect.market.skip(by_ns)

    def get(self, target: str, now_ns: int) -> Answer:
        """As its dialect does, unless a fault is about this request."""
        if down := self._at_work("maintenance"):
            return self._dialect.rest.in_trouble(503, self._left_s(down))
        about = self._dialect.rest.asks_for(target)
        for playing in self._playing:
            if playing.fault.kind in OF_REST and self._is_about(playing, about):
                answer = self._wrong(playing, target, now_ns)
                if answer is not None:
                    playing.done = playing.once
                    self._note(playing, about or "")
                    self._end()
                    return answer
        return self._right(target, about, now_ns)

    def carry(self, wire: Wire) -> None:
        """What its session has said, as far as that gets through."""
        said = wire.session.outgoing
        wire.ending = wire.ending or wire.session.ending
        if wire.mute:
            said.clear()
        elif self._at_work("stall"):
            if len(said) > HELD_FRAMES:
                wire.ending = Close(CUT, "stalled for too long")
        elif not (self._playing or wire.swapped):
            wire.outgoing.extend(said)
            said.clear()
        else:
            while said:
                wire.outgoing.extend(self._spoilt(wire, said.popleft()))
            wire.outgoing.extend(wire.overdue(self._now_ns))

    def forget(self, wire: Wire) -> None:
        """It has left."""
        self._wires.pop(wire, None)
        for playing in self._playing:
            playing.wires.discard(wire)

    # Time.

    def _next_ns(self) -> int:
        begins = (each.begin_ns for each in self._coming[:1])
        ends = (each.end_ns for each in self._playing if not each.once)
        return min((*begins, *ends), default=_NEVER)

    def _pass(self, until_ns: int) -> None:
        self._entries += self._dialect.advance(until_ns)
        self._now_ns = until_ns
        for playing in self._playing:
            if playing.fault.kind in OF_CONNECTIONS:
                self._strike_connections(playing)
        for wire in tuple(self._wires):
            self.carry(wire)
        for playing in self._playing:
            playing.done = playing.done or (playing.once and bool(playing.hit))
            playing.hit.clear()
        self._end()

    def _begin(self) -> None:
        while self._coming and self._coming[0].begin_ns <= self._now_ns:
            playing = self._coming.pop(0)
            self._playing.append(playing)
            if playing.fault.kind not in OF_FRAMES | OF_REST:
                self._note(playing, "")
                playing.done = playing.once
            match playing.fault.kind:
                case "refuse":
                    self._refuse()
                case "halt":
                    self._halt()
                case "series":
                    self._dialect.begin_anew()
                    self._books.clear()
                case kind if kind in OF_CONNECTIONS:
                    self._strike_connections(playing)
        self._end()

    def _end(self) -> None:
        for playing in self._playing:
            playing.done = playing.done or (not playing.once and playing.end_ns <= self._now_ns)
        if any(playing.done for playing in self._playing):
            self._playing = [playing for playing in self._playing if not playing.done]
            self._refuse()
            self._halt()

    def _refuse(self) -> None:
        refusing = (playing.keys for playing in self._playing if playing.fault.kind == "refuse")
        self._dialect.refuse(set().union(*refusing))

    def _halt(self) -> None:
        halting = (playing.keys for playing in self._playing if playing.fault.kind == "halt")
        self._dialect.market.halt({parse_key(key).symbol for keys in halting for key in keys})

    # Connections.

    def _strike_connections(self, playing: _Playing) -> None:
        for wire in self._wires.keys() - playing.wires:
            playing.wires.add(wire)
            match playing.fault.kind:
                case "drop":
                    wire.ending = Close(CUT, "")
                case "half-open":
                    wire.mute = True
                case "notice":
                    wire.outgoing.append(Frame(self._dialect.notice()))
                case "maintenance":
                    wire.ending = self._dialect.maintenance

    # Frames.

    def _spoilt(self, wire: Wire, frame: Frame) -> Iterator[Frame]:
        for playing in self._playing:
            if playing.fault.kind in OF_FRAMES and self._chooses(playing, frame):
                spoilt = self._spoil(playing.fault.kind, wire, frame)
                if spoilt is not None:
                    if frame.records not in playing.hit:
                        playing.hit.append(frame.records)
                        for record in frame.records:
                            self._note(playing, record.key, record.s)
                    yield from spoilt
                    return
        yield frame
        if wire.swapped and frame.records:
            yield from wire.swap(frame.records[0].key)

    def _chooses(self, playing: _Playing, frame: Frame) -> bool:
        if playing.once and playing.hit:
            return frame.records in playing.hit
        return any(record.key in playing.keys for record in frame.records)

    def _spoil(self, kind: str, wire: Wire, frame: Frame) -> list[Frame] | None:
        """What comes instead; None if this frame cannot be spoilt so."""
        match kind:
            case "garble":
                return [Frame(frame.text[: len(frame.text) // 2])]
            case "duplicate":
                return [frame, frame]
            case "reorder":
                key = frame.records[0].key
                if key in wire.swapped:
                    return None
                wire.swapped[key] = (frame, self._now_ns + _SWAPPED_WITHIN_NS)
            case "crossed":
                crossed = self._dialect.crossed(frame)
                return None if crossed is None else [Frame(crossed)]
            case "checksum":
                miscounted = self._dialect.miscounted(frame)
                return None if miscounted is None else [Frame(miscounted)]
        return []

    # Requests.

    def _right(self, target: str, about: str | None, now_ns: int) -> Answer:
        answer = self._dialect.rest.get(target, now_ns)
        if about in self._dialect.keys and parse_key(about).channel == "orderbook" and answer.status == 200:
            if len(self._books) >= _KEPT_ANSWERS:
                self._books.clear()
            self._books.setdefault(target, answer)
        return answer

    def _wrong(self, playing: _Playing, target: str, now_ns: int) -> Answer | None:
        kind, seconds = playing.fault.kind, playing.fault.length_s
        match kind:
            case "stale-snapshot":
                return self._books.get(target)
            case "rest-slow":
                answer = self._dialect.rest.get(target, now_ns)
                return Answer(answer.status, answer.body, answer.headers, after_s=seconds)
        return self._dialect.rest.in_trouble(int(kind.removeprefix("rest-")), self._left_s(playing))

    def _is_about(self, playing: _Playing, about: str | None) -> bool:
        anything = not (playing.fault.channel or playing.fault.symbol or playing.fault.kind in OF_BOOKS)
        return anything or about in playing.keys

    # What is played.

    def _at_work(self, kind: str) -> _Playing | None:
        return next((each for each in self._playing if each.fault.kind == kind), None)

    def _left_s(self, playing: _Playing) -> int:
        return max(1, -(-(playing.end_ns - self._now_ns) // NS))

    def _note(self, playing: _Playing, key: str, s: str = "") -> None:
        self._entries.append(Struck(fault=str(playing.fault), at_ns=self._now_ns, key=key, s=s))
