"""Books against the exchange's best prices."""

from bisect import bisect_right
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.keys import StreamKey
from ingest.exchanges.best_audit import AGAIN_NS, AROUND_NS, EVERY_NS, Best, BestAudit
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.topic import BestWanted

KEY = StreamKey("coinbase", "orderbook", "BTC/USD")
S = 1_000_000_000
OURS, OTHER = Best(10, 11), Best(10, 12)


def begun():
    audit = BestAudit(KEY, on=True)
    audit.begin(0)
    return audit


def look(audit, theirs, ours=OURS):
    """One look, from its beginning to its end: what comes of it, and when the next is due."""
    audit.wants(ours, audit.due())
    asked_ns = audit.due()
    assert audit.wants(ours, asked_ns) == [BestWanted()]
    audit.answered(theirs, asked_ns)
    judged_ns = audit.due()
    return audit.doubt(judged_ns), audit.due() - judged_ns


def test_three_misses_in_a_row_are_a_doubt_and_one_that_fits_is_none():
    audit = begun()
    found = [look(audit, theirs) for theirs in (OTHER, OTHER, OURS, OTHER, OTHER, OTHER)]
    reason = "REST has 10 and 12 for the best prices, and had others than ours before"
    missed, fits = (None, AGAIN_NS), (None, EVERY_NS)
    assert found == [missed, missed, fits, missed, missed, (reason, AGAIN_NS)]


def test_what_was_ours_within_a_second_fits_and_what_lies_between():
    audit = begun()
    audit.wants(Best(7, 8), audit.due())
    audit.wants(Best(7, 8), audit.due())
    audit.answered(Best(9, 10), 500 * S)
    audit.saw(Best(10, 11))
    assert (audit.due(), audit.doubt(500 * S), audit.doubt(501 * S), audit.watching) == (501 * S, None, None, False)
    assert audit.due() == 501 * S + EVERY_NS


def test_no_answer_is_no_miss():
    audit = begun()
    for _ in range(3):
        audit.wants(OURS, audit.due())
        audit.wants(OURS, audit.due())
        audit.failed(1000 * S)
    assert (audit.due(), audit.doubt(NEVER - 1)) == (1000 * S + EVERY_NS, None)


def test_a_book_that_is_not_live_or_not_audited_wants_nothing():
    ended, off = begun(), BestAudit(KEY, on=False)
    ended.end()
    off.begin(0)
    ended.answered(OTHER, 0)
    assert (ended.due(), off.due(), ended.watching) == (NEVER, NEVER, False)


def test_books_are_looked_at_apart():
    audits = [BestAudit(StreamKey("coinbase", "orderbook", symbol), on=True) for symbol in ("BTC/USD", "ETH/USD")]
    for audit in audits:
        audit.begin(0)
    first, second = (audit.due() for audit in audits)
    assert first != second
    assert max(first, second) < EVERY_NS


def test_an_empty_side_fits_an_empty_side():
    assert look(begun(), Best(-inf, 11), Best(-inf, 11)) == (None, EVERY_NS)


prices = st.integers(1, 20)
walks = st.lists(
    st.tuples(st.integers(1, 5 * S), st.builds(lambda bid, spread: Best(bid, bid + spread), prices, prices)),
    min_size=1,
    max_size=40,
)
"""How long a best lasts, and what it is."""


@settings(deadline=None)
@given(walks, st.integers(0, AROUND_NS - 1), st.lists(st.floats(0, 1), min_size=1), st.integers(0, 3 * S))
def test_a_book_that_follows_within_a_second_never_misses(walk, late_ns, whens, takes_ns):
    """Whatever moment of the way REST's answer is of, and however long that takes."""
    times, bests = [0], [walk[0][1]]
    for lasts_ns, best in walk * 2:
        times.append(times[-1] + lasts_ns)
        bests.append(best)

    def true(at_ns):
        return bests[bisect_right(times, max(0, at_ns)) - 1]

    audit, misses = BestAudit(KEY, on=True), set()
    audit.begin(-EVERY_NS)
    answers = []
    step_ns = AROUND_NS // 10
    for i, now_ns in enumerate(range(0, times[-1], step_ns)):
        for at_ns, best in zip(times, bests, strict=True):
            if now_ns - step_ns < at_ns + late_ns <= now_ns and audit.watching:
                audit.saw(best)
        if answers and answers[0][0] <= now_ns:
            audit.answered(answers.pop(0)[1], now_ns)
        if audit.wants(true(now_ns - late_ns), now_ns):
            answers.append((now_ns + takes_ns, true(now_ns + int(takes_ns * whens[i % len(whens)]))))
        audit.doubt(now_ns)
        misses.add(audit._misses)
        if not audit.watching:
            audit._watch_at = min(audit._watch_at, now_ns + S)  # many looks in little time
    assert misses <= {0}
