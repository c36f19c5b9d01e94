"""What a client gets under each fault, set against what it would get without."""

import json

import pytest

from ingest.simulator.binance.exchange import Binance
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import BadFault, parse
from ingest.simulator.ledger import Struck
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.venue import CUT, Close

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND
TRADES = "md:{binance}:trades:BTC-USDT"
NAMES = "btcusdt@trade/ethusdt@trade/btcusdt@depth@100ms"
DEPTH = "/api/v3/depth?symbol=BTCUSDT"


def exchange(*faults: str) -> Disturbed:
    market = Market([listing("BTC/USDT"), listing("ETH/USDT")], rate=200, seed=1, start_ns=START_NS)
    disturbed = Disturbed(Binance(market, START_NS), START_NS)
    for fault in faults:
        disturbed.strike(parse(fault))
    return disturbed


def texts(session) -> list[bytes]:
    told = [frame.text for frame in session.outgoing]
    session.outgoing.clear()
    return told


def played(*faults: str, seconds: float = 5, step_ms: int = 5000) -> tuple[list[bytes], list[Struck]]:
    """The frames, and what of the faults is in the ledger."""
    live = exchange(*faults)
    session = live.connect(f"/stream?streams={NAMES}")
    entries = []
    for until_ms in range(step_ms, int(seconds * 1000) + 1, step_ms):
        entries += live.advance(START_NS + until_ms * 1_000_000)
    return texts(session), [entry for entry in entries if isinstance(entry, Struck)]


def of(name: str, frames: list[bytes]) -> list[bytes]:
    return [frame for frame in frames if frame.startswith(b'{"stream":"' + name.encode())]


def test_without_faults_it_says_what_its_dialect_says():
    alone = Binance(Market([listing("BTC/USDT"), listing("ETH/USDT")], rate=200, seed=1, start_ns=START_NS), START_NS)
    session = alone.connect(f"/stream?streams={NAMES}")
    alone.advance(START_NS + 5 * SECOND)
    assert played() == (texts(session), [])


def spoilt(fault: str) -> tuple[list[bytes], list[bytes], int]:
    """The trades of BTC/USDT with and without it, and where it hit. All else is as it was."""
    (frames, struck), (whole, _) = played(fault), played()
    trades, all_trades = of("btcusdt@trade", frames), of("btcusdt@trade", whole)
    assert [f for f in frames if f not in trades] == [f for f in whole if f not in all_trades]
    (hit,) = struck
    at = next(i for i, frame in enumerate(all_trades) if f'"t":{hit.s},'.encode() in frame)
    assert (hit.key, hit.at_ns >= START_NS + SECOND) == (TRADES, True)
    return trades, all_trades, at


def test_a_gap_is_an_event_that_is_recorded_and_not_sent():
    trades, whole, at = spoilt("gap:trades:BTC/USDT@1s")
    assert trades == [*whole[:at], *whole[at + 1 :]]


def test_a_duplicate_comes_twice():
    trades, whole, at = spoilt("duplicate:trades:BTC/USDT@1s")
    assert trades == [*whole[: at + 1], whole[at], *whole[at + 1 :]]


def test_neighbours_that_are_reordered_come_the_other_way_round():
    trades, whole, at = spoilt("reorder:trades:BTC/USDT@1s")
    assert trades == [*whole[:at], whole[at + 1], whole[at], *whole[at + 2 :]]


def test_the_last_of_all_is_not_held_back_for_ever():
    frames, (held, *_) = played("reorder:trades:BTC/USDT@1s", "silent:trades:BTC/USDT@1.001s/9s", step_ms=1)
    assert f'"t":{held.s},'.encode() in of("btcusdt@trade", frames)[-1]


def test_what_is_garbled_ends_in_the_middle():
    (frames, struck), (whole, _) = played("garble:trades:BTC/USDT@1s"), played()
    (half,) = set(frames) - set(whole)
    (original,) = set(whole) - set(frames)
    assert (half, struck[0].key, len(frames)) == (original[: len(original) // 2], TRADES, len(whole))


def test_a_crossed_frame_has_a_bid_above_the_best_ask():
    (frames, struck), (whole, _) = played("crossed@1s"), played()
    (crossed,) = set(frames) - set(whole)
    (original,) = set(whole) - set(frames)
    before, after = json.loads(original)["data"], json.loads(crossed)["data"]
    live = exchange()
    live.advance(struck[0].at_ns)
    best = json.loads(live.get(DEPTH, struck[0].at_ns).body)["asks"][0][0]
    added = after["b"].pop()
    assert (before, struck[0].s, added[0] > best) == (after, str(after["u"]), True)


def test_a_topic_that_is_silent_for_a_while_tells_nothing_and_the_others_all():
    (frames, struck), (whole, _) = played("silent:trades:BTC/USDT@1s/2s"), played()
    lost = {f'"t":{each.s},' for each in struck}
    assert frames == [f for f in whole if not any(s.encode() in f and b"btcusdt@trade" in f for s in lost)]
    assert (len(lost) > 10, {each.at_ns <= START_NS + 3 * SECOND for each in struck}) == (True, {True})


def test_what_stalls_comes_later_and_whole():
    live = exchange("stall@1s/2s")
    session = live.connect(f"/stream?streams={NAMES}")
    live.advance(START_NS + SECOND)
    before = texts(session)
    live.advance(START_NS + 3 * SECOND - 1)
    meanwhile = texts(session)
    live.advance(START_NS + 5 * SECOND)
    assert (meanwhile, [*before, *texts(session)]) == ([], played()[0])


def test_dropped_connections_end_without_a_word_and_new_ones_do_not():
    live = exchange("drop@1s")
    first = live.connect("/stream")
    live.advance(START_NS + SECOND)
    second = live.connect("/stream")
    live.advance(START_NS + 2 * SECOND)
    assert (first.ending, second.ending) == (Close(CUT, ""), None)


def test_a_half_open_connection_stays_and_is_dead():
    live = exchange("half-open@1s")
    dead = live.connect("/stream?streams=btcusdt@trade")
    live.advance(START_NS + SECOND)
    dead.outgoing.clear()
    quick = live.connect("/stream?streams=btcusdt@trade")
    answers = [dead.receive('{"method":"LIST_SUBSCRIPTIONS","id":1}', START_NS) for _ in range(9)]
    live.advance(START_NS + 4 * SECOND)
    assert (dead.mute, dead.ending, texts(dead), set(answers)) == (True, None, [], {None})
    assert len(texts(quick)) > 0


def test_a_notice_is_said_to_all_connections():
    live = exchange("notice@1s")
    sessions = [live.connect("/stream") for _ in range(2)]
    live.advance(START_NS + 2 * SECOND)
    said = b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":%d}}' % ((START_NS + SECOND) // 1_000_000)
    assert [texts(session) for session in sessions] == [[said], [said]]


def test_in_maintenance_connections_are_closed_and_nothing_is_answered():
    live = exchange("maintenance@1s/5s")
    session = live.connect("/stream")
    live.advance(START_NS + SECOND)
    down = (session.ending, live.admit("/stream", START_NS).status, live.get(DEPTH, START_NS).status)
    live.advance(START_NS + 6 * SECOND)
    assert down == (Close(1012, "service restart"), 503, 503)
    assert (live.admit("/stream", START_NS), live.get(DEPTH, START_NS).status) == (None, 200)


def test_a_refused_topic_refuses_its_whole_batch_and_no_other():
    live = exchange("refuse:trades:BTC/USDT@1s/5s")
    session = live.connect("/stream")
    said = []
    for at_s in (0, 1, 7):
        live.advance(START_NS + at_s * SECOND)
        for names in ('"btcusdt@trade","ethusdt@trade"', '"ethusdt@ticker"'):
            session.receive(f'{{"method":"SUBSCRIBE","params":[{names}],"id":{at_s}}}', START_NS + at_s * SECOND)
        said.append([("error" in json.loads(text)) for text in texts(session) if b'"id"' in text])
    assert said == [[False, False], [True, False], [False, False]]


def test_what_lasts_no_time_is_over_at_once():
    live = exchange("refuse@0s/0s", "stall@0s/0s", "maintenance@0s/0s", "series@0s/9s")
    live.advance(START_NS)
    session = live.connect("/stream")
    session.receive('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}', START_NS)
    live.advance(START_NS + SECOND)
    assert texts(session)[0] == b'{"result":null,"id":1}'


@pytest.mark.parametrize(("kind", "status"), [("rest-429", 429), ("rest-418", 418), ("rest-500", 500)])
def test_a_request_fails_once_or_as_long_as_is_said(kind: str, status: int):
    live = exchange(f"{kind}@1s", f"{kind}:orderbook:BTC/USDT@2s/3s")
    answers = []
    for at_s in (0, 1, 1, 2, 2, 5):
        now_ns = START_NS + at_s * SECOND
        live.advance(now_ns)
        answers.append([live.get(target, now_ns) for target in (DEPTH, "/api/v3/ping")])
    assert [[answer.status for answer in pair] for pair in answers] == [
        [200, 200],
        [status, 200],
        [200, 200],
        [status, 200],
        [status, 200],
        [200, 200],
    ]
    waits = dict(answers[3][0].headers).get("Retry-After")
    assert waits == (None if status == 500 else "3")


def test_a_slow_answer_is_the_right_one_later():
    live, other = exchange("rest-slow@0s/7s"), exchange()
    live.advance(START_NS)
    answers = [live.get(DEPTH, START_NS) for _ in range(2)]
    right = other.get(DEPTH, START_NS)
    assert [(answer.body, answer.after_s) for answer in answers] == [(right.body, 7), (right.body, 0)]


def test_a_stale_snapshot_is_what_the_book_was():
    live = exchange("stale-snapshot@1s")
    at_first = live.get(DEPTH, START_NS)
    live.advance(START_NS + 2 * SECOND)
    stale, fresh = live.get(DEPTH, START_NS), live.get(DEPTH, START_NS)
    assert (stale, fresh.status, fresh == at_first) == (at_first, 200, False)


def test_ids_begin_anew_from_lower_ones_and_go_on_by_one():
    frames, struck = played("series@2s")
    ids = [json.loads(frame)["data"]["t"] for frame in of("btcusdt@trade", frames)]
    depths = [json.loads(frame)["data"] for frame in of("btcusdt@depth", frames)]
    breaks = [i for i in range(1, len(ids)) if ids[i] != ids[i - 1] + 1]
    torn = [i for i in range(1, len(depths)) if depths[i]["U"] != depths[i - 1]["u"] + 1]
    assert (len(breaks), ids[breaks[0]] < ids[0], len(torn), depths[torn[0]]["U"] < depths[0]["U"]) == (
        1,
        True,
        1,
        True,
    )
    assert [each.fault for each in struck] == ["series@2s/0s"]


FAULTS = ("gap:trades@1s", "garble:orderbook@1.5s/1s", "reorder@2s", "stall@2.5s/0.7s", "series@3s", "notice@4s")


def test_the_same_faults_say_the_same_bytes_however_time_is_cut():
    def told(step_ms: int) -> tuple[list[bytes], list[tuple[str, str]]]:
        frames, struck = played(*FAULTS, step_ms=step_ms)
        return frames, [(hit.key, hit.s) for hit in struck]

    assert told(5000) == told(5) == told(20)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("gap:trades:SOL/USDT", "there are channels candles-12h.* of symbols BTC/USDT, ETH/USDT"),
        ("gap:trade:BTC/USDT", "there are channels candles-12h.*, trades of"),
        ("drop:trades", "drop is of whole connections"),
        ("series::BTC/USDT", "series is of all ids"),
        ("checksum", "no checksums in this dialect"),
        ("crossed:trades", "crossed is of channel orderbook, not of trades"),
    ],
)
def test_what_cannot_go_wrong_here_is_refused(fault: str, why: str):
    with pytest.raises(BadFault, match=why):
        exchange(fault)
