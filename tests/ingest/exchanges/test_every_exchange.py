"""What holds for one exchange holds for all: each conversation against its simulated counterpart, clocks included.

A new exchange is one line in `EXCHANGES`, one in `DIALECTS`, and a row of `facts.py`. All kinds of faults there are, of
`ingest/simulator/faults.py`, are then played on it, on every channel, and each has to end as `OUTCOMES` says; where it
cannot, the row says why. Its dialect puts into the ledger what the bus is to say, under the names that it has there:
trades and deltas by their ids, tickers as `SOURCE.MARK`, candles as `OPEN_NS.MARK`, each closed one also if nobody
hears it. A book whose updates have no names is told by `Change`, and judged by what is in it.
"""

from collections.abc import Mapping
from functools import cache

import pytest
from msgspec import structs

from ingest.contract.events import Status
from ingest.contract.keys import StreamKey, parse_key
from ingest.exchanges import EXCHANGES
from ingest.simulator.dialects import DIALECTS
from ingest.simulator.faults import KINDS, BadFault
from tests.ingest.exchanges.facts import AGAIN, CUT, FACTS, LOST, Outcome
from tests.ingest.exchanges.joined import Joined
from tests.ingest.exchanges.judging import verdict

ALL = sorted(EXCHANGES.keys() & DIALECTS.keys())
BTC, ETH = 0, 1
SETTLED_S = 90
"""By then whatever went wrong at 20 s is over, for good or with its loss told."""

HOLES = ("gap:trades:{}@21s", "gap:orderbook:{}@21s", "gap:candles:{}@29s/2s")
"""What requests are made for; that of candles is where an interval of any length ends."""
FILLED = Outcome({})
ANEW = Outcome({"orderbook": AGAIN})
BY_CHANNEL = {
    f"{kind}:{channel}": ((f"{kind}:{channel}:{{}}@20s",), ANEW if channel == "orderbook" else FILLED)
    for kind in ("gap", "garble", "duplicate", "reorder", "silent")
    for channel in ("trades", "ticker", "orderbook", "candles")
}
OUTCOMES: Mapping[str, tuple[tuple[str, ...], Outcome]] = {
    **BY_CHANNEL,
    "duplicate:orderbook": (("duplicate:orderbook:{}@20s",), FILLED),
    "crossed": (("crossed::{}@20s",), ANEW),
    "checksum": (("checksum::{}@20s",), ANEW),
    "stall": (("stall@20s",), FILLED),
    "halt": (("halt::{}@20s",), FILLED),
    **{kind: ((f"{kind}@20s",), Outcome(LOST, 1)) for kind in ("drop", "half-open", "notice", "maintenance")},
    # What is refused is given up, until the next connection.
    "refuse": (
        ("refuse:trades:{}@20s/20s", "drop@21s", "drop@60s"),
        Outcome({"orderbook": CUT + CUT, "ticker": ["stale", "stale"]}, 2, ("refused",)),
    ),
    # What cannot be fetched for a while is fetched later, or in the end told as lost.
    **{f"rest-{how}": ((f"rest-{how}@20s/20s", *HOLES), ANEW) for how in ("429", "418", "slow")},
    "rest-500": (
        ("rest-500@20s/40s", *HOLES),
        Outcome({"orderbook": AGAIN, "trades": ["gap"], "candles": ["gap"]}),
    ),
    "stale-snapshot": (("stale-snapshot@20s/20s", *HOLES), ANEW),
    "series": (
        ("series@20s",),
        Outcome({"trades": ["anew"], "ticker": ["stale"], "orderbook": ["suspect", "anew", "live"]}),
    ),
    "series and drop": (
        ("series@20s", "drop@20s"),
        Outcome(
            {"trades": ["anew"], "ticker": ["stale", "stale"], "orderbook": ["stale", "syncing", "anew", "live"]}, 1
        ),
    ),
}
"""What comes of each kind of fault: what is played, and what is told of it besides data."""
OF_ALL = ("stall", "drop", "half-open", "notice", "maintenance", "refuse", "series", "series and drop")
"""Those that other symbols notice, too."""
PAIRS = [(name, what) for name in ALL for what in OUTCOMES]

on_all = pytest.mark.parametrize("name", ALL)


@cache
def channels_of(name: str) -> dict[str, str]:
    """By what the tables call them; of candles those of the shortest interval."""
    exchange = EXCHANGES[name]()
    spoken = {parse_key(key).channel for key in Joined(exchange, FACTS[name].symbols, ()).venue.keys}
    candles = next(c for c in ("candles-1s", "candles-1m") if c in exchange.channels & spoken)
    return {"trades": "trades", "ticker": "ticker", "orderbook": "orderbook", "candles": candles}


def joined(name: str, *faults: str) -> Joined:
    """On all channels; `{}` in a fault is the first symbol."""
    symbols, channels = FACTS[name].symbols, channels_of(name)
    told = [fault.format(symbols[BTC]).replace(":candles:", f":{channels['candles']}:") for fault in faults]
    return Joined(EXCHANGES[name](), symbols, [*channels.values()], told)


@cache
def undisturbed(name: str, seconds: float, which: int) -> list[object]:
    """What a symbol's streams are if nothing goes wrong."""
    return of_symbol(joined(name).run(seconds), which)


def of_symbol(met: Joined, which: int) -> list[object]:
    """But for names that are counted by connection, whichever symbol they are of."""
    symbol = FACTS[met.exchange.name].symbols[which]
    entries = (met.entries(key.channel, key.symbol) for key in met.keys if key.symbol == symbol)
    return [[structs.replace(entry, s="") if "/" in entry.s else entry for entry in stream] for stream in entries]


def wrong(met: Joined) -> list[str]:
    return [str(judged) for key in met.keys if not (judged := verdict(met, key)).good]


def still(met: Joined) -> dict[StreamKey, list[str]]:
    """The streams that are not up to date in the end, and what they say."""
    said = {key: met.said(key.channel, key.symbol) for key in met.keys}
    # A ticker is up to date as soon as something follows.
    return {key: words for key, words in said.items() if key.channel == "orderbook" and words[-1:] != ["live"]}


def outcome(met: Joined) -> Outcome:
    """What the first symbol's readers are told besides data, but for how its book begins."""
    name = met.exchange.name
    said = {ours: met.said(channel, FACTS[name].symbols[BTC]) for ours, channel in channels_of(name).items()}
    begins, said["orderbook"] = said["orderbook"][:2], said["orderbook"][2:]
    assert begins == ["syncing", "live"]
    notices = [notice.state for notice in met.notices]
    notices += [entry.event.state for entry in met.entries("status", "") if isinstance(entry.event, Status)]
    ends = [reason for reason in met.endings if not reason.startswith("not admitted")]
    ends_of_each = -(-len(ends) // len(met.exchange.plan(met.keys)))
    return Outcome({channel: words for channel, words in said.items() if words}, ends_of_each, tuple(notices))


@on_all
def test_what_it_says_is_what_we_hear(name: str):
    met = joined(name).run(300)
    counts = [len(met.entries(key.channel, key.symbol)) for key in met.keys]
    assert (wrong(met), still(met), met.endings, met.skipped, min(counts) > 4) == ([], {}, [], [], True)


@on_all
def test_all_its_channels_speak(name: str):
    exchange = EXCHANGES[name]()
    spoken = {parse_key(key).channel for key in joined(name).venue.keys}
    met = Joined(exchange, FACTS[name].symbols[:1], sorted(exchange.channels & spoken)).run(150)
    assert [key for key in met.keys if not met.entries(key.channel, key.symbol)] == []


@pytest.mark.parametrize(("name", "what"), [(name, what) for name, what in PAIRS if not FACTS[name].lack(what)])
def test_every_fault_ends_as_it_should_and_is_made_good_or_told(name: str, what: str):
    facts, (faults, comes) = FACTS[name], OUTCOMES[what]
    met = joined(name, *faults).run(SETTLED_S)
    expected = facts.otherwise[what].outcome if what in facts.otherwise else comes
    assert (outcome(met), wrong(met), still(met), met.struck != []) == (expected, [], {}, True)
    noticed = what in OF_ALL or (facts.needs_rest and what.startswith("rest-"))
    assert noticed or of_symbol(met, ETH) == undisturbed(name, SETTLED_S, ETH)


@pytest.mark.parametrize(("name", "what"), [(name, what) for name, what in PAIRS if FACTS[name].lack(what)])
def test_a_fault_that_there_is_none_of_is_refused_or_alters_nothing(name: str, what: str):
    alone = [fault for fault in OUTCOMES[what][0] if fault not in HOLES]
    try:
        met = joined(name, *alone).run(SETTLED_S)
    except BadFault:
        return
    assert of_symbol(met, BTC) == undisturbed(name, SETTLED_S, BTC)


def test_every_kind_of_fault_has_its_outcome():
    assert KINDS.keys() - {what.partition(":")[0] for what in OUTCOMES} == set()


@on_all
@pytest.mark.parametrize("faults", [("drop@20s/5s",), tuple(f"drop@{at_s}s" for at_s in range(10, 200, 7))])
def test_what_is_cut_again_and_again_is_whole_in_the_end(name: str, faults: tuple[str, ...]):
    met = joined(name, *faults).run(300)
    assert (wrong(met), still(met), len(met.endings) >= max(2, len(faults))) == ([], {}, True)


@on_all
def test_ids_that_begin_anew_before_that_was_sure_of_the_last_time_are_followed_in_the_end(name: str):
    met = joined(name, *(f"series@{at_s}s" for at_s in (20, 20.3, 23, 40, 41))).run(180)
    assert (wrong(met), still(met)) == ([], {})


@on_all
def test_an_oracle_that_is_told_nothing_of_a_loss_finds_it(name: str):
    met = joined(name, "gap:trades:{}@20s").run(SETTLED_S)
    key = met.keys[0]
    stream = met.bus.streams[key]
    del stream.entries[20]
    assert verdict(met, key).lost == 1
