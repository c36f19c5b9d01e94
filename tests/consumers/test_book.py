"""The order book: against a plain model, and followed through the holes that a real stream may have."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec.structs import replace

from consumers import stored
from consumers.append import append
from consumers.book import Book, Level, LiveBook
from ingest.contract.events import Delta, Event, Gap, Snapshot
from ingest.contract.keys import StreamKey

KEY = StreamKey("binance", "orderbook", "BTC/USDT")

amounts = some.sampled_from(["0", "0.0", "0.00000000", "0.5", "1", "10", "2.50"])
prices = some.integers(1, 30).map(lambda price: f"{price / 2:.2f}")
levels = some.lists(some.tuples(prices, amounts), max_size=12).map(tuple)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(some.lists(some.tuples(some.sampled_from([Snapshot, Delta]), levels, levels), max_size=12))
def test_a_book_is_what_its_events_say(history):
    book, bids, asks = Book(), {}, {}
    for kind, some_bids, some_asks in history:
        book.apply(kind(bids=some_bids, asks=some_asks, received_ns=1))
        for side, said in ((bids, some_bids), (asks, some_asks)):
            if kind is Snapshot:
                side.clear()
            side.update(said)
    highest_first = sorted(((p, a) for p, a in bids.items() if Decimal(a)), key=lambda level: -Decimal(level[0]))
    lowest_first = sorted(((p, a) for p, a in asks.items() if Decimal(a)), key=lambda level: Decimal(level[0]))
    best = [[Level(Decimal(p), Decimal(a)) for p, a in side[:3]] for side in (highest_first, lowest_first)]
    assert (book.written(), [book.bids(3), book.asks(3)], book.best_bid, book.best_ask) == (
        (tuple(highest_first), tuple(lowest_first)),
        best,
        best[0][0] if best[0] else None,
        best[1][0] if best[1] else None,
    )


def test_prices_beyond_28_digits_keep_their_order():
    close = ("1" * 30 + ".1", "1" * 30 + ".2")
    book = Book()
    book.apply(Snapshot(bids=[(p, "1") for p in close], asks=[(p, "1") for p in close], received_ns=1))
    assert (book.best_bid.price, book.best_ask.price, book.crossed) == (Decimal(close[1]), Decimal(close[0]), True)


def test_a_book_is_crossed_when_a_bid_reaches_an_ask():
    said = []
    for bid in ("99", "100", "101"):
        book = Book()
        book.apply(Snapshot(bids=((bid, "1"),), asks=(("100", "1"),), received_ns=1))
        said.append(book.crossed)
    assert said == [False, True, True]


def snapshot(s, bids=(("99", "1"),), asks=(("101", "1"),)):
    return Event(KEY, str(s), Snapshot(bids=bids, asks=asks, received_ns=1), "snapshot")


def delta(s, bids=(), asks=()):
    return Event(KEY, str(s), Delta(bids=bids, asks=asks, received_ns=1), "range", first=str(s))


def gap(first, last):
    body = Gap(reason="resync", first_id=str(first), last_id=str(last))
    return Event(KEY, f"{first}-{last}", body, "gap", first=f"{first}-{last}")


def bids_of(live):
    return live.live, live.book.written()[0]


async def refreshed(redis):
    live = LiveBook(KEY)
    await live.refresh(redis)
    return live


async def test_who_joins_late_has_the_book_of_who_was_there_from_the_start(redis):
    early = LiveBook(KEY)
    for s in range(10, 20):
        await append(redis, [snapshot(s) if s == 10 else delta(s, bids=((str(s), "2"), (str(s - 1), "0.0")))])
        await early.refresh(redis)
    late = await refreshed(redis)
    replayed = LiveBook(KEY)
    async for entry in stored.entries(redis, KEY, after="0-0"):
        replayed.take(entry)
    said = (True, (("99", "1"), ("19", "2")), (await redis.xrevrange(str(KEY), count=1))[0][0].decode())
    assert [(*bids_of(live), live.as_of) for live in (early, late, replayed)] == [said] * 3


async def test_a_book_without_a_stream_is_not_live(redis):
    assert bids_of(await refreshed(redis)) == (False, ())


async def test_a_gap_ends_the_book_until_the_next_snapshot(redis):
    await append(redis, [snapshot(1), delta(2)])
    live = await refreshed(redis)
    await append(redis, [gap(3, 8)])
    await live.refresh(redis)
    broken = live.live, (await refreshed(redis)).live
    await append(redis, [snapshot(8, bids=(("98", "3"),)), delta(9, bids=(("97", "4"),))])
    await live.refresh(redis)
    assert (broken, bids_of(live)) == ((False, False), (True, (("98", "3"), ("97", "4"))))


async def test_a_hole_in_n_ends_the_book_until_the_next_snapshot(redis):
    await append(redis, [snapshot(1)])
    live = await refreshed(redis)
    await append(redis, [delta(2), delta(3)])
    (lost, _), _ = await redis.xrange(str(KEY), min=f"({live.as_of}")
    await redis.xdel(str(KEY), lost)
    await live.refresh(redis)
    broken = live.live
    await append(redis, [gap(4, 4), snapshot(5, bids=())])
    await live.refresh(redis)
    assert (broken, bids_of(live)) == (False, (True, ()))


async def test_entries_trimmed_at_the_end_are_missed(redis):
    await append(redis, [snapshot(1), delta(2)])
    await redis.xtrim(str(KEY), maxlen=0, approximate=False)
    assert not (await refreshed(redis)).live


async def test_a_snapshot_whose_entry_is_trimmed_still_serves_while_nothing_followed_it(redis):
    await append(redis, [snapshot(1)])
    await redis.xtrim(str(KEY), maxlen=0, approximate=False)
    assert bids_of(await refreshed(redis)) == (True, (("99", "1"),))


async def test_a_reader_left_behind_by_trimming_goes_on_from_the_last_snapshot(redis):
    await append(redis, [snapshot(1)])
    live = await refreshed(redis)
    await append(redis, [delta(2), gap(3, 3), snapshot(4, bids=(("98", "3"),)), delta(5, bids=(("97", "1"),))])
    await redis.xtrim(str(KEY), maxlen=1, approximate=False)
    await live.refresh(redis)
    assert bids_of(live) == (True, (("98", "3"), ("97", "1")))


async def test_a_delta_of_another_epoch_does_not_join(redis):
    await append(redis, [snapshot(1), delta(2)])
    entries = [entry async for entry in stored.entries(redis, KEY, after="0-0")]
    live = LiveBook(KEY)
    live.take(entries[0])
    live.take(replace(entries[1], epoch=2))
    assert not live.live


async def test_a_new_generation_needs_a_snapshot_of_its_own(redis):
    await append(redis, [snapshot(1), delta(2)])
    live = await refreshed(redis)
    await redis.hset(KEY.state, mapping={"g": "later", "n": "0"})
    await append(redis, [delta(3)])
    await live.refresh(redis)
    assert not live.live


async def test_a_new_generation_that_lost_nothing_of_what_is_there_goes_on(redis):
    """Redis was started again: whoever writes first cannot know whether it has lost something."""
    await append(redis, [snapshot(1), delta(2, bids=(("98", "2"),))])
    live = LiveBook(KEY)
    await live.refresh(redis)
    g, n = await stored.standing(redis, KEY.state)
    nothing_lost = Gap(reason="rollback", after_g=g, after_n=n)
    await append(redis, [Event(KEY, "x.1", nothing_lost, "renewal", f"{g} {n}"), delta(3, bids=(("97", "3"),))])
    await live.refresh(redis)
    went_on = bids_of(live)
    g, n = await stored.standing(redis, KEY.state)
    await append(redis, [Event(KEY, "x.0", Gap(reason="rollback", after_g=g, after_n=n - 1), "renewal", f"{g} {n}")])
    await live.refresh(redis)
    assert (went_on, live.live) == ((True, (("99", "1"), ("98", "2"), ("97", "3"))), False)


async def test_what_a_group_left_out_because_it_was_handled_is_read_from_the_stream(redis):
    await append(redis, [snapshot(1), *(delta(s, bids=((str(s), "1"),)) for s in range(2, 8))])
    entries = [entry async for entry in stored.entries(redis, KEY, after="0-0")]
    live = LiveBook(KEY)
    order = (entries[3], entries[3], entries[5], entries[4], entries[6])
    seen = [(await live.follow(redis, entry), len(live.book.bids())) for entry in order]
    assert seen == [(True, 4), (True, 4), (True, 6), (False, 6), (True, 7)]
