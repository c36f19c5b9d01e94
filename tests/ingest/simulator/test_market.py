from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.simulator.bars import SECOND_NS, Bar
from ingest.simulator.listings import listing
from ingest.simulator.market import KEPT_TRADES, Market, Pair, Trade

START_NS = 1_795_335_330 * SECOND_NS + 400_000_000
seeds = settings(derandomize=True, max_examples=5, deadline=None)


def market(seed: int, rate: int = 500) -> Market:
    return Market([listing("BTC/USDT"), listing("XRP/USDT")], rate=rate, seed=seed, start_ns=START_NS)


def trade(market: Market, seconds: int, steps_a_second: int = 1) -> list[tuple[Pair, Trade]]:
    """Run it, rolling the bars; all its trades."""
    trades = []
    boundary = START_NS // SECOND_NS * SECOND_NS
    for _ in range(seconds):
        for step in range(steps_a_second):
            until = boundary + (step + 1) * SECOND_NS // steps_a_second
            trades += [(pair, trade) for pair, happened, _ in market.run(until) for trade in happened]
        boundary += SECOND_NS
        for pair in market.pairs:
            pair.bars.roll(boundary)
    return trades


@seeds
@given(st.integers(0, 10**9))
def test_trades_consume_what_rests_and_the_book_is_never_crossed(seed: int):
    running = market(seed)
    for _ in range(1000):
        pair = running.pairs[_ % 2]
        bids, asks = dict(pair.book.bids.amounts), dict(pair.book.asks.amounts)
        trades = pair.act(START_NS)
        top = pair.book.top()
        assert 0 < top.bid < top.ask
        assert (top.bid_lots, top.ask_lots) == (pair.book.bids.amounts[top.bid], pair.book.asks.amounts[top.ask])
        if trades:
            taken: dict[int, int] = {}
            for each in trades:
                taken[each.price] = taken.get(each.price, 0) + each.lots
            before, side = (bids, pair.book.bids) if trades[0].taker_sells else (asks, pair.book.asks)
            best = sorted(before, reverse=trades[0].taker_sells)[: len(taken)]
            assert list(taken) == best
            assert taken == {price: before[price] - side.amounts.get(price, 0) for price in best}
            assert pair.last == trades[-1]


@seeds
@given(st.integers(0, 10**9))
def test_the_changes_of_the_book_add_up_to_the_book(seed: int):
    running = market(seed)
    pair = running.pairs[0]
    bids, asks, last = dict(pair.book.bids.amounts), dict(pair.book.asks.amounts), pair.book.update_id
    for step in range(1000):
        pair.act(START_NS)
        if step % 20 == 0 and (changes := pair.book.drain()):
            assert (changes.first, changes.last) == (last + 1, pair.book.update_id)
            last = changes.last
            for mine, theirs, side in ((bids, changes.bids, pair.book.bids), (asks, changes.asks, pair.book.asks)):
                mine.update(theirs)
                assert {price: lots for price, lots in mine.items() if lots} == side.amounts


@seeds
@given(st.integers(0, 10**9))
def test_trade_ids_are_dense_and_candles_are_the_fold_of_the_trades(seed: int):
    running = market(seed)
    opening = {pair: pair.last for pair in running.pairs}
    happened = trade(running, 70)
    for pair in running.pairs:
        trades = [opening[pair], *(each for whose, each in happened if whose is pair)]
        assert all(later.id == earlier.id + 1 for earlier, later in pairwise(trades))
        for interval in ("1s", "1m", "1h"):
            bars = [*pair.bars.closed(interval), pair.bars.current(interval)]
            assert bars == [
                fold(bar, [each for each in trades if bar.open_ns <= each.time_ns < bar.end_ns], before)
                for before, bar in zip([opening[pair].price, *(bar.close for bar in bars)], bars, strict=False)
            ]


def fold(bar: Bar, trades: list[Trade], before: int) -> Bar:
    prices = [each.price for each in trades] or [before]
    bought = [each for each in trades if not each.taker_sells]
    return Bar(
        bar.open_ns,
        bar.end_ns,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        sum(each.lots for each in trades),
        sum(each.price * each.lots for each in trades),
        len(trades),
        sum(each.lots for each in bought),
        sum(each.price * each.lots for each in bought),
        trades[0].id if trades else -1,
        trades[-1].id if trades else -1,
    )


def test_a_seed_is_a_market_however_time_is_cut():
    def told(seed: int, steps_a_second: int) -> list[Trade]:
        return [each for _, each in trade(market(seed), 5, steps_a_second)]

    assert told(7, 1) == told(7, 13) != told(8, 1)


def test_prices_walk():
    running = market(1, rate=2000)
    prices = [each.price for pair, each in trade(running, 20) if pair is running.pairs[0]]
    assert max(prices) - min(prices) > 500


def test_old_trades_are_let_go_of():
    running = market(1, rate=20_000)
    happened = [each for pair, each in trade(running, 8) if pair is running.pairs[0]]
    pair = running.pairs[0]
    newest = happened[-KEPT_TRADES:]
    assert (pair.trades(happened[0].id, 2), pair.trades(None, 3), pair.trades(newest[5].id, 2)) == (
        newest[:2],
        newest[-3:],
        newest[5:7],
    )
    assert pair.trades(10**20, 2) == []


def test_a_market_without_a_crowd_is_still():
    assert trade(market(1, rate=0), 3) == []


def test_a_pause_moves_what_would_have_happened():
    running = market(1, rate=10)
    running.skip(SECOND_NS)
    assert [when for _, _, when in running.run(START_NS + 2 * SECOND_NS)][::5] == [
        START_NS + SECOND_NS,
        START_NS + SECOND_NS + SECOND_NS // 2,
    ]
