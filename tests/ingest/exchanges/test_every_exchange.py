"""What holds for one exchange holds for all: each conversation against its simulated counterpart, clocks included."""

import pytest
from msgspec import structs

from ingest.contract.keys import StreamKey, parse_key
from ingest.exchanges import EXCHANGES
from ingest.simulator.dialects import DIALECTS
from tests.ingest.exchanges.joined import Joined
from tests.ingest.exchanges.judging import SYMBOLS, verdict

BOTH = sorted(EXCHANGES.keys() & DIALECTS.keys())
BTC, ETH = 0, 1
SETTLED_S = 90
"""By then whatever went wrong at 20 s is over, for good or with its loss told."""

on_both = pytest.mark.parametrize("name", BOTH)
NUMBERED = [name for name in BOTH if not EXCHANGES[name].single_writer]
on_those_that_number_books = pytest.mark.parametrize("name", NUMBERED)
"""Where the oracle can tell by ids what became of a book and of its neighbours."""


def joined(name: str, *faults: str) -> Joined:
    """On all channels; `{}` in a fault is the first symbol."""
    symbols = SYMBOLS[name]
    candles = min(channel for channel in EXCHANGES[name].channels if channel in ("candles-1s", "candles-1m"))
    channels = ("trades", "ticker", "orderbook", candles)
    return Joined(EXCHANGES[name](), symbols, channels, [fault.format(symbols[BTC]) for fault in faults])


def wrong(met: Joined) -> list[str]:
    return [str(judged) for key in met.keys if not (judged := verdict(met, key)).good]


def still(met: Joined) -> dict[StreamKey, list[str]]:
    """The streams that are not up to date in the end, and what they say."""
    said = {key: met.said(key.channel, key.symbol) for key in met.keys}
    # A ticker is up to date as soon as something follows.
    return {key: words for key, words in said.items() if key.channel == "orderbook" and words[-1:] != ["live"]}


def of_symbol(met: Joined, name: str, which: int) -> list[object]:
    """But for names that are counted by connection, whichever symbol they are of."""
    entries = (met.entries(key.channel, key.symbol) for key in met.keys if key.symbol == SYMBOLS[name][which])
    return [[structs.replace(entry, s="") if "/" in entry.s else entry for entry in stream] for stream in entries]


@on_both
def test_what_it_says_is_what_we_hear(name: str):
    met = joined(name).run(300)
    counts = [len(met.entries(key.channel, key.symbol)) for key in met.keys]
    assert (wrong(met), still(met), met.endings, met.skipped, min(counts) > 4) == ([], {}, [], [], True)


@on_both
def test_all_its_channels_speak(name: str):
    exchange = EXCHANGES[name]()
    spoken = {parse_key(key).channel for key in joined(name).venue.keys}
    met = Joined(exchange, SYMBOLS[name][:1], sorted(exchange.channels & spoken)).run(150)
    assert [key for key in met.keys if not met.entries(key.channel, key.symbol)] == []


@on_those_that_number_books
@pytest.mark.parametrize("kind", ["gap", "garble", "duplicate", "reorder", "silent"])
@pytest.mark.parametrize("channel", ["trades", "ticker", "orderbook", "candles"])
def test_what_strikes_one_stream_is_made_good_or_told_and_no_other_symbol_notices(name: str, kind: str, channel: str):
    if channel == "candles":
        channel = min(c for c in EXCHANGES[name].channels if c in ("candles-1s", "candles-1m"))
    met, undisturbed = joined(name, f"{kind}:{channel}:{{}}@20s").run(SETTLED_S), joined(name).run(SETTLED_S)
    assert (wrong(met), still(met), met.struck != []) == ([], {}, True)
    assert of_symbol(met, name, ETH) == of_symbol(undisturbed, name, ETH)


CONNECTIONS = {"drop": 1, "stall": 0, "half-open": 1, "notice": 1, "maintenance": 1, "drop@20s/5s": 2}
"""How many connections they end at least."""
STAYS = {"kraken": "notice", "okx": ""}
"""What is told, and no reason to leave, at one of them."""


@on_both
@pytest.mark.parametrize(("fault", "ends"), CONNECTIONS.items())
def test_what_strikes_a_connection_is_made_good_or_told(name: str, fault: str, ends: int):
    met = joined(name, fault if "@" in fault else f"{fault}@20s").run(SETTLED_S)
    assert (
        wrong(met),
        still(met),
        len(met.endings) >= (0 if fault == STAYS.get(name) else ends),
        met.struck != [],
    ) == ([], {}, True, True)


@on_those_that_number_books
@pytest.mark.parametrize("kind", ["rest-429", "rest-418", "rest-500", "rest-slow", "stale-snapshot"])
def test_what_strikes_requests_holds_up_what_they_were_for(name: str, kind: str):
    holes = (f"gap:{channel}:{{}}@21s" for channel in ("trades", "orderbook"))
    met = joined(name, f"{kind}@20s/20s", *holes).run(2 * SETTLED_S)
    undisturbed = joined(name, f"{kind}@20s/20s").run(2 * SETTLED_S)
    assert (wrong(met), still(met)) == ([], {})
    assert of_symbol(met, name, ETH) == of_symbol(undisturbed, name, ETH)


@on_both
def test_a_refused_subscription_is_made_good_by_the_next_connection(name: str):
    met = joined(name, "refuse:trades:{}@20s/20s", "drop@21s", "drop@60s").run(2 * SETTLED_S)
    assert (wrong(met), still(met), met.struck != []) == ([], {}, True)


@on_both
def test_ids_that_begin_anew_between_connections_are_told(name: str):
    met = joined(name, "series@20s", "drop@20s").run(SETTLED_S)
    assert (wrong(met), still(met)) == ([], {})


@on_those_that_number_books
def test_what_is_cut_again_and_again_is_whole_in_the_end(name: str):
    met = joined(name, *(f"drop@{at_s}s" for at_s in range(10, 200, 7))).run(300)
    assert (wrong(met), still(met), len(met.endings)) == ([], {}, 28)


@on_both
def test_an_oracle_that_is_told_nothing_of_a_loss_finds_it(name: str):
    met = joined(name, "gap:trades:{}@20s").run(SETTLED_S)
    key = met.keys[0]
    stream = met.bus.streams[key]
    del stream.entries[20]
    assert verdict(met, key).lost == 1
