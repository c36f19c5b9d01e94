"""A worker's seat at the table of leases, beside others and alone."""

import asyncio
import types
from collections.abc import Collection

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from deploy.local_redis import free_port
from ingest.contract.keys import StreamKey
from ingest.exchanges.binance import Binance
from ingest.metrics import _Collector
from ingest.publisher import Publisher
from ingest.shards import SHARDS, Counters, shard_of
from ingest.sharing import Sharing
from ingest.tasks import pause
from tests.end_to_end.running import make_worker
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = [f"A{i}/USDT" for i in range(20)]
TRADES, BOOKS = ([StreamKey("binance", channel, symbol) for symbol in SYMBOLS] for channel in ("trades", "orderbook"))
STREAMS = [*TRADES, *BOOKS]


class BooksWithoutIds(Binance):
    """As of exchanges whose books can have one writer at a time."""

    single_writer = frozenset({"orderbook"})


class Heard:
    """What a worker hears, and it flows at once; and what of it is its own to write."""

    def __init__(self) -> None:
        self.streams: set[StreamKey] = set()
        self.leave: dict[StreamKey, int] = {}

    async def hear(self, streams: Collection[StreamKey]) -> None:
        self.streams = set(streams)

    def own(self, leave: dict[StreamKey, int]) -> None:
        self.leave = dict(leave)

    def flowing(self) -> set[StreamKey]:
        return self.streams


class Seat:
    """One worker, as far as sharing goes."""

    def __init__(self, redis: Redis, name: str, *, mode="lease", exchange: Binance | None = None) -> None:
        exchange = exchange or Binance()
        self.publisher = Publisher(redis, "binance")
        self.sharing = Sharing(redis, exchange, self.publisher, mode=mode, name=name, every_s=0.1)
        self.heard = Heard()
        self.dead = asyncio.Event()
        self.living = asyncio.create_task(self._live())

    @property
    def owned(self) -> set[int]:
        return set(self.sharing.member.owned)

    async def end(self) -> None:
        """In good order."""
        await self.die()
        ending = asyncio.Event()
        ending.set()
        await self.sharing.run(lambda: STREAMS, self.heard, ending)

    async def die(self) -> None:
        """From one moment to the next."""
        self.dead.set()
        await self.living

    async def _live(self) -> None:
        while not self.dead.is_set():
            await self.sharing._try(STREAMS, self.heard)
            await pause(self.dead, 0.1)


@pytest.fixture
async def seat(redis):
    """Gives a worker a seat; all are dead in the end, also of a test that fails."""
    seats: list[Seat] = []

    def take(name: str, at: Redis = redis, **options) -> Seat:
        seats.append(Seat(at, name, **options))
        return seats[-1]

    yield take
    await asyncio.gather(*(each.die() for each in seats))


def share(*seats: Seat) -> bool:
    """Whether they have it all, each a part and nobody another's."""
    return all(s.owned for s in seats) and sorted(n for s in seats for n in s.owned) == list(range(SHARDS))


async def test_workers_hear_what_they_own_and_all_of_it_is_heard(seat):
    one, two = seat("one"), seat("two")
    await eventually(lambda: share(one, two) and not one.heard.streams & two.heard.streams)
    heard = [{key for key in STREAMS if shard_of(key.symbol) in each.owned} for each in (one, two)]
    assert ([one.heard.streams, two.heard.streams], one.heard.streams | two.heard.streams) == (heard, set(STREAMS))
    await two.die()
    await eventually(lambda: one.heard.streams == set(STREAMS))


async def test_what_is_heard_is_written_under_its_shards_fence(seat):
    one = seat("one")
    await eventually(lambda: share(one) and one.heard.streams)
    fences = one.sharing.member.owned
    assert one.publisher._outbox.fences == {key: fences[shard_of(key.symbol)] for key in STREAMS}


async def test_who_ends_hands_over_first(seat):
    one = seat("one")
    await eventually(lambda: share(one))
    two = seat("two")
    await eventually(lambda: share(one, two))
    await one.end()
    await eventually(lambda: share(two))
    assert two.sharing.member.counters == Counters(received=SHARDS)


async def test_who_ends_does_not_wait_for_ever_for_who_never_gets_ready(seat, monkeypatch):
    monkeypatch.setattr("ingest.sharing._LEAVE_WITHIN_S", 0.5)
    one = seat("one")
    await eventually(lambda: share(one))
    two = seat("two")
    two.heard.flowing = set
    await eventually(lambda: two.heard.streams)
    await one.end()
    await eventually(lambda: share(two))
    with_symbols = {shard_of(symbol) for symbol in SYMBOLS}
    assert two.sharing.member.counters == Counters(taken=len(with_symbols), received=SHARDS - len(with_symbols))


async def test_the_last_one_does_not_wait_for_anybody_and_leaves_everything_free(seat):
    one = seat("one")
    await eventually(lambda: share(one))
    await one.end()
    two = seat("two")
    await eventually(lambda: share(two))
    assert two.sharing.member.counters.taken == SHARDS


async def test_while_redis_is_away_everybody_goes_on_and_ends_when_asked(seat):
    away = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    one = seat("one", away)
    one.heard.streams = set(STREAMS)
    await eventually(lambda: one.sharing._say_at_s)
    await one.end()
    assert one.heard.streams == set(STREAMS)
    await away.aclose()


@pytest.mark.parametrize("mode", ["mirror", "lease"])
async def test_a_stream_that_can_have_one_writer_has_one_and_another_when_that_dies(seat, mode):
    one, two = (seat(name, mode=mode, exchange=BooksWithoutIds()) for name in ("one", "two"))
    await eventually(lambda: share(one, two) and one.sharing.written | two.sharing.written == set(BOOKS))
    await eventually(lambda: one.heard.leave.keys() | two.heard.leave.keys() == set(BOOKS))
    both = [one.sharing.written & two.sharing.written, one.heard.leave.keys() & two.heard.leave.keys()]
    await two.die()
    await eventually(lambda: one.sharing.written == one.heard.leave.keys() == set(BOOKS))
    await eventually(lambda: one.heard.streams == set(STREAMS))
    assert both == [set(), set()]


async def test_what_is_written_by_one_is_written_under_the_fence_that_came_with_it(seat):
    one = seat("one", mode="mirror", exchange=BooksWithoutIds())
    await eventually(lambda: share(one) and one.heard.leave)
    fences = {key: one.sharing.member.owned[shard_of(key.symbol)] for key in BOOKS}
    assert (one.heard.leave, one.publisher._outbox.fences) == (fences, fences)


async def test_in_a_mirror_everybody_hears_everything_and_only_what_one_writes_has_a_fence(seat):
    one, two = (seat(name, mode="mirror", exchange=BooksWithoutIds()) for name in ("one", "two"))
    await eventually(lambda: share(one, two) and one.sharing.written | two.sharing.written == set(BOOKS))
    await eventually(lambda: one.heard.streams & two.heard.streams == set(STREAMS))
    fenced = [set(each.publisher._outbox.fences) for each in (one, two)]
    assert (fenced[0] | fenced[1], [each >= s.sharing.written for each, s in zip(fenced, (one, two), strict=True)]) == (
        set(BOOKS),
        [True, True],
    )


async def test_it_says_how_many_shards_a_worker_has_and_how_it_came_by_them(redis):
    publisher = Publisher(redis, "binance")
    sharing = Sharing(redis, Binance(), publisher, mode="lease", name="one")
    worker = make_worker(redis, types.SimpleNamespace(stream_url="", rest_url=""), ())
    await sharing.round((), Heard())
    registry = CollectorRegistry()
    registry.register(_Collector(worker, publisher, sharing))
    names = ("owned", "taken_total", "received_total", "given_total", "lost_total")
    assert [registry.get_sample_value(f"tickbus_shards_{name}") for name in names] == [SHARDS, SHARDS, 0, 0, 0]


async def test_streams_come_and_go_while_they_are_shared(redis):
    sharing = Sharing(redis, Binance(), Publisher(redis, "binance"), mode="lease", name="one", every_s=0.1)
    wanted, heard, stopping = TRADES[:12], Heard(), asyncio.Event()
    running = asyncio.create_task(sharing.run(lambda: wanted, heard, stopping))
    await eventually(lambda: heard.streams == set(TRADES[:12]))
    wanted = TRADES[6:]
    await eventually(lambda: heard.streams == set(TRADES[6:]))
    stopping.set()
    await running
