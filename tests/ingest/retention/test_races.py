"""Whatever happens between producers, groups and the janitor: nothing goes that somebody needs. And this can fail."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Struct, field
from redis.asyncio import Redis

from ingest.contract import keys
from ingest.retention import Janitor
from tests.ingest.retention.scene import TRADES, janitor, left, write

pytestmark = pytest.mark.slow

GROUPS = ("one", "two", "late")
Trim = Callable[[Redis], Awaitable[object]]


class Group(Struct):
    """What a registered group should have been given, and have pending: places of entries."""

    there: bool = False
    read_to: int = 0
    pending: set[int] = field(default_factory=set)

    @property
    def needs(self) -> int:
        return min(self.pending, default=self.read_to)


class Model(Struct):
    """The stream as it should be."""

    ids: list[str] = field(default_factory=list)
    trimmed_to: int = 0
    groups: dict[str, Group] = field(default_factory=dict)

    def trim(self) -> None:
        needed = [group.needs for group in self.groups.values()]
        self.trimmed_to = max(self.trimmed_to, min([*needed, len(self.ids) - 1]))


async def play(redis: Redis, model: Model, moves: list[tuple[object, ...]], trim: Trim) -> None:
    """Make the moves; after each trimming the stream has what the model says, if not more."""
    for move in moves:
        match move:
            case ("write", int(count)):
                model.ids += await write(redis, count, age_s=1000)
            case ("register", name):
                await redis.hset(keys.groups("binance"), name, "trades")
                model.groups.setdefault(name, Group())
            case ("enter", name) if name in model.groups and not model.groups[name].there:
                await redis.xgroup_create(str(TRADES), name, "0", mkstream=True)
                model.groups[name].there = True
            case ("read", name, int(count)) if name in model.groups and model.groups[name].there:
                await redis.xreadgroup(name, "c", {str(TRADES): ">"}, count=count)
                group = model.groups[name]
                begin = max(group.read_to, model.trimmed_to)
                group.read_to = max(group.read_to, min(begin + count, len(model.ids)))
                group.pending |= set(range(begin, group.read_to))
            case ("ack", name, int(which)) if name in model.groups and model.groups[name].pending:
                pending = model.groups[name].pending
                acked = {place for place in pending if which >> place % 8 & 1}
                await redis.xack(str(TRADES), name, "0-1", *(model.ids[place] for place in acked))
                pending -= acked
            case ("trim",) if model.ids:
                model.trim()
                await trim(redis)
                assert not set(model.ids[model.trimmed_to :]) - set(await left(redis)), "needed, and gone"


name = st.sampled_from(GROUPS)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 8)),
        st.tuples(st.just("register"), name),
        st.tuples(st.just("enter"), name),
        st.tuples(st.just("read"), name, st.integers(1, 8)),
        st.tuples(st.just("ack"), name, st.integers(0, 255)),
        st.just(("trim",)),
    ),
    min_size=10,
    max_size=40,
)


def histories(url: str, trim: Trim, *, exact: bool) -> Callable[[], None]:
    """A property: over any history, what groups need stays; and if `exact`, nothing else does."""

    @settings(
        max_examples=100,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(moves)
    def hold(history: list[tuple[object, ...]]) -> None:
        async def one() -> None:
            redis = Redis.from_url(url)
            await redis.flushall()
            model = Model()
            try:
                await play(redis, model, [*history, ("trim",)], trim)
                assert not exact or await left(redis) == model.ids[model.trimmed_to :]
            finally:
                await redis.aclose()

        asyncio.run(one())

    return hold


def test_what_any_group_needs_stays_and_nothing_else(redis_server):
    histories(redis_server.url, lambda redis: janitor(redis).round(), exact=True)()


async def by_length(redis: Redis) -> None:
    """What MAXLEN on the append does."""
    await redis.xtrim(str(TRADES), maxlen=10, approximate=False)


async def by_delivery(redis: Redis) -> None:
    """What forgets that entries are pending."""
    groups = await redis.xinfo_groups(str(TRADES))
    if groups:
        await redis.xtrim(str(TRADES), minid=min(each["last-delivered-id"] for each in groups), approximate=False)


@pytest.mark.parametrize("trim", [by_length, by_delivery])
def test_the_same_histories_find_out_who_trims_wrongly(redis_server, trim):
    with pytest.raises(AssertionError, match="needed, and gone"):
        histories(redis_server.url, trim, exact=False)()


ENTRIES = 3000


async def produced(redis: Redis, **limit: object) -> None:
    """So many entries, a few at a time."""
    await redis.sadd(keys.EXCHANGES, "binance")
    await redis.sadd(keys.streams("binance"), str(TRADES))
    for begin in range(0, ENTRIES, 10):
        pipe = redis.pipeline(transaction=False)
        for n in range(begin + 1, begin + 11):
            pipe.xadd(str(TRADES), {"n": n, "data": "x" * 100}, **limit)
        await pipe.execute()


async def handled(redis: Redis, name: str, most: int) -> int:
    """How many entries a group of two consumers can acknowledge, late and in no order, before they are gone."""
    some = random.Random(name)
    waiting: list[bytes] = []
    count = quiet = 0
    while waiting or quiet < 5:
        entries = {str(TRADES): ">"}
        reply = await redis.xreadgroup(name, some.choice("ab"), entries, count=some.randint(1, most), block=20)
        quiet = 0 if reply else quiet + 1
        waiting += (entry_id for entry_id, _ in (reply[0][1] if reply else ()))
        some.shuffle(waiting)
        acked = [waiting.pop() for _ in range((len(waiting) + 1) // 2)]
        for entry_id in acked:
            count += len(await redis.xrange(str(TRADES), entry_id, entry_id))
        await redis.xack(str(TRADES), name, "0-1", *acked)
    return count


async def raced(redis: Redis, *janitors: Janitor, **limit: object) -> list[int]:
    """How many entries each of two groups could acknowledge."""
    for each in ("quick", "slow"):
        await redis.hset(keys.groups("binance"), each, "trades")
        await redis.xgroup_create(str(TRADES), each, "0", mkstream=True)
    stopping = asyncio.Event()
    at_work = [asyncio.create_task(each.run(stopping)) for each in janitors]
    quick, slow, _ = await asyncio.gather(
        handled(redis, "quick", 100), handled(redis, "slow", 20), produced(redis, **limit)
    )
    stopping.set()
    await asyncio.gather(*at_work)
    return [quick, slow]


async def test_groups_get_everything_while_janitors_compete(redis):
    one, two = (janitor(redis, owner=owner, every_s=0.002) for owner in ("one", "two"))
    got = await raced(redis, one, two)
    assert (got, one.counters.trimmed + two.counters.trimmed > ENTRIES / 2) == ([ENTRIES, ENTRIES], True)


async def test_a_group_loses_entries_to_an_append_that_trims(redis):
    _, slow = await raced(redis, maxlen=50)
    assert slow < ENTRIES
