"""The oracle on streams that were spoilt in one way each."""

import pytest
from msgspec import structs

from ingest.contract.codec import decode, encode
from ingest.contract.events import Candle, Delta, Gap, Snapshot, Status, Ticker, Trade
from ingest.simulator import ledger
from tests.chaos.chronicle import Chapter, Past
from tests.chaos.exchange import Depth, Truth
from tests.chaos.losses import lost_range
from tests.chaos.oracle import judge

COLUMNS = ("lost", "doubled", "inverted", "unfounded", "wrong")
TRADES, BOOK, TICKER, CANDLES = (
    f"md:{{binance}}:{channel}:BTC-USDT" for channel in ("trades", "orderbook", "ticker", "candles-1s")
)
SECOND_NS = 1_000_000_000


def entry(s, body, *, epoch=None, late=False, n=None, g="aa"):
    kind = type(body).__name__.lower()
    return {"type": kind, "s": str(s), "data": encode(body), "epoch": epoch, "late": late or None, "n": n, "g": g}


def raw(entries):
    """As Redis gives them; numbered in order unless they say otherwise."""
    return [
        (
            b"%d-0" % n,
            {
                name.encode(): value if isinstance(value, bytes) else str(value).encode()
                for name, value in {"v": 1, **fields, "n": fields["n"] or n}.items()
                if value is not None
            },
        )
        for n, fields in enumerate(entries, 1)
    ]


def found(key, entries, truth, registered=(), witnessed=()):
    """The columns that are not 0."""
    verdict = judge(key, Past([Chapter(raw(entries), registered)], witnessed), [truth])
    return {column: count for column in COLUMNS if (count := getattr(verdict, column))}


def lost(first, last):
    return entry(f"session.{first}", Gap(reason="test", first_id=str(first), last_id=str(last)))


def trade(number, **others):
    return entry(number, Trade(price="1.0", amount="2.0", side="buy", received_ns=1, exchange_ns=number), **others)


TRADED = Truth(
    [
        ledger.Trade(key=TRADES, s=str(i), first=str(i), price="1.0", amount="2.0", side="buy", exchange_ns=i)
        for i in range(1, 10)
    ]
)
ALL = [trade(i) for i in range(1, 10)]
LOST_4_TO_6 = [*ALL[:3], lost(4, 6), *ALL[6:]]


@pytest.mark.parametrize(
    ("entries", "registered", "columns"),
    [
        pytest.param(ALL, [], {}, id="all there"),
        pytest.param(LOST_4_TO_6, [(4, 6)], {}, id="a loss that is said"),
        pytest.param([*LOST_4_TO_6, trade(5, late=True)], [(4, 4), (6, 6)], {}, id="a late fill"),
        pytest.param([*ALL[:3], *ALL[6:]], [], {"lost": 3}, id="a loss that is not said"),
        pytest.param(ALL[1:], [], {"lost": 1}, id="the first one lost"),
        pytest.param([*ALL, ALL[3]], [], {"doubled": 1}, id="one twice"),
        pytest.param([*ALL[:3], ALL[4], ALL[3], *ALL[5:]], [], {"inverted": 1}, id="two turned round"),
        pytest.param([*ALL, lost(10, 12)], [(10, 12)], {"unfounded": 1}, id="a loss of what never was"),
        pytest.param([*ALL[:3], lost(4, 6), *ALL[3:]], [(4, 6)], {"unfounded": 1}, id="a loss of what is there"),
        pytest.param([*ALL[:3], lost(4, 7), *ALL[6:]], [(4, 7)], {"unfounded": 1}, id="a loss that says too much"),
        pytest.param([*ALL[:3], lost(4, 5), *ALL[6:]], [(4, 5)], {"lost": 1}, id="a loss that says too little"),
        pytest.param(
            [*ALL[:3], lost(4, 6), lost(5, 6), *ALL[6:]], [(4, 6), (5, 6)], {"unfounded": 1}, id="a loss said twice"
        ),
        pytest.param(LOST_4_TO_6, [], {"unfounded": 1}, id="a loss that the server does not keep"),
        pytest.param([*ALL, trade(10)], [], {"wrong": 1}, id="one that was never emitted"),
        pytest.param([*ALL[:-1], trade(9, n=11)], [], {"wrong": 1}, id="a hole in the numbers"),
    ],
)
def test_of_trades_it_finds(entries, registered, columns):
    assert found(TRADES, entries, TRADED, registered=registered) == columns


@pytest.mark.parametrize(
    ("begins", "columns"),
    [
        pytest.param(Gap(reason="rollback", after_g="aa", after_n=4), {}, id="said"),
        pytest.param(Gap(reason="rollback", after_g="aa", after_n=3), {"wrong": 1}, id="of another place"),
        pytest.param(Gap(reason="rollback", after_g="cc", after_n=4), {"wrong": 1}, id="of another generation"),
        pytest.param(None, {"wrong": 1}, id="not said"),
    ],
)
def test_a_generation_begins_with_the_word_behind_what(begins, columns):
    told = [entry("y.1", begins)] if begins else []
    later = [{**said, "g": "bb", "n": n} for n, said in enumerate([*told, *ALL[4:]], 1)]
    assert found(TRADES, [*ALL[:4], *later], TRADED) == columns


def test_a_number_that_means_another_event_than_before_is_found():
    assert found(TRADES, ALL, TRADED, witnessed=raw([trade(1), trade(3)])) == {"wrong": 1}


def traded(ids):
    """As an exchange said them, and as a stream has them."""
    said = [structs.replace(TRADED.emitted[0], s=str(i), first=str(i), exchange_ns=i) for i in ids]
    return Truth(said), [trade(i) for i in ids]


def anew(name, lost_from=None, to_ns=None):
    first_id = lost_from and str(lost_from)
    return entry(name, Gap(reason="series_restart", first_id=first_id, to_ns=to_ns, after_g="aa", after_n=1))


def rollback(name):
    return entry(name, Gap(reason="rollback", after_g="aa", after_n=1))


OLD, OLD_SAID = traded(range(9001, 9010))
NEW, NEW_SAID = traded(range(1, 4))
THIRD, THIRD_SAID = traded(range(100, 103))


@pytest.mark.parametrize(
    ("told", "columns"),
    [
        pytest.param([*OLD_SAID, *NEW_SAID], {"inverted": 3, "wrong": 1}, id="not said"),
        pytest.param([*OLD_SAID, anew("x.1", 9010), *NEW_SAID], {}, id="said"),
        pytest.param([*OLD_SAID[:5], anew("x.1", 9006), *NEW_SAID], {}, id="the end unheard, and from where on"),
        pytest.param([*OLD_SAID[:5], anew("x.1"), *NEW_SAID], {"lost": 4, "unfounded": 1}, id="the end without a word"),
        pytest.param([*OLD_SAID[:5], anew("x.1", 9007), *NEW_SAID], {"lost": 1, "unfounded": 1}, id="too little"),
        pytest.param([*OLD_SAID, anew("x.1", 9006), *NEW_SAID], {"unfounded": 1}, id="the end that is there"),
        pytest.param([*OLD_SAID[:5], *OLD_SAID[6:], anew("x.1", 9010), *NEW_SAID], {"lost": 1}, id="a part unheard"),
        pytest.param(OLD_SAID, {"wrong": 1}, id="nothing of the new one"),
        pytest.param([*OLD_SAID, anew("x.1", 9010), *NEW_SAID[1:]], {"lost": 1}, id="its first one lost"),
        pytest.param(
            [*OLD_SAID, anew("x.1", 9010), *NEW_SAID[:1], anew("x.2", 2), *NEW_SAID[1:]],
            {"unfounded": 1},
            id="begun twice",
        ),
    ],
)
def test_after_the_exchange_began_anew_the_stream_has_to_say_so(told, columns):
    assert judged(TRADES, [told], [OLD, NEW]) == columns


def judged(key, chapters, lives):
    """What is wrong with a stream that was taken away, and begun again, between its chapters."""
    kept = [lost for told in chapters for said in told if (lost := lost_in(said))]
    past = Past([Chapter(raw(told), kept if told is chapters[-1] else None) for told in chapters])
    verdict = judge(key, past, lives)
    return {column: count for column in COLUMNS if (count := getattr(verdict, column))}


def lost_in(said):
    """The range of a gap."""
    return lost_range(decode(b"1-0", dict(raw([said])[0][1])))


NEW_PART = [*OLD_SAID, anew("x.1", 9010), *NEW_SAID[:2]]
NEXT_UNHEARD = [*OLD_SAID, anew("x.2", 9010), *THIRD_SAID]


@pytest.mark.parametrize(
    ("chapters", "columns"),
    [
        pytest.param([[*OLD_SAID, anew("x.1", 9010), *THIRD_SAID]], {"wrong": 1}, id="passed over"),
        pytest.param(
            [[*OLD_SAID, rollback("y.1"), anew("x.1", 9010), *THIRD_SAID]], {"wrong": 1}, id="although Redis forgot"
        ),
        pytest.param(
            [OLD_SAID, [rollback("y.1"), anew("x.1", 9010), *THIRD_SAID]], {"wrong": 1}, id="although it forgot all"
        ),
        pytest.param([[rollback("y.1"), *OLD_SAID, *THIRD_SAID]], {"wrong": 2, "inverted": 3}, id="no word of any"),
        pytest.param(
            [NEW_PART, [rollback("y.1"), *NEXT_UNHEARD]], {"lost": 1}, id="passed over once it was said in part"
        ),
        pytest.param([[*NEW_PART, anew("x.2", 3), *THIRD_SAID]], {}, id="its end unheard"),
        pytest.param([[*NEW_PART, anew("x.2", 9010), *THIRD_SAID]], {"lost": 1, "unfounded": 1}, id="and no other end"),
    ],
)
def test_a_series_that_came_and_went_is_missed_whatever_redis_forgot(chapters, columns):
    assert judged(TRADES, chapters, [OLD, NEW, THIRD]) == columns


@pytest.mark.parametrize(
    ("told", "columns"),
    [
        pytest.param([anew("x.1", 9010, to_ns=3), *THIRD_SAID], {}, id="said"),
        pytest.param([anew("x.1", 9010, to_ns=2), *THIRD_SAID], {"wrong": 1}, id="until too early"),
        pytest.param([anew("x.1", 9010, to_ns=3), *THIRD_SAID[1:]], {"lost": 1}, id="of another one"),
        pytest.param(
            [anew("x.1", 9010), NEW_SAID[0], anew("x.2", 2, to_ns=4), *THIRD_SAID], {}, id="heard in part, and said"
        ),
        pytest.param(
            [anew("x.1", 9010), NEW_SAID[1], anew("x.2", 3, to_ns=4), *THIRD_SAID], {"lost": 1}, id="heard in part"
        ),
    ],
)
def test_or_if_it_is_said_until_when_one_may_have_come_and_gone(told, columns):
    assert judged(TRADES, [[*OLD_SAID, *told]], [OLD, NEW, THIRD]) == columns


def delta(last, price="100", amount="1", epoch=1):
    return entry(last, Delta(bids=((price, amount),), asks=(), received_ns=1), epoch=epoch)


def snapshot(last, *bids, epoch=1):
    return entry(last, Snapshot(bids=bids, asks=(("101", "9"),), received_ns=1), epoch=epoch)


# Each delta covers three ids, and sets the amount at 100 to its last id.
CHANGED = Truth(
    [
        ledger.Delta(key=BOOK, s=str(last), first=str(last - 2), bids=(("100", str(last)),), asks=())
        for last in (3, 6, 9, 12, 15)
    ],
    depth=Depth(2, {"99": "5"}, {"101": "9"}),
)
D3, D6, D9, D12, D15 = (delta(last, amount=str(last)) for last in (3, 6, 9, 12, 15))
START = snapshot(1, ("99", "5"))


def whole(last):
    return snapshot(last, ("99", "5"), ("100", str(last)), epoch=2)


ANEW = [snapshot(10, ("99", "5"), ("100", "9"), epoch=2), *(delta(i, amount=str(i), epoch=2) for i in (12, 15))]


@pytest.mark.parametrize(
    ("entries", "registered", "columns"),
    [
        pytest.param([START, D3, D6, D9, D12, D15], [], {}, id="all there"),
        pytest.param([START, D3, lost(4, 10), *ANEW], [(4, 10)], {}, id="a loss that is said"),
        pytest.param([START, D3, *ANEW], [], {"lost": 2}, id="a loss that is not said"),
        pytest.param([START, D3, D6, D12, D15], [], {"lost": 1}, id="a delta lost"),
        pytest.param([START, D3, D6, D9, lost(10, 10), *ANEW], [(10, 10)], {"unfounded": 1}, id="nothing was lost"),
        pytest.param([START, D3, lost(5, 10), *ANEW], [(5, 10)], {"unfounded": 1}, id="says too little"),
        pytest.param([START, D3, D6, lost(7, 10), D12, D15], [(7, 10)], {"unfounded": 1, "wrong": 2}, id="no snapshot"),
        pytest.param([START, D3, delta(6, amount="7"), D9, D12, D15], [], {"wrong": 2}, id="a level altered"),
        pytest.param(
            [snapshot(1, ("98", "5")), D3, D6, D9, D12, D15], [], {"wrong": 1}, id="a snapshot that is not the book"
        ),
        pytest.param([START, D3, D6, D6, D9, D12, D15], [], {"doubled": 1}, id="one twice"),
    ],
)
def test_of_a_book_it_finds(entries, registered, columns):
    assert found(BOOK, entries, CHANGED, registered=registered) == columns


OLDER = Truth(
    [ledger.Delta(key=BOOK, s=str(last), first=str(last), bids=(), asks=(("101", "9"),)) for last in range(901, 905)],
    depth=Depth(900, {"99": "5"}, {"101": "9"}),
)
OLDER_SAID = [snapshot(901, ("99", "5"))]


@pytest.mark.parametrize(
    ("chapters", "columns"),
    [
        pytest.param(
            [
                [*OLDER_SAID, anew("x.1", 902), START, D3],
                [rollback("y.1"), anew("x.2", 902), *ANEW],
            ],
            {},
            id="a snapshot begins it again after Redis forgot it",
        ),
        pytest.param(
            [
                [*OLDER_SAID, anew("x.1", 902), START, D3, D6],
                [rollback("y.1"), *OLDER_SAID, anew("x.1", 902), START, D3, D6, D9, D12, D15],
            ],
            {},
            id="all of it is said again",
        ),
        pytest.param(
            [
                [*OLDER_SAID, anew("x.1", 902), START, D3, D6],
                [rollback("y.1"), *OLDER_SAID, anew("x.1", 902), START, D3, D6, D12, D15],
            ],
            {"lost": 1},
            id="all of it, but for one that is lost",
        ),
        pytest.param(
            [[*OLDER_SAID, anew("x.1", 902), START, D3, anew("x.2", 4), *ANEW]],
            {"lost": 2, "unfounded": 1},
            id="not while Redis did not forget",
        ),
        pytest.param(
            [[*OLDER_SAID, anew("x.1", 902), START, D3, rollback("y.1"), *ANEW]],
            {"lost": 2},
            id="nor where it is not begun again",
        ),
    ],
)
def test_of_a_book_that_begins_twice_what_redis_forgot_is_told_by_that(chapters, columns):
    assert judged(BOOK, chapters, [OLDER, CHANGED]) == columns


PASSED = Truth(
    [ledger.Delta(key=BOOK, s=str(last), first=str(last), bids=(), asks=(("101", "9"),)) for last in range(501, 505)],
    depth=Depth(500, {"99": "5"}, {"101": "9"}),
)
LEVEL = Delta(bids=(), asks=(("101", "9"),), received_ns=1)
SO_FAR = [*OLDER_SAID, *(entry(last, LEVEL, epoch=1) for last in (902, 903, 904))]


@pytest.mark.parametrize(
    ("told", "columns"),
    [
        pytest.param([*SO_FAR, anew("x.1", 905), START, D3, D6, D9, D12, D15], {}, id="passed over"),
        pytest.param(SO_FAR, {"wrong": 2}, id="but not if none is said to have begun"),
        pytest.param([*SO_FAR, anew("x.1", 905), START, D3, D6, D12, D15], {"lost": 1}, id="nor a part of the next"),
        pytest.param(
            [*SO_FAR, anew("x.1", 905), snapshot(501, ("99", "5")), anew("x.2", 502), START, D3, D6, D9, D12, D15],
            {},
            id="of one that has begun, what it is said to end before",
        ),
        pytest.param(
            [*SO_FAR, anew("x.1", 905), snapshot(501, ("99", "5")), anew("x.2"), START, D3, D6, D9, D12, D15],
            {"lost": 3, "unfounded": 1},
            id="and nothing without that",
        ),
    ],
)
def test_a_book_that_ended_before_it_was_believed_is_passed_over(told, columns):
    assert judged(BOOK, [told], [OLDER, PASSED, CHANGED]) == columns


@pytest.mark.parametrize(
    ("chapters", "columns"),
    [
        pytest.param([[START, D3, D6, D9], [lost(7, 10), *ANEW]], {}, id="of what was taken away"),
        pytest.param([[START, D3, D6, D9], [lost(8, 10), *ANEW]], {}, id="of a part of that"),
        pytest.param([[START, D3, D6], [lost(8, 10), *ANEW]], {"unfounded": 1}, id="of less than is lost"),
        pytest.param(
            [[START, D3, D6, D9, rollback("y.1"), lost(7, 10), *ANEW]], {"unfounded": 2}, id="of what is there"
        ),
    ],
)
def test_a_gap_of_a_book_reaches_back_only_to_what_was_taken_away(chapters, columns):
    assert judged(BOOK, chapters, [CHANGED]) == columns


def ticker(s):
    return entry(s, Ticker(received_ns=1, bid="1", bid_amount="2"))


TICKED = Truth([ledger.Ticker(key=TICKER, s=f"book.{i}", first="", bid="1", bid_amount="2") for i in range(1, 6)])


def stale(i):
    return entry(f"session.{i}", Status(state="stale", reason="test"))


@pytest.mark.parametrize(
    ("said", "columns"),
    [
        pytest.param([1, 2, 3, 4, 5], {}, id="all there"),
        pytest.param([3, 4, 5], {}, id="not the first ones"),
        pytest.param([1, stale(1), 3, 4, 5], {}, id="a silence that is said"),
        pytest.param([1, 2, stale(1), 3, 4, 5], {}, id="silent while nothing was said"),
        pytest.param([1, 3, 4, 5], {"lost": 1}, id="a silence that is not said"),
        pytest.param([1, ticker("book~1.2"), ticker("book~1.3"), 4, 5], {"inverted": 2}, id="behind a newer series"),
        pytest.param([stale(1), 1, 3, 4, 5], {"lost": 1}, id="a silence said of another time"),
        pytest.param([1, stale(1), 3, 5], {"lost": 1}, id="one of two silences"),
        pytest.param([1, stale(1), stale(2), 3, 4, 5], {"wrong": 1}, id="a silence said twice"),
        pytest.param([2, 1, 3, 4, 5], {"inverted": 1}, id="two turned round"),
        pytest.param([1, 1, 2, 3, 4, 5], {"doubled": 1, "inverted": 1}, id="one twice"),
        pytest.param([1, 2, 3, 4, 5, 6], {"wrong": 1}, id="one that was never emitted"),
        pytest.param([1, 2, 3], {"lost": 1}, id="not the last one"),
    ],
)
def test_of_tickers_it_finds(said, columns):
    entries = [ticker(f"book.{one}") if isinstance(one, int) else one for one in said]
    assert found(TICKER, entries, TICKED) == columns


def test_what_a_fault_kept_back_may_be_missing_and_what_its_exchange_said_too_late():
    told = [ticker(f"book.{i}") for i in (1, 2, 4, 5)]
    kept_back = structs.replace(TICKED, unsent={"book.3"})
    first, second, third, *others = TICKED.emitted
    too_late = structs.replace(TICKED, emitted=[first, second, others[0], third, others[1]])
    another = structs.replace(TICKED, unsent={"book.4"})
    assert [found(TICKER, told, truth) for truth in (kept_back, too_late, another)] == [{}, {}, {"lost": 1}]


def test_what_one_alone_was_told_on_subscribing_may_be_missing_and_what_all_were_told_may_not():
    told = [ticker(f"book.{i}") for i in (1, 2, 4, 5)]
    first, second, third, *others = TICKED.emitted
    answer = structs.replace(third, answer=True)
    truths = [Truth([first, second, *thirds, *others]) for thirds in ([answer], [answer, third], [third])]
    assert [found(TICKER, told, truth) for truth in truths] == [{}, {"lost": 1}, {"lost": 1}]


def test_a_silence_is_one_of_all_sources():
    both = Truth([record for source in ("book", "stats") for record in of_source(source)])
    silent = [ticker("book.1"), ticker("stats.1"), stale(1), ticker("book.5"), ticker("stats.4"), ticker("stats.5")]
    unsaid = [*silent[:3], ticker("book.4"), ticker("stats.2"), ticker("stats.5"), ticker("book.5")]
    assert (found(TICKER, silent, both), found(TICKER, unsaid, both)) == ({}, {"lost": 1})


def of_source(source):
    return [ledger.Ticker(key=TICKER, s=f"{source}.{i}", first="", bid="1", bid_amount="2") for i in range(1, 6)]


PRICES = {"open": "1", "high": "2", "low": "1", "close": "2", "volume": "3"}


def candle(second, *, late=False, **others):
    body = Candle(open_ns=second * SECOND_NS, closed=True, received_ns=1, **{**PRICES, **others})
    return entry(f"{second * SECOND_NS}.closed", body, late=late)


def span(first, last):
    gap = Gap(reason="test", from_ns=first * SECOND_NS, to_ns=(last + 1) * SECOND_NS - 1)
    return entry(f"session.{first}", gap)


CLOSED = Truth(
    candles=[
        ledger.Candle(key=CANDLES, s="", first="", open_ns=second * SECOND_NS, closed=True, **PRICES)
        for second in range(1, 6)
    ]
)


def seconds(first, last):
    """As the server keeps them, in ms."""
    return first * 1000, last * 1000 + 999


@pytest.mark.parametrize(
    ("entries", "registered", "columns"),
    [
        pytest.param([candle(i) for i in (2, 3, 4, 5)], [], {}, id="all since the first"),
        pytest.param([candle(i) for i in (2, 4, 5)], [], {"lost": 1}, id="one lost"),
        pytest.param(
            [candle(2), candle(3), candle(3), candle(4), candle(5)], [], {"doubled": 1, "inverted": 1}, id="twice"
        ),
        pytest.param([candle(2), candle(3, close="9"), candle(4), candle(5)], [], {"wrong": 1}, id="one altered"),
        pytest.param([candle(2), span(3, 4), candle(5)], [seconds(3, 4)], {}, id="two lost, which is said"),
        pytest.param(
            [candle(2), span(3, 4), candle(5), candle(3, late=True)], [seconds(4, 4)], {}, id="of which one came late"
        ),
        pytest.param([candle(2), span(3, 3), candle(5)], [seconds(3, 3)], {"lost": 1}, id="a gap that says too little"),
        pytest.param(
            [candle(2), candle(3), span(3, 4), candle(5)],
            [seconds(3, 4)],
            {"unfounded": 1},
            id="a gap that says too much",
        ),
        pytest.param(
            [candle(2), span(3, 4), candle(5)], [], {"unfounded": 1}, id="a gap that the server does not keep"
        ),
        pytest.param(
            [candle(2), span(3, 4), candle(5), candle(3, late=True)],
            [seconds(3, 4)],
            {"unfounded": 1},
            id="or keeps although one came late",
        ),
    ],
)
def test_of_candles_it_finds(entries, registered, columns):
    assert found(CANDLES, entries, CLOSED, registered=registered) == columns


def test_a_gap_may_have_one_of_a_chapter_that_was_taken_away_within_it():
    before = Chapter(raw([START, D3, D6, lost(7, 9), whole(9)]), [(7, 9)])
    behind = Chapter(raw([lost(4, 12), whole(12), delta(15, amount="15", epoch=2)]), [(4, 12)])
    verdict = judge(BOOK, Past([before, behind]), [CHANGED])
    assert (verdict.good, verdict.words) == (True, ())


BEGUN_AGAIN = [rollback("y.1"), snapshot(3, ("99", "5"), ("100", "3")), D6]


@pytest.mark.parametrize(("first", "unfounded"), [(7, 0), (8, 1)])
def test_a_gap_stands_behind_what_was_said_once_more_after_redis_forgot_it(first, unfounded):
    before = Chapter(raw([START, D3, D6]), [])
    said = [*BEGUN_AGAIN, lost(first, 12), whole(12), delta(15, amount="15", epoch=2)]
    assert judge(BOOK, Past([before, Chapter(raw(said), [(first, 12)])]), [CHANGED]).unfounded == unfounded
