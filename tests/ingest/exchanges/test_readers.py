"""Readers of frames by themselves, over all exchanges that have one: what is recorded says what was heard."""

import pytest
from msgspec import structs

from ingest.contract.events import Candle, Delta, Event, Snapshot, Ticker, Trade
from ingest.exchanges import READERS
from ingest.exchanges.exchange import SkipFrame
from ingest.simulator.dialects import DIALECTS
from tests.ingest.exchanges.facts import FACTS
from tests.ingest.exchanges.played import play

on_all = pytest.mark.parametrize("name", sorted(READERS.keys() & DIALECTS.keys()))


def read(name: str, *, raw_books: bool) -> list[Event]:
    """What the reader makes of all frames of a course, skipping what is no data."""
    about = play(name)
    reader = READERS[name]({each.native: each.symbol for each in about.instruments.values()}, raw_books=raw_books)
    events: list[Event] = []
    for told in about.course:
        if told.method == "receive":
            try:
                events += reader.read(*told.arguments)
            except SkipFrame:
                continue
    return events


def heard(name: str) -> list[Event]:
    """What a conversation makes of that course."""
    talk = play(name).begin()
    outputs = [output for told in play(name).course for output in told.to(talk)]
    return [output for output in outputs if isinstance(output, Event)]


@on_all
def test_every_trade_that_a_conversation_heard_is_read_the_same(name: str):
    live = {(e.key, e.s, e.body) for e in heard(name) if isinstance(e.body, Trade) and not e.body.backfilled}
    said = {(e.key, e.s, structs.replace(e.body, count=None)) for e in read(name, raw_books=True) if _is(e, Trade)}
    assert live
    assert live - said == set()


@on_all
def test_every_kind_of_data_is_read(name: str):
    kinds = {type(event.body) for event in read(name, raw_books=True)}
    speaks = "candles" not in FACTS[name].cannot and any(isinstance(event.body, Candle) for event in heard(name))
    candles = {Candle} if speaks else set()
    assert kinds - {Snapshot} == {Trade, Ticker, Delta} | candles


@on_all
def test_every_change_of_a_book_is_read_raw(name: str):
    changes = [(e.key, e.body.bids, e.body.asks) for e in heard(name) if isinstance(e.body, Delta)]
    raw = [(e.key, e.body.bids, e.body.asks) for e in read(name, raw_books=True) if isinstance(e.body, Delta)]
    assert len(raw) >= len(changes) > 0


def _is(event: Event, kind: type) -> bool:
    return isinstance(event.body, kind)
