"""The append script and the codec of its arguments and replies: the one way into a stream."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from ingest.contract import keys
from ingest.contract.codec import encode, freeze_entry
from ingest.contract.events import Body, Event
from ingest.contract.keys import StreamKey

SCRIPT = (Path(__file__).parent / "append.lua").read_text(encoding="utf-8")
"""Lua for EVALSHA; load it at each connect."""

_ARGUMENTS_PER_ENTRY = 5
_ANY = sys.maxsize
_NOTHING: Mapping[StreamKey, str] = MappingProxyType({})
_NO_FENCES: Mapping[StreamKey, int] = MappingProxyType({})


class Batch(Struct, frozen=True):
    """Events of one exchange for one call, in order per stream."""

    generation: str
    """Names the state of streams yet unborn."""
    streams: dict[StreamKey, list[str | bytes]]
    """Five arguments an entry: rule, type, s, first, data."""

    @property
    def restarts(self) -> list[StreamKey]:
        """The streams that begin anew in it."""
        return [key for key, entries in self.streams.items() if "restart" in entries[::_ARGUMENTS_PER_ENTRY]]

    @property
    def entries(self) -> int:
        """How many in all."""
        return sum(map(self.count, self.streams))

    def count(self, key: StreamKey) -> int:
        """How many entries of this stream."""
        return len(self.streams[key]) // _ARGUMENTS_PER_ENTRY

    def frozen(self) -> list[bytes]:
        """Its entries, to lie on disk until Redis takes them."""
        return [
            freeze_entry(key, entries[i : i + _ARGUMENTS_PER_ENTRY])
            for key, entries in self.streams.items()
            for i in range(0, len(entries), _ARGUMENTS_PER_ENTRY)
        ]

    def snapshots(self, key: StreamKey) -> Iterator[int]:
        """The ids of this stream's snapshots."""
        entries = self.streams.get(key, [])
        for i in range(0, len(entries), _ARGUMENTS_PER_ENTRY):
            if entries[i] == "snapshot":
                yield int(entries[i + 2])

    def numbered(self, key: StreamKey) -> Iterator[tuple[int, int]]:
        """The first and last id of each of this stream's entries that has a place among consecutive ids."""
        entries = self.streams.get(key, [])
        for i in range(0, len(entries), _ARGUMENTS_PER_ENTRY):
            rule, _, s, first = entries[i : i + 4]
            if rule == "dense":
                yield int(first), int(s)
            elif rule == "gap" or (rule == "candle" and str(s).endswith(".closed")):
                begin, _, end = str(first).partition("-")
                yield int(begin), int(end)

    def arguments(
        self,
        known: Mapping[StreamKey, str] = _NOTHING,
        line: str = "",
        number: int = 0,
        fences: Mapping[StreamKey, int] = _NO_FENCES,
    ) -> tuple[str | bytes | int, ...]:
        """What EVALSHA gets behind the digest.

        `known` are the generations in which the caller knows streams: one that is found in another is not written to.
        `fences` are the numbers with which the caller was given streams for itself: nor is one written to that
        somebody with a higher number has written to.
        Call `number` (1, 2, 3, …) of a `line` fails unless the one before was carried out: without that, calls in
        flight together would overtake one that fails.
        """
        registry = keys.streams(next(iter(self.streams)).exchange)
        flat: list[str | bytes | int] = [len(self.streams) + 1, registry, *map(str, self.streams)]
        flat += (self.generation, line, number)
        for key, entries in self.streams.items():
            flat += (known.get(key, ""), fences.get(key, ""), len(entries) // _ARGUMENTS_PER_ENTRY)
            flat += entries
        return tuple(flat)


class Appended(Struct, frozen=True):
    """What the server did with one stream's entries, and where that stream now stands."""

    key: StreamKey
    refused: bool
    """The entry after the first `handled` ones does not join `last`; it and those behind it were not written.

    If all are handled: some were of a series of marks that has ended. They were dropped, the others were not.
    """
    lost: bool
    """The stream is not the one that the caller knows: the server lost it, or a part of it. Nothing was written."""
    g: str | None
    n: int
    last: str | None
    handled: int
    appended: int
    """Written now; the rest of `handled` was there already."""
    fenced: bool = False
    """Somebody with a higher fence has written here since. Nothing was written."""


def batch(generation: str, events: Iterable[Event], most_bytes: int = _ANY) -> Batch:
    """The events, all of one exchange and at least one. `generation` is for streams yet unborn.

    No more of them are taken once those that were have `most_bytes` of data.
    """
    streams: dict[StreamKey, list[str | bytes]] = {}
    size = 0
    for event in events:
        entries = streams.get(event.key)
        if entries is None:
            entries = streams[event.key] = []
        data = encode(event.body)
        entries += (event.rule, _TYPES[type(event.body)], event.s, event.first, data)
        size += len(data)
        if size >= most_bytes:
            break
    if not streams:
        raise ValueError("a batch needs at least one event")
    return Batch(generation, streams)


def appended(sent: Batch, reply: Sequence[bytes | str]) -> tuple[Appended, ...]:
    """The reply to `sent`, one for each of its streams."""
    return tuple(_appended(key, text) for key, text in zip(sent.streams, reply, strict=True))


def _appended(key: StreamKey, text: bytes | str) -> Appended:
    outcome, g, n, last, handled, written = (text.decode() if isinstance(text, bytes) else text).split(" ")
    return Appended(
        key=key,
        refused=outcome == "gap",
        lost=outcome == "lost",
        fenced=outcome == "fenced",
        g=None if g == "-" else g,
        n=int(n),
        last=None if last == "-" else last,
        handled=int(handled),
        appended=int(written),
    )


def _name(body: type[Body]) -> str:
    return body.__name__.lower()


_TYPES = {body: _name(body) for body in Body.__args__}
