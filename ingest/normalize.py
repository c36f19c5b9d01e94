"""Recorded frames to normalized events, a line each: what a worker would make of them, for all to see."""

import re
import time
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import msgspec

from ingest.contract.events import Event, Status
from ingest.exchanges.exchange import SkipFrame
from ingest.exchanges.reading import Reader

_STAMPED = re.compile(rb"([0-9]{1,12})(?:\.([0-9]{1,9})[0-9]*)?\t")
_LONGEST_COMPLAINT = 200

encode = msgspec.json.Encoder().encode


class Said(NamedTuple):
    """A line of output, and whether it is a complaint."""

    text: str
    wrong: bool = False


def normalize(reader: Reader, lines: Iterable[bytes], symbols: Collection[str]) -> Iterator[Said]:
    """Each frame's events; `symbols` are those to show, all if there are none. Then how many deltas are held."""
    ours = [symbol.replace("-", "/") for symbol in symbols]
    shown = {spelling for symbol in ours for spelling in (symbol, symbol.replace("/", ""))}
    number = 0
    for number, line in enumerate(lines, 1):
        frame, now_ns = _stamped(line.rstrip(b"\r\n"))
        if not frame.strip():
            continue
        try:
            events = reader.read(frame, now_ns)
        except SkipFrame as skipped:
            begin = frame[:_LONGEST_COMPLAINT].decode(errors="replace")
            yield Said(f"line {number}: {skipped.reason}: {begin}", wrong=True)
            continue
        for event in events:
            if not shown or event.key.symbol in shown:
                yield _told(event, number)
    if reader.held:
        yield Said(f"{reader.held} deltas are held: no snapshot that they join", wrong=True)


def _told(event: Event, line: int) -> Said:
    """What we say of a stream ourselves is no part of what the exchange said."""
    if isinstance(event.body, Status):
        return Said(f"line {line}: {event.key} is {event.body.state}: {event.body.reason}", wrong=True)
    about = {
        "type": type(event.body).__name__.lower(),
        "symbol": event.key.symbol,
        "channel": event.key.channel,
        "s": event.s,
    }
    return Said(encode(about | msgspec.to_builtins(event.body)).decode())


def _stamped(line: bytes) -> tuple[bytes, int]:
    """A frame, and when it was received: now, unless that stands before it."""
    stamp = _STAMPED.match(line)
    if stamp is None:
        return line, time.time_ns()
    seconds, fraction = stamp.groups()
    return line[stamp.end() :], int(seconds) * 1_000_000_000 + int((fraction or b"0").ljust(9, b"0"))
