"""Whatever bytes come from whatever exchange: nothing escapes but the error classes, and no event is unsound.

`make fuzz` draws many more of them, each time others.
"""

import json
import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
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


NASTY = (
    *(
        "NaN",
        "Infinity",
        "-1",
        "1e999",
        "1e5",
        "",
        " 1",
        "1_000",
        "١٢",
        "0x10",
        "1.",
        ".5",
        "-0",
        "+1",
        "1\n",
        "1" * 31,
    ),
    *("9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-22T08:15:30+99:99"),
    *("snapshot", "update", "buy", "sell", "error", "subscribe", "X/Y", "\ud800", "\x00"),
    *(-1, 0, 1, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, 10**18, 10**30, -(2**63), 0.1, -0.0, 1e308, 1.5e-7, True),
    *(None, [], {}, [[]], [None], [["1", "1"]], [["1"]], {"a": 1}, [[[[[[]]]]]], "1" * 400),
)
numbers = st.integers() | st.floats() | st.integers(0, 10**20).map(str)
values = st.sampled_from(NASTY) | numbers | st.text(max_size=8)
anything = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
spliced = st.tuples(
    st.floats(0, 1),
    st.integers(0, 20),
    st.binary(max_size=6)
    | st.sampled_from([b'"', b"{", b"]", b"1e5", b"null", b"-", b"9" * 20, b'"\xff', b"[" * 5_000]),
)


changes = st.lists(st.tuples(st.integers(0, 400), anything | st.just(...)), min_size=1, max_size=2)
flaws = changes | spliced
junk = st.binary(max_size=200) | anything.map(lambda message: _dumped(message))


def spoilt(original: bytes, flaw: Any) -> bytes:
    """One or two values are others, or not there; or some bytes are others."""
    return _changed(original, flaw) if isinstance(flaw, list) else _spliced(original, flaw)


def _changed(original: bytes, those: list[tuple[int, Any]]) -> bytes:
    try:
        message = json.loads(original, parse_float=_Number)
    except ValueError:
        return original
    for which, value in those:
        places = list(_places(message))
        if places:
            inside, at = places[which % len(places)]
            if value is not ...:
                inside[at] = deepcopy(value)
            elif isinstance(inside, dict):
                del inside[at]
            else:
                inside.pop(at)
    return _dumped(message)


class _Number(float):
    """As it was written."""

    def __new__(cls, text: str) -> "_Number":
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __repr__(self) -> str:
        return self.text


def _dumped(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode(errors="replace")


def _places(inside: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in it, by what it is in, and where."""
    for at, value in list(inside.items() if isinstance(inside, dict) else enumerate(inside)):
        yield inside, at
        if isinstance(value, dict | list):
            yield from _places(value)


def _spliced(original: bytes, how: tuple[float, int, bytes]) -> bytes:
    at, length, junk = how
    begin = int(at * len(original))
    return original[:begin] + junk + original[begin + length :]


class Hostile(NamedTuple):
    """How far a conversation has come when something else is told; the time is added to it."""

    at: int
    told: Sequence[Told]


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
        | st.builds(lambda answer: Told("fetched", answer), pages | st.tuples(tags, junk | failures))
        | gone
    )
    return st.builds(Hostile, st.sampled_from((12, 40)) | st.integers(1, 60), st.lists(told, min_size=1, max_size=3))


@on_all
@fuzzed(CASES)
@given(st.data())
def test_nothing_that_comes_makes_anything_but_known_errors_and_sound_events(name: str, data: st.DataObject):
    about = play(name)
    at, hostilities = data.draw(hostile(name))
    talk, before = about.begin(), about.course[:at]
    for told in before:
        told.to(talk)
    now_ns = before[-1].arguments[-1]
    course = [Told(told.method, (*told.arguments, now_ns)) for told in hostilities]
    for told in (*course, *about.course[at : at + 12], Told("tick", (now_ns + SECOND,)), Told("closed", ("over",))):
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
