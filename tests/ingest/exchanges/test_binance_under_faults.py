"""In which state each fault leaves a stream of Binance's, and what its readers are told."""

import pytest

from ingest.contract.events import Delta
from ingest.exchanges.binance import Binance
from tests.ingest.exchanges.joined import Joined
from tests.ingest.exchanges.judging import verdict

CHANNELS = ("trades", "ticker", "orderbook", "candles-1s")
BEGUN = ["syncing", "live"]
AGAIN = ["suspect", "gap", "live"]
CUT = ["stale", "syncing", "gap", "live"]
HOLES = tuple(f"gap:{channel}:BTC/USDT@21s/2s" for channel in CHANNELS if channel != "ticker")


def met(*faults: str, seconds: float = 120) -> Joined:
    return Joined(Binance(), ("BTC/USDT", "ETH/USDT"), CHANNELS, faults).run(seconds)


def said(met: Joined) -> dict[str, list[str]]:
    """Of the first symbol, by channel, what a reader is told besides data."""
    words = {channel: met.said(channel, "BTC/USDT") for channel in CHANNELS}
    assert words["orderbook"][:2] == BEGUN
    words["orderbook"] = words["orderbook"][2:]
    return {channel: there for channel, there in words.items() if there}


@pytest.mark.parametrize(
    ("faults", "told", "endings"),
    [
        # Trades and candles that are missing are fetched; nothing tells of a missing ticker but the next one.
        *(((f"{kind}:{channel}:BTC/USDT@20s",), {}, []) for kind in ("gap", "garble", "duplicate", "reorder", "silent")
          for channel in ("trades", "ticker", "candles-1s")),
        # A change of the book cannot be fetched.
        *(((f"{kind}:orderbook:BTC/USDT@20s",), {"orderbook": AGAIN}, [])
          for kind in ("gap", "garble", "reorder", "silent")),
        (("duplicate:orderbook:BTC/USDT@20s",), {}, []),
        (("stall@20s",), {}, []),
        (("drop@20s",), {"orderbook": CUT, "ticker": ["stale"]}, ["closed: 1006"]),
        (("maintenance@20s/0.5s",), {"orderbook": CUT, "ticker": ["stale"]}, ["closed: 1012"]),
        (
            ("half-open@20s",),
            {"orderbook": CUT, "ticker": ["stale"]},
            ["no answer to LIST_SUBSCRIPTIONS of 0 names"],
        ),
        (
            ("notice@20s",),
            {"orderbook": CUT, "ticker": ["stale"]},
            ["the exchange announced that this server goes down"],
        ),
        # What cannot be fetched for a while is fetched later, or in the end told as lost.
        (("rest-429@20s/60s", *HOLES), {"orderbook": AGAIN}, []),
        (("rest-418@20s/60s", *HOLES), {"orderbook": AGAIN}, []),
        (("rest-slow@20s/9s", *HOLES), {"orderbook": AGAIN}, []),
        (
            ("rest-500@20s/60s", *HOLES),
            {"orderbook": AGAIN, "trades": ["gap"], "candles-1s": ["gap"]},
            [],
        ),
        (("stale-snapshot@20s/20s", *HOLES), {"orderbook": AGAIN}, []),
        (
            ("series@20s", "drop@20s"),
            {"trades": ["anew"], "orderbook": ["stale", "syncing", "anew", "live"], "ticker": ["stale", "stale"]},
            ["closed: 1006"],
        ),
    ],
)  # fmt: skip
def test_each_fault_ends_in_its_state(faults: tuple[str, ...], told: dict[str, list[str]], endings: list[str]):
    run = met(*faults)
    assert (said(run), run.endings) == (told, endings)


def test_a_refused_topic_is_told_and_the_others_go_on():
    run = met("refuse:trades:BTC/USDT@20s/10s", "drop@21s")
    refused = [(notice.key.channel, notice.key.symbol, notice.state) for notice in run.notices]
    assert (said(run), refused, len(run.endings)) == (
        {"orderbook": CUT, "ticker": ["stale"]},
        [("trades", "BTC/USDT", "refused")],
        1,
    )


def test_a_crossed_book_is_passed_on_as_the_exchange_says_it():
    run = met("crossed::BTC/USDT@20s")
    (hit,) = run.struck
    delta = next(entry.event for entry in run.entries("orderbook", "BTC/USDT") if entry.s == hit.s)
    assert isinstance(delta, Delta)
    assert (said(run), len(delta.bids)) == ({}, 1)


def test_a_book_whose_ids_begin_anew_within_a_connection_is_told():
    run = met("series@20s")
    assert said(run)["orderbook"][-1] == "live"
    assert [verdict(run, key).words for key in run.keys if key.channel == "orderbook"] == [(), ()]
