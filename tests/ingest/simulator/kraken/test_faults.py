"""The faults that need the dialect; all others are the same for every one."""

import json

from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import parse
from ingest.simulator.kraken.exchange import Kraken
from ingest.simulator.ledger import Struck
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import Close

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND
BOOK = {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}}


def exchange(*faults: str) -> Disturbed:
    live = Disturbed(Kraken(Market([listing("BTC/USD")], rate=200, seed=1, start_ns=START_NS), START_NS), START_NS)
    for fault in faults:
        live.strike(parse(fault))
    return live


def played(*faults: str) -> tuple[list[bytes], list[Struck]]:
    """The frames of a book, and what of the faults is in the ledger."""
    live = exchange(*faults)
    session = live.connect("/v2")
    session.receive(json.dumps(BOOK), START_NS)
    live.advance(START_NS)
    entries = live.advance(START_NS + 5 * SECOND)
    frames = [frame.text for frame in session.outgoing if frame.text.startswith(b'{"channel":"book"')]
    return frames, [entry for entry in entries if isinstance(entry, Struck)]


def changed(*faults: str) -> tuple[dict, dict, Struck]:
    """The entry that was changed, as it would be and as it is."""
    (frames, (hit,)), (whole, _) = played(*faults), played()
    (other,), (original,) = set(frames) - set(whole), set(whole) - set(frames)
    return json.loads(original)["data"][0], json.loads(other)["data"][0], hit


def test_a_wrong_checksum_is_wrong_and_nothing_else_is():
    right, wrong, hit = changed("checksum@1s")
    assert wrong == {**right, "checksum": (right["checksum"] + 1) % (1 << 32)}
    assert hit.key == "md:{kraken}:orderbook:BTC-USD"


def test_a_crossed_frame_has_a_bid_above_the_best_ask():
    right, crossed, _ = changed("crossed@1s")
    added, *bids = crossed["bids"]
    assert ({**crossed, "bids": bids}, added["price"] > 61_000) == (right, True)


def test_before_it_goes_down_it_says_so_and_then_it_does():
    live = exchange("notice@1s", "maintenance@2s/5s")
    session = live.connect("/v2")
    live.advance(START_NS + 3 * SECOND)
    states = [json.loads(frame.text)["data"][0]["system"] for frame in session.outgoing]
    answer = live.get("/0/public/Time", START_NS)
    assert (states, session.ending) == (["online", "maintenance"], Close(1013, "Market data unavailable"))
    assert (answer.status, answer.body) == (503, b'{"error":["EService:Unavailable"]}')


def test_a_refused_symbol_refuses_no_other():
    live = Disturbed(
        Kraken(Market([listing("BTC/USD"), listing("ETH/USD")], rate=0, seed=1, start_ns=START_NS), START_NS), START_NS
    )
    live.strike(parse("refuse:orderbook:BTC/USD@0s/5s"))
    live.advance(START_NS)
    session = live.connect("/v2")
    session.receive('{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","ETH/USD"]}}', START_NS)
    answers = [json.loads(frame.text) for frame in session.outgoing][1:]
    assert [(answer["success"], answer.get("error")) for answer in answers] == [
        (False, "EService:Unavailable"),
        (True, None),
    ]
