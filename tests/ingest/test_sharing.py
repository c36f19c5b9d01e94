"""A worker's seat at the table of leases, beside others and alone."""

import asyncio
from collections.abc import Collection

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from deploy.local_redis import free_port
from ingest.contract.keys import StreamKey
from ingest.exchanges.binance import Binance
from ingest.publisher import Publisher
from ingest.shards import SHARDS, Counters, shard_of
from ingest.sharing import Sharing
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = [f"A{i}/USDT" for i in range(20)]
TRADES, BOOKS = ([StreamKey("binance", channel, symbol) for symbol in SYMBOLS] for channel in ("trades", "orderbook"))
STREAMS = [*TRADES, *BOOKS]


class BooksWithoutIds(Binance):
    """As of exchanges whose books can have one writer at a time."""

    single_writer = frozenset({"orderbook"})


class Heard:
    """What a worker hears, and it flows at once."""

    def __init__(self) -> None:
        self.streams: set[StreamKey] = set()

    async def hear(self, streams: Collection[StreamKey]) -> None:
        self.streams = set(streams)

    def flowing(self) -> set[StreamKey]:
        return self.streams


class Seat:
    """One worker, as far as sharing goes."""

    def __init__(self, redis: Redis, name: str, *, mode="lease", exchange: Binance | None = None) -> None:
        exchange = exchange or Binance()
        self.publisher = Publisher(redis, "binance")
        self.sharing = Sharing(redis, exchange, self.publisher, mode=mode, name=name, every_s=0.1)
        self.heard = Heard()
        self.stopping = asyncio.Event()
        self.running = asyncio.create_task(self.sharing.run(STREAMS, self.heard, self.stopping))

    @property
    def owned(self) -> set[int]:
        return set(self.sharing.member.owned)

    async def end(self) -> None:
        self.stopping.set()
        await self.running

    async def die(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])


def share(*seats: Seat) -> bool:
    """Whether they have it all, each a part and nobody another's."""
    return all(s.owned for s in seats) and sorted(n for s in seats for n in s.owned) == list(range(SHARDS))


async def test_workers_hear_what_they_own_and_all_of_it_is_heard(redis):
    one, two = Seat(redis, "one"), Seat(redis, "two")
    await eventually(lambda: share(one, two) and not one.heard.streams & two.heard.streams)
    heard = [{key for key in STREAMS if shard_of(key.symbol) in seat.owned} for seat in (one, two)]
    assert ([one.heard.streams, two.heard.streams], one.heard.streams | two.heard.streams) == (heard, set(STREAMS))
    await two.die()
    await eventually(lambda: one.heard.streams == set(STREAMS))
    await one.end()


async def test_what_is_heard_is_written_under_its_shards_fence(redis):
    seat = Seat(redis, "one")
    await eventually(lambda: share(seat) and seat.heard.streams)
    fences = seat.sharing.member.owned
    assert seat.publisher._fences == {key: fences[shard_of(key.symbol)] for key in STREAMS}
    await seat.end()


async def test_who_ends_hands_over_first(redis):
    one, two = Seat(redis, "one"), Seat(redis, "two")
    await eventually(lambda: share(one, two))
    await one.end()
    await eventually(lambda: share(two))
    assert two.sharing.member.counters == Counters(received=SHARDS)
    await two.end()


async def test_the_last_one_does_not_wait_for_anybody_and_leaves_everything_free(redis):
    one = Seat(redis, "one")
    await eventually(lambda: share(one))
    await one.end()
    two = Seat(redis, "two")
    await eventually(lambda: share(two))
    assert two.sharing.member.counters.taken == SHARDS
    await two.end()


async def test_while_redis_is_away_everybody_goes_on_and_ends_when_asked():
    away = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    seat = Seat(away, "one")
    seat.heard.streams = set(STREAMS)
    await eventually(lambda: seat.sharing._say_at_s)
    await seat.end()
    assert seat.heard.streams == set(STREAMS)
    await away.aclose()


@pytest.mark.parametrize("mode", ["mirror", "lease"])
async def test_a_stream_that_can_have_one_writer_has_one_and_another_when_that_dies(redis, mode):
    one, two = (Seat(redis, name, mode=mode, exchange=BooksWithoutIds()) for name in ("one", "two"))
    await eventually(lambda: share(one, two) and one.sharing.written | two.sharing.written == set(BOOKS))
    both = [one.sharing.written & two.sharing.written, one.heard.streams & two.heard.streams & set(BOOKS)]
    await two.die()
    await eventually(lambda: one.sharing.written == set(BOOKS))
    await eventually(lambda: one.heard.streams == set(STREAMS))
    assert both == [set(), set()]
    await one.end()


async def test_in_a_mirror_everybody_hears_whatever_many_may_write_and_it_has_no_fence(redis):
    one, two = (Seat(redis, name, mode="mirror", exchange=BooksWithoutIds()) for name in ("one", "two"))
    await eventually(lambda: share(one, two) and one.sharing.written | two.sharing.written == set(BOOKS))
    await eventually(lambda: one.heard.streams | two.heard.streams == set(STREAMS))
    fenced = set(one.publisher._fences) | set(two.publisher._fences)
    assert (one.heard.streams & two.heard.streams, fenced) == (set(TRADES), set(BOOKS))
    await one.end()
    await two.end()
