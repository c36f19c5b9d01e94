"""The append script and the codec of its arguments and replies: the one way into a stream."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from ingest.contract import keys
from ingest.contract.codec import encode
from ingest.contract.events import Body, Event
from ingest.contract.keys import StreamKey

SCRIPT = (Path(__file__).parent / "append.lua").read_text(encoding="utf-8")
"""Lua for EVALSHA; load it at each connect."""

_ARGUMENTS_PER_ENTRY = 5


class Batch(Struct, frozen=True):
    """Events of one exchange in the form of one call, in order per stream."""

    counts: dict[StreamKey, int]
    """How many entries of each stream."""
    arguments: tuple[str | bytes | int, ...]
    """Of a call that stands alone."""

    @property
    def entries(self) -> int:
        """How many in all."""
        return sum(self.counts.values())

    def in_line(self, line: str, number: int) -> tuple[str | bytes | int, ...]:
        """The arguments of call `number` (1, 2, 3, …) of a line, which fails unless the one before was carried out.

        For calls in flight together: otherwise they would overtake one that fails.
        """
        place = len(self.counts) + 3
        return *self.arguments[:place], line, number, *self.arguments[place + 2 :]


class Appended(Struct, frozen=True):
    """What the server did with one stream's entries, and where that stream now stands."""

    key: StreamKey
    refused: bool
    """The entry after the first `handled` ones does not join `last`; it and those behind it were not written."""
    g: str
    n: int
    last: str | None
    handled: int
    appended: int
    """Written now; the rest of `handled` was there already."""


def batch(generation: str, events: Iterable[Event]) -> Batch:
    """The events, all of one exchange, as one call. `generation` names the state of streams yet unborn."""
    streams: dict[StreamKey, list[str | bytes]] = {}
    for event in events:
        arguments = streams.get(event.key)
        if arguments is None:
            arguments = streams[event.key] = []
        arguments += (event.rule, _TYPES[type(event.body)], event.s, event.first, encode(event.body))
    if not streams:
        raise ValueError("a batch needs at least one event")
    registry = keys.streams(next(iter(streams)).exchange)
    flat: list[str | bytes | int] = [len(streams) + 1, registry, *map(str, streams), generation, "", 0]
    counts = {key: len(arguments) // _ARGUMENTS_PER_ENTRY for key, arguments in streams.items()}
    for key, arguments in streams.items():
        flat.append(counts[key])
        flat += arguments
    return Batch(counts=counts, arguments=tuple(flat))


def appended(sent: Batch, reply: Sequence[bytes | str]) -> tuple[Appended, ...]:
    """The reply to `sent`, one for each of its streams."""
    return tuple(_appended(key, text) for key, text in zip(sent.counts, reply, strict=True))


def _appended(key: StreamKey, text: bytes | str) -> Appended:
    outcome, g, n, last, handled, written = (text.decode() if isinstance(text, bytes) else text).split(" ")
    return Appended(
        key=key,
        refused=outcome == "gap",
        g=g,
        n=int(n),
        last=None if last == "-" else last,
        handled=int(handled),
        appended=int(written),
    )


def _name(body: type[Body]) -> str:
    return body.__name__.lower()


_TYPES = {body: _name(body) for body in Body.__args__}
