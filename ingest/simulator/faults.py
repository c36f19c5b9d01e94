"""Faults as data: what goes wrong, with which stream, when and for how long; written `gap:trades:BTC/USDT@10s/5s`."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from ingest.contract.keys import BadName, parse_key, parse_symbol

NS: Final = 1_000_000_000
LONGEST_S: Final = 86_400.0
SLOWEST_S: Final = 60.0
"""How long an answer may be on its way."""


class Kind(NamedTuple):
    """What is meant by one, and how long it lasts unless that is said; 0 is the one next chance."""

    what: str
    for_s: float = 0.0


KINDS: Final[Mapping[str, Kind]] = {
    "gap": Kind("an event is emitted and not sent"),
    "garble": Kind("a frame is cut off in the middle"),
    "duplicate": Kind("a frame is sent twice"),
    "reorder": Kind("a frame is sent behind the one that follows it"),
    "crossed": Kind("a book's frame has a bid above the best ask"),
    "checksum": Kind("a book's frame has a wrong checksum, where the dialect has any"),
    "silent": Kind("subscriptions are acknowledged, and nothing is told of the topic", 30),
    "refuse": Kind("subscriptions are refused", 30),
    "halt": Kind("the list of instruments says that a symbol is halted", 30),
    "drop": Kind("connections are cut"),
    "stall": Kind("nothing is sent, and then all of it", 5),
    "half-open": Kind("connections that there are stay open and are dead"),
    "notice": Kind("this server is said to go down soon"),
    "maintenance": Kind("connections are closed, and new ones and requests refused", 10),
    "rest-429": Kind("a request is one too many, and says when to come again"),
    "rest-418": Kind("a request finds itself banned"),
    "rest-500": Kind("a request fails"),
    "rest-slow": Kind("a request's answer takes so long", 5),
    "stale-snapshot": Kind("a request for a book gets an old one"),
    "series": Kind("all ids begin anew, from lower ones"),
}
OF_FRAMES: Final = {"gap", "garble", "duplicate", "reorder", "crossed", "checksum", "silent"}
OF_REST: Final = {"rest-429", "rest-418", "rest-500", "rest-slow", "stale-snapshot"}
OF_CONNECTIONS: Final = {"drop", "stall", "half-open", "notice", "maintenance"}
OF_BOOKS: Final = {"crossed", "checksum", "stale-snapshot"}

_FORM = re.compile(
    r"(?P<kind>[a-z0-9-]+)(:(?P<channel>[a-z0-9*-]*))?(:(?P<symbol>[^:@]+))?"
    r"(@(?P<at>\d+(\.\d+)?)s?(/(?P<length>\d+(\.\d+)?)s?)?)?\Z",
    re.IGNORECASE,
)
HELP = (
    "KIND[:CHANNEL[:SYMBOL]][@SECONDS[s][/SECONDS[s]]]: what, of which stream (all, if not said), how long from the "
    "start, and for how long; e.g. gap:trades:BTC/USDT@10s or rest-429@5s/30s. Kinds: "
    + "; ".join(f"{name}, {kind.what}" for name, kind in KINDS.items())
)


class BadFault(ValueError):
    """No such fault here; says what there is."""


class Fault(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One. Without a channel or a symbol it is one of all."""

    kind: str
    channel: str = ""
    symbol: str = ""
    """`BASE/QUOTE`"""
    at_s: float = 0.0
    """Seconds from the start, or from when it was asked for."""
    for_s: float | None = None
    """None is what is usual for its kind; 0 is once."""

    def __post_init__(self) -> None:
        """Raises BadFault, a ValueError."""
        if self.kind not in KINDS:
            raise BadFault(f"no such fault: {self.kind!r}; there are {', '.join(KINDS)}")
        for seconds in (self.at_s, self.length_s):
            if not (math.isfinite(seconds) and 0 <= seconds <= LONGEST_S):
                raise BadFault(f"{self.kind}: {seconds:g} s is not within a day")
        if self.kind == "rest-slow" and self.length_s > SLOWEST_S:
            raise BadFault(f"rest-slow: no answer takes longer than {SLOWEST_S:g} s")

    @property
    def length_s(self) -> float:
        """How long it lasts, or 0 for once."""
        return KINDS[self.kind].for_s if self.for_s is None else self.for_s

    def __str__(self) -> str:
        about = f":{self.channel}:{self.symbol}".rstrip(":")
        return f"{self.kind}{about}@{self.at_s:g}s/{self.length_s:g}s"


def parse(text: str) -> Fault:
    """The fault of `gap:trades:BTC/USDT@10s/5s`. Raises BadFault."""
    form = _FORM.match(text.strip())
    if form is None:
        raise BadFault(f"{text!r} is no fault: one is written KIND[:CHANNEL[:SYMBOL]][@10s[/5s]]")
    channel, symbol = ("" if form[name] in (None, "*") else form[name] for name in ("channel", "symbol"))
    try:
        symbol = parse_symbol(symbol) if symbol else ""
    except BadName as bad:
        raise BadFault(f"{text!r}: {bad}") from bad
    length = form["length"]
    return Fault(form["kind"], channel, symbol, float(form["at"] or 0), None if length is None else float(length))


def aimed_at(fault: Fault, keys: Iterable[str], *, checksums: bool) -> frozenset[str]:
    """Those of an exchange's streams that it is about. Raises BadFault if there are none."""
    kind, narrow = fault.kind, bool(fault.channel or fault.symbol)
    if kind in OF_CONNECTIONS and narrow:
        raise BadFault(f"{kind} is of whole connections, not of a channel or a symbol")
    if kind == "series" and narrow:
        raise BadFault("series is of all ids, not of a channel or a symbol")
    if kind == "halt" and fault.channel:
        raise BadFault("halt is of symbols, not of a channel")
    if kind == "checksum" and not checksums:
        raise BadFault("there are no checksums in this dialect")
    channel = "orderbook" if kind in OF_BOOKS else fault.channel
    if fault.channel not in ("", channel):
        raise BadFault(f"{kind} is of channel orderbook, not of {fault.channel}")
    streams = {text: parse_key(text) for text in keys}
    chosen = frozenset(
        text for text, key in streams.items() if channel in ("", key.channel) and fault.symbol in ("", key.symbol)
    )
    if not chosen:
        channels = ", ".join(sorted({key.channel for key in streams.values()}))
        symbols = ", ".join(sorted({key.symbol for key in streams.values()}))
        raise BadFault(f"{fault}: there are channels {channels} of symbols {symbols}")
    return chosen


def read(body: bytes) -> Fault:
    """Of a request's body: a JSON object with the fields of a Fault, or its text. Raises BadFault."""
    try:
        if body.lstrip().startswith(b"{"):
            return msgspec.json.decode(body, type=Fault)
        return parse(body.decode())
    except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
        raise BadFault(f"no fault: {bad}") from bad
