import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from consumers import Live, Replay, Replayed, connect
from consumers.append import append
from consumers.book import LiveBook
from consumers.client import by_stream
from consumers.places import BadPlace
from consumers.replay import IN_HAND
from ingest.contract import keys
from ingest.contract.keys import BadName, StreamKey
from tests.consumers.cutting import cutting
from tests.consumers.producing import BTC, ETH, blocked, put, trade
from tests.consumers.test_book import KEY as BOOK
from tests.consumers.test_book import delta, gap, snapshot
from tests.eventually import eventually

ALL = ["*"]
SOL = StreamKey("binance", "trades", "SOL/USDT")
KRAKEN = StreamKey("kraken", "trades", "BTC/USD")


@pytest.fixture
async def bus(redis, redis_server):
    client = connect(redis_server.url)
    yield client
    await client.aclose()


async def write(redis, key, *entries, g="g"):
    """Entries as they stand: (id, n), or (id, n, type)."""
    await redis.sadd(keys.EXCHANGES, key.exchange)
    await redis.sadd(keys.streams(key.exchange), str(key))
    for entry_id, n, *kind in entries:
        fields = {"v": "1", "type": kind[0] if kind else "trade", "n": n, "g": g, "s": f"s{n}", "data": b"\x80"}
        await redis.xadd(str(key), fields, id=entry_id)


async def replayed(redis, patterns=ALL, **options):
    return [step async for step in Replay(redis, patterns, **options)]


def places(steps):
    return [(step.key, step.id) for step in steps]


async def test_streams_come_as_one_by_id_and_of_one_id_by_key(bus):
    await write(bus, ETH, ("5-0", 1), ("7-1", 2), ("10-0", 3))
    await write(bus, KRAKEN, ("7-1", 1))
    await write(bus, BTC, ("6-0", 1), ("7-0", 2), ("7-1", 3), ("9-0", 4))

    assert places(await replayed(bus)) == [
        (ETH, "5-0"),
        (BTC, "6-0"),
        (BTC, "7-0"),
        (BTC, "7-1"),
        (ETH, "7-1"),
        (KRAKEN, "7-1"),
        (BTC, "9-0"),
        (ETH, "10-0"),
    ]


@pytest.mark.parametrize(
    ("start", "until", "ids"),
    [
        ("start", None, ["6-0", "7-0", "7-1", "9-0"]),
        ("7", None, ["7-0", "7-1", "9-0"]),
        ("7-1", None, ["7-1", "9-0"]),
        ("start", "7", ["6-0", "7-0", "7-1"]),
        ("start", "7-0", ["6-0", "7-0"]),
        ("1970-01-01T00:00:00.007", "1970-01-01T00:00:00.007", ["7-0", "7-1"]),
        ("-1h", None, []),
        ("start", "-1h", ["6-0", "7-0", "7-1", "9-0"]),
        ("9", "8", []),
    ],
)
async def test_both_ends_are_in_it(bus, start, until, ids):
    await write(bus, BTC, ("6-0", 1), ("7-0", 2), ("7-1", 3), ("9-0", 4))

    assert [step.id for step in await replayed(bus, start=start, until=until)] == ids


async def test_a_stretch_comes_twice_the_same_and_as_the_streams_have_it_and_no_group_notices(bus):
    symbols = [StreamKey("binance", "trades", f"A{number}/USDT") for number in range(40)]
    for numbers in (range(1, 200), range(200, 300)):
        for key in symbols:
            await put(bus, key, numbers)
    before = [await bus.xinfo_stream(str(key)) for key in symbols], await bus.keys("md:*groups*")

    first, second = await replayed(bus), await replayed(bus, speed=1e6)

    assert first == second
    assert {key: [(step.id, step.fields) for step in first if step.key == key] for key in symbols} == {
        key: [(entry_id.decode(), fields) for entry_id, fields in await bus.xrange(str(key))] for key in symbols
    }
    assert (([await bus.xinfo_stream(str(key)) for key in symbols], await bus.keys("md:*groups*"))) == before


async def test_of_many_streams_only_so_much_is_in_hand(bus):
    symbols = [StreamKey("binance", "trades", f"A{number}/USDT") for number in range(30)]
    for key in symbols:
        await put(bus, key, range(1, 151))
    replay, most = Replay(bus, ALL), 0
    async for _ in replay:
        most = max(most, sum(len(track.rows) for track in replay._tracks.values()))

    assert 0 < most < IN_HAND


async def test_an_entry_is_typed_where_that_is_wanted(bus):
    await put(bus, BTC, [1])

    assert [step.entry().event for step in await replayed(bus)] == [trade(BTC, 1).body]


async def test_a_book_begins_at_the_newest_snapshot_at_or_before_the_start(bus):
    history = [
        (f"{at}-0", at, kind) for at, kind in enumerate(["snapshot", "delta", "snapshot", "delta", "delta"], start=1)
    ]
    await write(bus, BOOK, *history)
    await write(bus, BTC, *((f"{at}-0", at) for at in range(1, 6)))

    said = {
        start: [(step.key.channel, step.id, step.early) for step in await replayed(bus, start=start)]
        for start in ("4", "5-0", "3")
    }

    both = [("orderbook", "5-0", False), ("trades", "5-0", False)]
    assert said == {
        "4": [("orderbook", "3-0", True), ("orderbook", "4-0", False), ("trades", "4-0", False), *both],
        "5-0": [("orderbook", "3-0", True), ("orderbook", "4-0", True), *both],
        "3": [
            ("orderbook", "3-0", False),
            ("trades", "3-0", False),
            ("orderbook", "4-0", False),
            ("trades", "4-0", False),
            *both,
        ],
    }


async def test_a_book_without_a_snapshot_before_the_start_begins_at_the_first_one_behind_it(bus):
    await write(bus, BOOK, ("1-0", 1, "delta"), ("2-0", 2, "gap"), ("3-0", 3, "snapshot"), ("4-0", 4, "delta"))

    assert [step.id for step in await replayed(bus)] == ["3-0", "4-0"]


async def test_a_snapshot_in_the_ms_of_the_start_does_not_hide_what_is_before_it(bus):
    await write(bus, BOOK, ("3-0", 1, "snapshot"), ("7-0", 2, "delta"), ("7-1", 3, "snapshot"))

    assert [(step.id, step.early) for step in await replayed(bus, start="7")] == [
        ("3-0", True),
        ("7-0", False),
        ("7-1", False),
    ]


async def test_a_book_that_is_replayed_is_the_live_one(bus):
    await append(bus, [snapshot(1), delta(2, bids=(("98", "2"),))])
    await append(bus, [gap(3, 3), snapshot(4, bids=(("97", "3"),)), delta(5, asks=(("103", "1"),))])
    live, again = LiveBook(BOOK), LiveBook(BOOK)
    await live.refresh(bus)
    for step in await replayed(bus, start="-0s"):
        again.take(step.entry())

    assert (again.live, again.as_of, again.book.written()) == (live.live, live.as_of, live.book.written())


async def test_what_is_trimmed_on_the_way_is_told(bus):
    await put(bus, BTC, range(1, IN_HAND + 1))
    steps = []
    async for step in Replay(bus, ALL):
        if not steps:
            await bus.xtrim(str(BTC), maxlen=10, approximate=False)
        steps.append(step)

    holes = [(int(step.fields[b"n"]), step.hole) for step in steps if step.hole]
    assert len(steps) + sum(hole for _, hole in holes) == IN_HAND
    assert holes == [(IN_HAND - 9, IN_HAND - len(steps))]


async def test_what_was_trimmed_before_is_told(bus):
    await put(bus, BTC, range(1, 4))
    await put(bus, ETH, range(1, 4))
    await bus.xtrim(str(BTC), maxlen=1, approximate=False)

    with capture_logs() as said:
        await replayed(bus, start="-1m")
        await replayed(bus)

    assert [(each["event"], each["stream"]) for each in said] == [
        ("begins later: what was before is trimmed", str(BTC))
    ]


async def test_an_end_that_is_yet_to_come_ends_it_now(bus):
    await put(bus, BTC, range(1, 4))

    assert len(await replayed(bus, until="2999-01-01")) == 3


async def gather(replay, steps):
    async with contextlib.aclosing(aiter(replay)) as each:
        async for step in each:
            steps.append(step)


@contextlib.asynccontextmanager
async def following(redis, patterns=ALL, **options):
    """What a replay that follows has given out so far; it is stopped at the end."""
    replay, steps = Replay(redis, patterns, follow=True, **options), []
    task = asyncio.create_task(gather(replay, steps))
    try:
        yield steps
    finally:
        replay.stop()
        await task


def numbers(steps, key):
    return [int(step.fields[b"s"].lstrip(b"s")) for step in steps if isinstance(step, Replayed) and step.key == key]


async def test_the_past_is_followed_by_a_mark_and_by_what_is_written(bus, redis):
    await put(redis, BTC, [1, 2])
    async with following(bus) as steps:
        await eventually(lambda: Live(2) in steps)
        await put(redis, BTC, [3])
        await put(redis, ETH, [1, 2])
        await eventually(lambda: len(steps) == 6)

    assert (steps.index(Live(2)), numbers(steps, BTC), numbers(steps, ETH)) == (2, [1, 2, 3], [1, 2])


async def test_what_is_written_while_the_past_is_given_out_comes_before_the_mark(bus, redis):
    seconds, _ = await redis.time()
    await write(redis, BTC, (f"{seconds - 4}000-0", 1), (f"{seconds}000-0", 2))
    async with following(bus, speed=8) as steps:  # half a second behind at its end
        await eventually(lambda: steps)
        await write(redis, BTC, ("*", 3))
        await eventually(lambda: len(steps) == 4)

    assert (numbers(steps, BTC), steps[3]) == ([1, 2, 3], Live(3))


async def test_a_bus_with_nothing_on_it_is_waited_for(bus, redis):
    async with following(bus) as steps:
        await eventually(lambda: steps == [Live(0)])
        await put(redis, BTC, [1])
        await eventually(lambda: len(steps) == 2)

    assert numbers(steps, BTC) == [1]


async def test_a_stream_that_begins_anew_comes_whole_even_under_older_ids(bus, redis):
    await put(redis, BTC, [1, 2, 3])
    async with following(bus) as steps:
        await eventually(lambda: Live(3) in steps)
        await redis.delete(str(BTC))
        await write(redis, BTC, ("5-0", 1), ("6-0", 2), g="later")
        await eventually(lambda: len(steps) == 6)

    assert [(step.id, step.hole) for step in steps[4:]] == [("5-0", 0), ("6-0", 0)]


async def test_what_redis_forgot_and_gets_again_is_not_repeated(bus, redis):
    await write(redis, BTC, ("5-0", 1), ("6-0", 2), ("8-0", 3))
    async with following(bus) as steps:
        await eventually(lambda: Live(3) in steps)
        await redis.delete(str(BTC))
        await write(redis, BTC, ("5-0", 1), ("6-0", 2))
        await write(redis, BTC, ("7-0", 1), g="later")
        await eventually(lambda: len(steps) == 5)

    assert [step.id for step in steps if isinstance(step, Replayed)] == ["5-0", "6-0", "8-0", "7-0"]


class Load:
    """Trades into three streams of two exchanges, as fast as they go, until it is ended."""

    def __init__(self, url):
        self.written = dict.fromkeys((BTC, ETH, KRAKEN), 0)
        self._ended = False
        self._writers = [asyncio.create_task(self._write(url, key)) for key in self.written]

    async def _write(self, url, key):
        client = connect(url)
        while not self._ended:
            await put(client, key, range(self.written[key] + 1, self.written[key] + 21))
            self.written[key] += 20
        await client.aclose()

    async def end(self):
        self._ended = True
        await asyncio.gather(*self._writers)


@pytest.mark.slow
@pytest.mark.parametrize("speed", [float("inf"), 40])
async def test_from_the_past_into_the_present_nothing_is_lost_or_repeated_under_load(bus, redis, redis_server, speed):
    load = Load(redis_server.url)
    await eventually(lambda: min(load.written.values()) > 2_000)
    async with following(bus, speed=speed) as steps:
        live = await eventually(lambda: next((step for step in steps if isinstance(step, Live)), None))
        goal = len(steps) + 2_000
        await eventually(lambda: len(steps) > goal)
        await load.end()
        await eventually(lambda: len(steps) > sum(load.written.values()))

    ids = {key: [entry_id.decode() for entry_id, _ in await redis.xrange(str(key))] for key in load.written}
    assert {key: [step.id for step in steps if isinstance(step, Replayed) and step.key == key] for key in ids} == ids
    assert (steps.index(live), sum(isinstance(step, Live) for step in steps)) == (live.replayed, 1)
    past = [(step.id, step.key) for step in steps[: live.replayed]]
    assert past == sorted(past, key=lambda each: (*map(int, each[0].split("-")), each[1]))


async def test_reading_to_the_end_and_then_from_now_on_loses_what_is_written_between(bus, redis):
    """The same by hand: the negative control of the test above."""
    await put(redis, BTC, range(1, 11))
    past = await bus.xrange(str(BTC))
    await put(redis, BTC, [11])
    waiting = asyncio.create_task(bus.xread({str(BTC): "$"}, block=4000))
    await eventually(lambda: blocked(redis, "xread"))
    await put(redis, BTC, [12])
    now = by_stream(await waiting)[0][1]

    assert [int(fields[b"s"]) for _, fields in (*past, *now)] == [*range(1, 11), 12]


@pytest.mark.slow
@pytest.mark.parametrize("word", [b"XRANGE", b"XREAD"])
async def test_lost_replies_lose_and_repeat_nothing(redis, redis_server, word):
    load = Load(redis_server.url)
    async with cutting(redis_server.port, word, every=7) as url:
        client = connect(url)
        async with following(client) as steps:
            await eventually(lambda: min(load.written.values()) > 2_000)
            await load.end()
            await eventually(lambda: len(steps) > sum(load.written.values()))
        await client.aclose()

    assert {key: numbers(steps, key) for key in load.written} == {
        key: [*range(1, count + 1)] for key, count in load.written.items()
    }


@pytest.mark.parametrize(
    ("patterns", "options", "error"),
    [
        (["a:b:c:d"], {}, BadName),
        (ALL, {"start": "noon"}, BadPlace),
        (ALL, {"until": "noon"}, BadPlace),
        (ALL, {"speed": 0}, ValueError),
        (ALL, {"speed": 1, "follow": True}, ValueError),
        (ALL, {"until": "9", "follow": True}, ValueError),
    ],
)
async def test_what_makes_no_sense_is_refused_at_once(bus, patterns, options, error):
    with pytest.raises(error):
        Replay(bus, patterns, **options)


async def test_who_waits_at_the_original_pace_can_be_asked_to_stop(bus):
    await write(bus, BTC, ("1000-0", 1), ("9000000-0", 2))
    replay, steps = Replay(bus, ALL, speed=1), []
    task = asyncio.create_task(gather(replay, steps))
    await eventually(lambda: steps)
    replay.stop()
    await task

    assert [step.id for step in steps] == ["1000-0"]


async def test_ten_times_the_pace_is_a_tenth_of_the_time_and_not_less(bus):
    await write(bus, BTC, ("1000-0", 1), ("3000-0", 2))
    began = asyncio.get_running_loop().time()
    steps = await replayed(bus, speed=10)

    assert (len(steps), asyncio.get_running_loop().time() - began >= 0.2) == (2, True)
