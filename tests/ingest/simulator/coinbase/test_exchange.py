"""What the simulated Coinbase tells, and when."""

import json
from typing import Any

from ingest.simulator.coinbase.exchange import CONNECTS_AT_ONCE, Coinbase
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import parse
from ingest.simulator.ledger import Change, Ticker, Trade
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND
ALL = ("matches", "ticker", "level2_batch", "heartbeat")


def exchange(rate: int = 100) -> Coinbase:
    return Coinbase(Market([listing("BTC/USD")], rate=rate, seed=1, start_ns=START_NS), START_NS)


def subscribed(live: Any, *channels: str) -> Any:
    session = live.connect("/")
    session.receive(json.dumps({"type": "subscribe", "channels": channels, "product_ids": ["BTC-USD"]}), START_NS)
    session.outgoing.clear()
    return session


def told(seconds: int = 3, *channels: str) -> tuple[list[Any], list[Any]]:
    """The frames of one connection, and the ledger."""
    live = exchange()
    session = subscribed(live, *(channels or ALL))
    records = live.advance(START_NS + seconds * SECOND)
    return [json.loads(frame.text) for frame in session.outgoing], list(records)


def of(frames: list[Any], *kinds: str) -> list[Any]:
    return [frame for frame in frames if frame["type"] in kinds]


def test_a_subscription_begins_with_the_last_trade_a_ticker_and_the_whole_book():
    frames, _ = told()
    first = {frame["type"]: frame for frame in reversed(of(frames, "last_match", "ticker", "snapshot"))}
    trades = [trade["trade_id"] for trade in of(frames, "last_match", "match")]
    assert (first.keys(), len(trades) > 10) == ({"last_match", "ticker", "snapshot"}, True)
    assert trades == list(range(trades[0], trades[0] + len(trades)))


def test_a_match_names_the_maker_and_a_ticker_the_taker():
    frames, records = told()
    makers = {str(match["trade_id"]): match["side"] for match in of(frames, "match")}
    takers = {record.s: record.side for record in records if isinstance(record, Trade)}
    tickers = {str(ticker["trade_id"]): ticker["side"] for ticker in of(frames, "ticker")}
    opposite = {"buy": "sell", "sell": "buy"}
    assert makers
    assert {trade_id: opposite[side] for trade_id, side in makers.items()} == takers
    assert {trade_id: side for trade_id, side in takers.items() if trade_id in tickers}.items() <= tickers.items()


def test_of_all_that_one_order_took_there_is_one_ticker():
    frames, records = told()
    times = [match["time"] for match in of(frames, "match")]
    tickers = [ticker["time"] for ticker in of(frames, "ticker")[1:]]
    named = [record.s for record in records if isinstance(record, Ticker)]
    assert (tickers, named) == (
        list(dict.fromkeys(times)),
        [f"ticker.{ticker['sequence']}" for ticker in of(frames, "ticker")],
    )


def test_a_book_changes_every_fifty_milliseconds_and_is_what_the_market_has():
    live = exchange()
    session = subscribed(live, "level2_batch")
    records = [record for record in live.advance(START_NS + 2 * SECOND) if isinstance(record, Change)]
    frames = [json.loads(frame.text) for frame in session.outgoing]
    sides: dict[str, dict[str, str]] = {}
    for frame in frames:
        if frame["type"] == "snapshot":
            sides = {"buy": dict(frame["bids"]), "sell": dict(frame["asks"])}
        for side, price, size in frame.get("changes", ()):
            sides[side][price] = size
    (listed,) = live._listed.values()
    book = listed.pair.book
    whole = {
        "buy": dict(listed.levels(book.bids.levels(len(book.bids)))),
        "sell": dict(listed.levels(book.asks.levels(len(book.asks)))),
    }
    rests = {side: {p: a for p, a in levels.items() if a.strip("0.")} for side, levels in sides.items()}
    assert (rests, len(records) <= 40, len(of(frames, "l2update"))) == (whole, True, len(records))


def test_each_second_a_heartbeat_tells_the_newest_trade():
    frames, _ = told(3, "matches", "heartbeat")
    newest, expected = 0, []
    for frame in frames:
        if frame["type"] == "heartbeat":
            expected.append(newest)
        else:
            newest = frame["trade_id"]
    beats = [beat["last_trade_id"] for beat in of(frames, "heartbeat")]
    assert (beats, len(beats)) == (expected, 3)


def test_twenty_connections_at_once_are_admitted_and_then_eight_a_second():
    live = exchange()
    answers = [live.admit("/", START_NS) for _ in range(CONNECTS_AT_ONCE + 1)]
    later = [live.admit("/", START_NS + SECOND) for _ in range(9)]
    assert (answers[:-1], answers[-1].status) == ([None] * CONNECTS_AT_ONCE, 429)
    assert ([each is None for each in later], live.admit("/ws", START_NS).status) == ([True] * 8 + [False], 404)


def test_a_crossed_frame_has_a_bid_above_the_best_ask():
    live = Disturbed(exchange(), START_NS)
    live.strike(parse("crossed@1s"))
    session = subscribed(live, "level2_batch")
    live.advance(START_NS + 2 * SECOND)
    plain = exchange()
    other = subscribed(plain, "level2_batch")
    plain.advance(START_NS + 2 * SECOND)
    changed = [
        (json.loads(a.text), json.loads(b.text))
        for a, b in zip(session.outgoing, other.outgoing, strict=True)
        if a.text != b.text
    ]
    ((crossed, right),) = changed
    *rest, added = crossed["changes"]
    assert (rest, added[0], float(added[1]) > 61_000) == (right["changes"], "buy", True)
