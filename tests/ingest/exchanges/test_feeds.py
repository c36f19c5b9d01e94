"""What README says of each exchange and channel happens: with an outage, with a long one, and with a day gone by."""

from contextlib import suppress
from functools import cache

import pytest
from msgspec import structs

from ingest.contract.events import Gap, Snapshot, Status
from ingest.exchanges import EXCHANGES
from ingest.exchanges.exchange import Exchange, Feed, Reconnect, Renew
from ingest.simulator.dialects import DIALECTS
from tests.ingest.exchanges.joined import SECOND, Joined

BOTH = sorted(EXCHANGES.keys() & DIALECTS.keys())
FAMILIES = ("trades", "orderbook", "ticker", "candles")
OUTAGE = "maintenance@25s/10s"
"""Over the end of a minute: a closed candle is missed, too."""
REMEDIES = {"fetched by REST, else a `gap`", "fetched by REST, else a `gap` of time"}

on_both = pytest.mark.parametrize("name", BOTH)
on_all_feeds = pytest.mark.parametrize(("name", "family"), [(name, family) for name in BOTH for family in FAMILIES])


def family_of(channel: str) -> str:
    return "candles" if channel.startswith("candles-") else channel


@cache
def played(name: str, rate: int, fault: str = OUTAGE) -> Joined:
    exchange = EXCHANGES[name]()
    candles = min(channel for channel in exchange.channels if channel in ("candles-1s", "candles-1m"))
    channels = ("trades", "ticker", "orderbook", candles)
    return Joined(exchange, ("BTC/USDT", "ETH/USDT"), channels, (fault,) if fault else (), rate).run(90)


def untrue(feed: Feed, family: str, name: str) -> list[str]:
    """What is said of it and did not happen."""
    met = played(name, rate=8)
    key = next(key for key in met.keys if family_of(key.channel) == family)
    topics = {key: topic for line in met._lines for key, topic in line._talk[0]._voice.topics.items()}
    events = [entry.event for entry in met.entries(key.channel, key.symbol)]
    gaps = [event for event in events if isinstance(event, Gap)]
    stale = [event for event in events if isinstance(event, Status) and event.state == "stale"]
    depths = {event.depth for event in events if isinstance(event, Snapshot)}
    wrong = []
    if topics[key].kept != feed.kept:
        wrong.append("another topic keeps it whole")
    if feed.kept.mended in REMEDIES and gaps:
        wrong.append("a gap that REST was to fill")
    if feed.kept.mended.startswith("a `gap`") and not gaps:
        wrong.append("no gap")
    if "`stale`" in feed.kept.mended and not stale:
        wrong.append("not told as stale")
    if family == "orderbook" and not all(_vouched(depth, feed.depth) for depth in depths):
        wrong.append(f"snapshots of {depths}")
    if family == "orderbook" and ("checksum" in feed.also) != met.venue._dialect.has_checksums:
        wrong.append("checksums")
    return wrong


def _vouched(depth: int | None, said: int | None) -> bool:
    """The simulated books may be smaller than what is cut off: they are whole then."""
    return depth is None or depth == said


@on_all_feeds
def test_an_outage_is_mended_or_told_as_is_said(name: str, family: str):
    assert untrue(EXCHANGES[name].feeds[family], family, name) == []


@on_both
def test_what_is_said_is_said_of_all_channels(name: str):
    families = {family_of(channel) for channel in EXCHANGES[name].channels}
    assert EXCHANGES[name].feeds.keys() == families == set(FAMILIES)


@on_both
def test_an_outage_that_is_longer_than_rest_reaches_is_a_gap_and_no_other(name: str):
    met = played(name, rate=120)
    events = [entry.event for symbol in ("BTC/USDT", "ETH/USDT") for entry in met.entries("trades", symbol)]
    assert any(isinstance(event, Gap) for event in events) == (EXCHANGES[name].feeds["trades"].reach is not None)


@on_both
def test_it_says_when_it_wants_to_be_replaced(name: str):
    met = Joined(EXCHANGES[name](), ("BTC/USDT",), ("trades",)).run(2)
    talk, _ = met._lines[0]._talk
    day_later, notice = met.now_ns + 86_400 * SECOND, met.venue._dialect.notice()
    outputs = []
    for told in (lambda: talk.receive(notice, met.now_ns), lambda: talk.tick(day_later)):
        with suppress(Reconnect):
            outputs += told()
    assert any(isinstance(output, Renew) for output in outputs) == bool(EXCHANGES[name].rotation)


def falsified(exchange: type[Exchange]) -> list[tuple[Feed, str]]:
    """Each feed with the words of another, or another depth."""
    feeds = exchange.feeds
    kinds = [*feeds.values(), *EXCHANGES["binance"].feeds.values()]
    others = [
        (structs.replace(feed, kept=other.kept), family)
        for family, feed in feeds.items()
        for other in kinds
        if other.kept != feed.kept
    ]
    book = feeds["orderbook"]
    also = "" if "checksum" in book.also else "a checksum"
    return [*others, (structs.replace(book, also=also), "orderbook"), (structs.replace(book, depth=7), "orderbook")]


@on_both
def test_a_false_cell_is_found(name: str):
    """Unless the simulated books are whole, of which no depth would be false."""
    found = [untrue(feed, family, name) for feed, family in falsified(EXCHANGES[name])]
    assert all(found[:-1])
    if any(e.event.depth for e in played(name, 8).entries("orderbook", "BTC/USDT") if e.type == "snapshot"):
        assert found[-1]
