"""One stream and its companions, spoilt in one way each."""

import tracemalloc

import pytest
from msgspec import structs

from ingest.audit.stream import Companions, Stream
from ingest.contract.codec import encode
from ingest.contract.events import Candle, Gap, Ticker, Trade
from ingest.contract.keys import StreamKey

TRADES, TICKER, CANDLES = (StreamKey("binance", channel, "BTC/USDT") for channel in ("trades", "ticker", "candles-1m"))
MINUTE_NS = 60_000_000_000


def trade(i):
    return str(i), Trade(price="1", amount="1", side="buy", received_ns=1)


def candle(minute):
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), "1")
    return f"{minute * MINUTE_NS}.closed", Candle(open_ns=minute * MINUTE_NS, closed=True, received_ns=1, **prices)


def anew(after_g, after_n, reason="rollback"):
    return "x.1", Gap(reason=reason, after_g=after_g, after_n=after_n)


def audited(entries, key=TRADES, *, places=None, late=(), opaque=False, **said):
    """The verdict, and what is not as in a sound stream. `places` are g and n of each entry."""
    places = places or [("a", n) for n in range(1, len(entries) + 1)]
    stream = Stream(key, opaque=opaque)
    for (s, body), (g, n) in zip(entries, places, strict=True):
        fields = {"v": "1", "type": type(body).__name__.lower(), "n": str(n), "g": g, "s": s}
        raw = {name.encode(): text.encode() for name, text in fields.items()} | {b"data": encode(body)}
        stream.read(b"1-1", raw | ({b"late": b"1"} if s in late else {}))
    count, (g, n) = len(entries), places[-1] if places else ("", 0)
    sound = {"added": count, "length": count, "trimmed": 0, "g": g, "n": n, "has_last": True, "gaps": ()}
    report = stream.close(Companions(**sound | said))
    usual = {"key": str(key), "entries": count, "g": g, "oldest_n": places[0][1] if places else 0, "generations": 1}
    other = {name: value for name, value in structs.asdict(report).items() if value and value != usual.get(name)}
    other.pop("examples", None)
    return report.verdict, other


SOUND = [trade(i) for i in range(1, 7)]


def test_a_whole_stream_is_proven():
    assert audited(SOUND) == ("proven", {})


def test_what_the_janitor_trimmed_is_accounted_for():
    places = [("a", n) for n in range(5, 11)]
    assert audited(SOUND, places=places, added=10, trimmed=4) == ("proven since n=5", {"trimmed": 4})


@pytest.mark.parametrize(("added", "trimmed", "removed"), [(10, 0, 4), (10, 3, 1), (6, 0, 4), (6, 4, 4)])
def test_what_somebody_else_trimmed_is_not(added, trimmed, removed):
    """Nor if the stream was deleted meanwhile, so that the server counts anew."""
    places = [("a", n) for n in range(5, 11)]
    verdict, found = audited(SOUND, places=places, added=added, trimmed=trimmed)
    assert (verdict, found["removed"]) == ("NOT BALANCED", removed)


def test_an_entry_that_was_deleted_within_is_found_in_three_ways():
    places = [("a", n) for n in (1, 2, 4, 5, 6)]
    assert audited([*SOUND[:2], *SOUND[3:]], places=places, added=6) == (
        "NOT BALANCED",
        {"breaks": 1, "holes": 1, "removed": 1},
    )


def test_the_newest_entry_deleted_shows_by_the_state():
    assert audited(SOUND, added=7, n=7) == ("NOT BALANCED", {"astray": 1, "removed": 1})


def test_an_entry_by_another_hand_shows_by_the_state():
    assert audited(SOUND, n=5) == ("NOT BALANCED", {"astray": 1})


def test_a_lost_state_shows():
    assert audited(SOUND, g="", n=0) == ("NOT BALANCED", {"astray": 1})


def test_a_stream_that_was_emptied_is_found():
    assert audited([], added=6, g="a", n=6) == ("NOT BALANCED", {"removed": 6, "unprovable": "empty"})


def test_a_rollback_that_says_where_the_stream_stood_is_sound():
    entries = [trade(1), trade(2), anew("a", 2), trade(3)]
    places = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert audited(entries, places=places) == ("proven", {"generations": 2})


def test_a_restart_of_the_ids_begins_the_chain_and_the_registry_anew():
    lost = "x.0", Gap(reason="away", first_id="8", last_id="9")
    entries = [trade(7), lost, anew("a", 2, "series_restart"), trade(1), trade(2)]
    places = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3)]
    assert audited(entries, places=places) == ("proven", {"generations": 2})


@pytest.mark.parametrize(
    "beginning",
    [trade(3), anew("a", 1), anew("z", 2), anew("a", 2, "away"), ("x.1", Gap(reason="rollback"))],
    ids=["no gap", "another n", "another g", "another reason", "without a place"],
)
def test_a_generation_that_does_not_say_what_it_stands_behind_is_a_break(beginning):
    entries = [trade(1), trade(2), beginning, trade(3 if beginning[0] == "x.1" else 4)]
    places = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert audited(entries, places=places) == ("NOT BALANCED", {"breaks": 1, "generations": 2})


def test_a_generation_that_is_all_that_is_left_needs_its_forerunner_trimmed():
    entries, places = [anew("a", 40), trade(41)], [("b", 1), ("b", 2)]
    assert (
        audited(entries, places=places, added=42, trimmed=40),
        audited(entries, places=places),
        audited([anew("a", 0), trade(1)], places=places),
    ) == (("proven", {"trimmed": 40}), ("NOT BALANCED", {"removed": 40}), ("proven", {}))


LOST = ("x.1", Gap(reason="away", first_id="2", last_id="5"))


def test_gaps_and_late_fills_are_counted_and_agree_with_the_registry():
    entries = [trade(1), LOST, trade(6), trade(3)]
    assert audited(entries, late=("3",), gaps=((2, 2), (4, 5))) == ("proven", {"gaps": 2, "ids_lost": 3, "late": 1})


def test_a_gap_taken_out_of_the_registry_is_found():
    assert audited([trade(1), LOST, trade(6)]) == ("NOT BALANCED", {"unfounded": 1})


def test_gaps_older_than_the_oldest_entry_count_as_explained():
    places = [("a", n) for n in range(5, 11)]
    entries = [trade(i) for i in range(11, 17)]
    assert audited(entries, places=places, added=10, trimmed=4, gaps=((3, 5),)) == (
        "proven since n=5",
        {"gaps": 1, "ids_lost": 3, "trimmed": 4},
    )


def test_without_ids_nothing_can_be_proven():
    opaque = [(s, trade(1)[1]) for s in ("b1e2", "77fa")]
    tickers = [(f"book.{i}", Ticker(received_ns=1)) for i in (3, 9)]
    assert (audited(tickers, TICKER), audited(opaque), audited([])) == (
        ("not provable: no ids", {"unprovable": "no ids"}),
        ("not provable: no ids", {"unprovable": "no ids"}),
        ("not provable: empty", {"unprovable": "empty"}),
    )


def test_spans_of_time_in_which_opaque_ids_may_be_missing_are_gaps_of_no_ids():
    span = "x.1", Gap(reason="away", from_ns=2_000_000, to_ns=5_999_999)
    entries = [("b1e2", trade(1)[1]), span, ("77fa", trade(1)[1])]
    assert (audited(entries, gaps=((2, 5),)), audited(entries)) == (
        ("not provable: no ids", {"gaps": 1, "unprovable": "no ids"}),
        ("NOT BALANCED", {"unfounded": 1, "unprovable": "no ids"}),
    )


def test_candles_are_proven_where_they_are_dense_by_rule():
    whole, holed = [candle(1), candle(2), candle(3)], [candle(1), candle(3)]
    assert (audited(whole, CANDLES), audited(holed, CANDLES), audited(holed, CANDLES, has_last=False)) == (
        ("proven", {}),
        ("NOT BALANCED", {"holes": 60_000}),
        ("not provable: no ids", {"unprovable": "no ids"}),
    )


def test_a_trade_twice_and_one_turned_round_are_found_without_a_ledger():
    twice, turned = [trade(1), trade(2), trade(2), trade(3)], [trade(1), trade(2), trade(3), trade(2), trade(4)]
    assert (audited(twice), audited(turned)) == (
        ("NOT BALANCED", {"duplicates": 1}),
        ("NOT BALANCED", {"disorder": 1}),
    )


def test_a_long_stream_takes_no_more_memory_than_a_short_one():
    stream = Stream(TRADES)
    body = encode(trade(1)[1])

    def read(first, last):
        for i in range(first, last):
            number = str(i).encode()
            fields = {b"v": b"1", b"type": b"trade", b"n": number, b"g": b"a", b"s": number, b"data": body}
            stream.read(b"1-1", fields)

    tracemalloc.start()
    try:
        read(1, 1_000)
        before, _ = tracemalloc.get_traced_memory()
        read(1_000, 10_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def at(name, ms):
    return name, Trade(price="1", amount="1", side="buy", received_ns=1, exchange_ns=ms * 1_000_000)


def window(first_ms, last_ms):
    body = Gap(reason="unverifiable", from_ns=first_ms * 1_000_000, to_ns=last_ms * 1_000_000 + 999_999)
    return f"x.{first_ms}", body


OPAQUE = [at("901", 1), at("7", 1), at("8-a", 5), window(5, 9), at("1", 9)]


def test_trades_whose_ids_have_no_order_are_in_that_of_their_times_and_cannot_be_proven():
    assert audited(OPAQUE, opaque=True, gaps=((5, 9),)) == (
        "not provable: opaque ids",
        {"unprovable": "opaque ids", "gaps": 1},
    )


def test_what_comes_late_among_them_says_so():
    late = at("77", 3)
    told, untold = (
        audited([*OPAQUE, late], opaque=True, gaps=((5, 9),), late={"77"}),
        audited([*OPAQUE, late], opaque=True),
    )
    assert (told[0], told[1]["late"], untold[0], untold[1]["disorder"]) == (
        "not provable: opaque ids",
        1,
        "NOT BALANCED",
        1,
    )


@pytest.mark.parametrize("kept", [(), ((5, 8),)])
def test_a_window_that_the_registry_does_not_keep_is_unfounded(kept):
    verdict, found = audited(OPAQUE, opaque=True, gaps=kept)
    assert (verdict, found["unfounded"]) == ("NOT BALANCED", 1)
