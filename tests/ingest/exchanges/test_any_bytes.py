"""Whatever bytes come from whatever exchange: nothing escapes but the error classes, and no event is unsound.

`make fuzz` draws many more of them, each time others.
"""

import json
import os
import re
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.contract.codec import freeze, thaw
from ingest.contract.events import Event, Gap, Trade
from ingest.contract.keys import StreamKey, parse_symbol
from ingest.contract.numbers import check
from ingest.exchanges import EXCHANGES, READERS
from ingest.exchanges.exchange import ExchangeError, FetchFailed, SkipFrame
from ingest.simulator.dialects import DIALECTS
from tests.ingest.exchanges.played import NOW_NS, Told, play

FUZZ = int(os.environ.get("CASES", "0"))
CASES = FUZZ or 2_000
SECOND = 1_000_000_000
DAY_NS = 86_400 * SECOND
EARLIEST_NS = 1_262_304_000 * SECOND
BOTH = sorted(EXCHANGES.keys() & DIALECTS.keys())

on_all = pytest.mark.parametrize("name", BOTH)
pytestmark = pytest.mark.timeout(60 + CASES)


def fuzzed(cases: int):
    return settings(max_examples=cases, derandomize=not FUZZ, database=None, deadline=None, print_blob=True)


_NO_NUMBERS = [
    "NaN",
    "Infinity",
    "-1",
    "1e999",
    "1e5",
    "1e-8",
    "",
    " 1",
    "1 ",
    "1_000",
    "١٢",
    "0x10",
    "1.",
    ".5",
    "-0",
    "+1",
    "1\n",
    "null",
    "0",
    "0.00000000",
]
_TIMES = ["9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-22T08:15:30+99:99"]
_WORDS = ["snapshot", "update", "buy", "sell", "error", "subscribe", "X/Y", "BTC/USDT", "�", "\x00"]
NO_NUMBERS = [json.dumps(text).encode() for text in (*_NO_NUMBERS, "1" * 31)]
TEXTS = [*NO_NUMBERS, *(json.dumps(text).encode() for text in (*_TIMES, *_WORDS, "1" * 400, "1" * 5_000))]
DEEP = b"[" * 5_000 + b"]" * 5_000
NUMBERS = [
    *(b"-1 0 1 2 7 1.5 -0.0 0.00000000 1e5 1e-8 1e308 1e999 123456789.123456789".split()),
    *(str(number).encode() for n in (31, 32, 53, 63, 64, 100) for number in (2**n - 1, 2**n, 2**n + 1, -(2**n))),
    *(str(10**n).encode() for n in (9, 12, 15, 16, 18, 19, 21, 31)),
]
OTHERS = b'null|true|false|[]|{}|[[]]|[null]|[["1","1"]]|[["1"]]|[["NaN","1"]]|{"a":1}|[[[[[[]]]]]]'.split(b"|")
BY_KIND = {"text": TEXTS, "number": [*NUMBERS, *NO_NUMBERS, DEEP], "other": [*OTHERS, DEEP]}
_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(\s*:)?')

anything = st.recursive(
    st.sampled_from((*TEXTS, *NUMBERS, *OTHERS)).map(lambda text: json.loads(text))
    | st.integers()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
).map(lambda message: json.dumps(message).encode(errors="replace"))
spliced = st.tuples(
    st.floats(0, 1),
    st.integers(0, 20),
    st.binary(max_size=6)
    | st.sampled_from([b'"', b"{", b"]", b"1e5", b"null", b"-", b"9" * 20, b'"\xff', b"[" * 5_000]),
)


class Change(NamedTuple):
    """Another value in the place of one, most often of its kind; or another key."""

    which: int
    by: int | bytes
    key: bool


def _change(by: st.SearchStrategy[int | bytes], key: st.SearchStrategy[bool]) -> st.SearchStrategy[Change]:
    return st.builds(Change, st.integers(0, 400), by, key)


# Alternatives are drawn equally often. The same one twice would count once; made twice, it counts twice.
_of_its_kind = [_change(st.integers(0, 500), st.just(False)) for _ in range(4)]
change = st.one_of(*_of_its_kind, _change(st.integers(0, 500), st.just(True)), _change(anything, st.booleans()))
flaws = st.one_of(*(st.lists(change, min_size=1, max_size=2) for _ in range(4)), spliced)
junk = st.binary(max_size=200) | anything


def spoilt(original: bytes, flaw: Any) -> bytes:
    """One or two values or keys are others, or some bytes are."""
    if not isinstance(flaw, list):
        return _spliced(original, flaw)
    for change in flaw:
        original = _changed(original, change)
    return original


def _changed(original: bytes, change: Change) -> bytes:
    places = [place for place in _TOKEN.finditer(original) if bool(place[2]) == change.key]
    if not places:
        return original
    place = places[change.which % len(places)]
    by = change.by if isinstance(change.by, bytes) else _another(place[1], change.by)
    return original[: place.start(1)] + by + original[place.end(1) :]


def _another(value: bytes, which: int) -> bytes:
    kind = "text" if value.startswith(b'"') else "number" if value[-1:].isdigit() else "other"
    return BY_KIND[kind][which % len(BY_KIND[kind])]


def _spliced(original: bytes, how: tuple[float, int, bytes]) -> bytes:
    at, length, junk = how
    begin = int(at * len(original))
    return original[:begin] + junk + original[begin + length :]


class Hostile(NamedTuple):
    """How far a conversation has come when something else is told; the time is added to it."""

    at: int
    told: Sequence[Told]
    flaw: Any
    """Of what comes next; None if that is as it was."""

    def course(self, course: Sequence[Told]) -> list[Told]:
        """What is told from there on."""
        now_ns = course[self.at - 1].arguments[-1]
        told = [Told(each.method, (*each.arguments, now_ns)) for each in self.told]
        after = list(course[self.at : self.at + 12])
        places = [i for i, each in enumerate(after) if each.method == "receive" or _page(each)]
        if self.flaw is not None and places:
            place = places[0]
            *tag, bad, at_ns = after[place].arguments
            after[place] = Told(after[place].method, (*tag, spoilt(bad, self.flaw), at_ns))
        return [*told, *after, Told("tick", (now_ns + SECOND,)), Told("closed", ("over",))]


def _page(told: Told) -> bool:
    return told.method == "fetched" and isinstance(told.arguments[1], bytes)


@cache
def hostile(name: str) -> st.SearchStrategy[Hostile]:
    about = play(name)
    frames = st.builds(spoilt, st.sampled_from(about.frames), flaws) | st.sampled_from(about.frames) | junk
    pages = st.builds(lambda answer, flaw: (answer[0], spoilt(answer[1], flaw)), st.sampled_from(about.answers), flaws)
    tags = st.sampled_from(sorted({tag for tag, _ in about.answers}))
    failures = st.builds(FetchFailed, st.integers(0, 599), st.text(max_size=300))
    gone = st.builds(lambda key: Told("unsubscribe", ([key],)), st.sampled_from(about.keys))
    told = (
        st.builds(lambda frame: Told("receive", (frame,)), frames)
        | st.builds(lambda frame: Told("receive", (frame,)), frames)
        | st.builds(lambda answer: Told("fetched", answer), pages | st.tuples(tags, junk | failures))
        | gone
    )
    most = len(about.course) - 20
    before = st.one_of(*(st.integers(most // 2, most) for _ in range(3)), st.integers(4, most))
    return st.builds(Hostile, before, st.lists(told, min_size=1, max_size=3), st.none() | flaws) | st.builds(
        Hostile, before, st.just(()), flaws
    )


@on_all
@fuzzed(CASES)
@given(st.data())
def test_nothing_that_comes_makes_anything_but_known_errors_and_sound_events(name: str, data: st.DataObject):
    about = play(name)
    drawn = data.draw(hostile(name))
    talk = about.begin()
    for told in about.course[: drawn.at]:
        told.to(talk)
    for told in drawn.course(about.course):
        try:
            outputs = told.to(talk)
        except SkipFrame:
            continue
        except ExchangeError:
            return
        for output in outputs:
            if isinstance(output, Event):
                sound(output, {*about.keys, StreamKey(name, "status")})


@cache
def listings(name: str) -> st.SearchStrategy[bytes]:
    return st.builds(spoilt, st.just(play(name).listing), flaws) | junk


@on_all
@fuzzed(CASES // 4)
@given(st.data())
def test_no_list_of_instruments_makes_anything_but_a_list_or_a_skipped_frame(name: str, data: st.DataObject):
    try:
        instruments = play(name).exchange.instruments(data.draw(listings(name)))
    except SkipFrame:
        return
    for symbol, each in instruments.items():
        assert (parse_symbol(symbol), each.symbol) == (symbol, symbol)
        check(size for size in (each.tick_size, each.lot_size, each.min_notional) if size is not None)


@cache
def streams_of_frames(name: str) -> st.SearchStrategy[list[bytes]]:
    whole = st.sampled_from(play(name).frames)
    return st.lists(whole | st.builds(spoilt, whole, flaws) | junk, min_size=1, max_size=6)


@pytest.mark.parametrize("name", sorted(READERS.keys() & set(BOTH)))
@pytest.mark.parametrize("raw_books", [True, False])
@fuzzed(CASES // 4)
@given(st.data())
def test_no_recorded_frame_makes_a_reader_say_anything_unsound(name: str, raw_books: bool, data: st.DataObject):
    about = play(name)
    reader = READERS[name]({each.native: each.symbol for each in about.instruments.values()}, raw_books=raw_books)
    for frame in data.draw(streams_of_frames(name)):
        try:
            events = reader.read(frame, NOW_NS)
        except SkipFrame:
            continue
        for event in events:
            if not (raw_books and event.rule == "range"):  # as it stands in the frame: a chain may go back
                sound(event, None)


def sound(event: Event, keys: set[StreamKey] | None) -> None:
    """Of a stream that somebody asked for, in the contract's grammar, and of a time that can be."""
    assert keys is None or event.key in keys
    assert event.s
    assert thaw(freeze(event)) == event
    fields = msgspec.to_builtins(event.body)
    levels = chain.from_iterable(chain(fields.get("bids", ()), fields.get("asks", ())))
    check(levels)
    times = [fields[name] for name in ("received_ns", "exchange_ns", "open_ns", "from_ns", "to_ns") if name in fields]
    assert [at_ns for at_ns in times if not EARLIEST_NS <= at_ns <= NOW_NS + 2 * DAY_NS] == []
    assert (fields.get("exchange_ns") or 0) <= fields.get("received_ns", NOW_NS) + DAY_NS
    if isinstance(event.body, Gap):
        assert fields.get("from_ns", 0) <= fields.get("to_ns", NOW_NS + 2 * DAY_NS)
    if event.rule in ("dense", "range"):
        assert -1 <= int(event.first or 0) <= int(event.s) <= 2**53


TRADES = StreamKey("binance", "trades", "BTC/USDT")
TRADE = Trade(price="1", amount="1", side="buy", received_ns=NOW_NS, exchange_ns=NOW_NS)


@pytest.mark.parametrize(
    "event",
    [
        Event(TRADES, "5", structs.replace(TRADE, price="NaN"), "dense", "5"),
        Event(TRADES, "5", structs.replace(TRADE, exchange_ns=1), "dense", "5"),
        Event(TRADES, "5", structs.replace(TRADE, exchange_ns=NOW_NS + DAY_NS + 1), "dense", "5"),
        Event(TRADES, "5", structs.replace(TRADE, received_ns=2 * NOW_NS), "dense", "5"),
        Event(TRADES, "5", TRADE, "dense", "6"),
        Event(TRADES, "", TRADE, "dense", ""),
        Event(StreamKey("binance", "trades", "XY/USDT"), "5", TRADE, "dense", "5"),
    ],
)
def test_an_event_that_is_not_sound_is_found(event: Event):
    sound(Event(TRADES, "5", TRADE, "dense", "5"), {TRADES})
    with pytest.raises((AssertionError, msgspec.ValidationError)):
        sound(event, {TRADES})
