"""While Redis cannot take events, for whatever reason, and once it can again: all of them, once, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import pytest
from redis.asyncio import Redis

from deploy.local_redis import LocalRedis, local_redis
from ingest.backoff import Backoff
from ingest.publisher import CannotAppend, Publisher
from tests.chaos.controls import Resent
from tests.chaos.link import Link
from tests.eventually import eventually
from tests.ingest.spilling import spilling
from tests.ingest.test_publisher import (
    STATUS,
    TICKER,
    TRADES,
    all_identities,
    all_up_to,
    connect,
    publishing,
    status,
    ticker,
    trade,
)

pytestmark = pytest.mark.slow

BOUND = 50
CAP = 16 << 20
WRITER = ("--user", "writer", "on", ">secret", "~*", "+@all")
LOADS_SLOWLY = ("--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024")


class RefusingLink(Link):
    """Answers in the place of the server, with an error."""

    word = b""

    def refuse(self, word: bytes) -> None:
        self.word = word
        self._snag = "cut" if word else None
        self.reset()

    async def _request(self, wire, reader, chunk):
        if not self.word:
            return await super()._request(wire, reader, chunk)
        wire.to_client.write(b"-%s said by the test\r\n" % self.word)
        await wire.to_client.drain()
        wire.silent = True
        return b""

    async def _reply(self, wire, reader, chunk):
        return chunk if self.word else await super()._reply(wire, reader, chunk)


class Scene(NamedTuple):
    server: LocalRedis
    redis: Redis
    """The test's own way to the server."""
    link: RefusingLink
    writer: Redis
    """Through the link, as a user of its own."""


@asynccontextmanager
async def scene(*options: str) -> AsyncIterator[Scene]:
    with local_redis("--appendonly", "yes", "--appendfsync", "always", *WRITER, *options) as server:
        redis = connect(server.url)
        async with RefusingLink(server.port) as link:
            writer = connect(f"redis://writer:secret@127.0.0.1:{link.port}/0")
            yield Scene(server, redis, link, writer)
            await writer.aclose()
        await redis.aclose()


def said_to_redis(reason: str, begin: tuple[str, ...], end: tuple[str, ...]):
    @asynccontextmanager
    async def trouble(scene: Scene) -> AsyncIterator[None]:
        for command in begin:
            await scene.redis.execute_command(*command.split())
        yield
        for command in end:
            await scene.redis.execute_command(*command.split())
        if reason:
            await has_said(scene.redis, reason)

    return trouble


async def has_said(redis: Redis, reason: str) -> None:
    assert f"errorstat_{reason}" in await redis.info("errorstats")


def answered(word: bytes):
    @asynccontextmanager
    async def trouble(scene: Scene) -> AsyncIterator[None]:
        scene.link.refuse(word)
        yield
        scene.link.refuse(b"")

    return trouble


def snagged(what: str):
    @asynccontextmanager
    async def trouble(scene: Scene) -> AsyncIterator[None]:
        scene.link.snag(what, 0.3)
        yield

    return trouble


@asynccontextmanager
async def down(scene: Scene) -> AsyncIterator[None]:
    await asyncio.to_thread(scene.server.kill)
    yield
    await asyncio.to_thread(scene.server.start)


@asynccontextmanager
async def loading(scene: Scene) -> AsyncIterator[None]:
    """It starts while the publisher is at it, and has much to load."""
    await asyncio.to_thread(scene.server.kill)
    starting = asyncio.create_task(asyncio.to_thread(scene.server.start))
    yield
    await starting
    await has_said(scene.redis, "LOADING")


@asynccontextmanager
async def misconf(scene: Scene) -> AsyncIterator[None]:
    """It cannot save, as a folder stands where its file should."""
    in_the_way = scene.server.folder / "dump.rdb"
    in_the_way.mkdir()
    await scene.redis.config_set("save", "3600 1")
    await scene.redis.bgsave()
    await eventually(lambda: has_saved(scene.redis, "err"))
    yield
    in_the_way.rmdir()
    await scene.redis.bgsave()
    await eventually(lambda: has_saved(scene.redis, "ok"))
    await has_said(scene.redis, "MISCONF")


async def has_saved(redis: Redis, status: str):
    return (await redis.info("persistence"))["rdb_last_bgsave_status"] == status


@asynccontextmanager
async def slow(scene: Scene) -> AsyncIterator[None]:
    scene.link.delay(0.1)
    yield
    scene.link.delay(0)


def attempts(publisher: Publisher) -> int:
    return publisher.counters.away + publisher.counters.denied


class Trouble(NamedTuple):
    lasts: Callable[[Scene], AbstractAsyncContextManager[None]]
    shows: Callable[[Publisher], int] = attempts
    options: tuple[str, ...] = ()


TROUBLES = {
    "down": Trouble(down),
    "slow": Trouble(slow, lambda publisher: publisher.counters.appended),
    "oom": Trouble(said_to_redis("OOM", ("CONFIG SET maxmemory 1",), ("CONFIG SET maxmemory 0",))),
    "noreplicas": Trouble(
        said_to_redis("NOREPLICAS", ("CONFIG SET min-replicas-to-write 1",), ("CONFIG SET min-replicas-to-write 0",))
    ),
    "readonly": Trouble(said_to_redis("READONLY", ("REPLICAOF 127.0.0.1 1",), ("REPLICAOF NO ONE",))),
    "masterdown": Trouble(
        said_to_redis(
            "MASTERDOWN",
            ("CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"),
            ("REPLICAOF NO ONE", "CONFIG SET replica-serve-stale-data yes"),
        )
    ),
    "misconf": Trouble(misconf),
    "loading": Trouble(loading, options=LOADS_SLOWLY),
    "tryagain": Trouble(answered(b"TRYAGAIN")),
    "clusterdown": Trouble(answered(b"CLUSTERDOWN")),
    "an error nobody knows": Trouble(answered(b"ERR what is this")),
    "a missing right": Trouble(
        said_to_redis("NOPERM", ("ACL SETUSER writer -evalsha",), ("ACL SETUSER writer +evalsha",))
    ),
    "a right that the script lacks": Trouble(
        said_to_redis("ERR", ("ACL SETUSER writer -xadd",), ("ACL SETUSER writer +xadd",))
    ),
    "another password": Trouble(
        said_to_redis(
            "",  # the server does not count these
            ("ACL SETUSER writer resetpass >other", "CLIENT KILL USER writer"),
            ("ACL SETUSER writer resetpass >secret",),
        )
    ),
    "a key of another type": Trouble(
        said_to_redis(
            "WRONGTYPE",
            ("RENAME md:{binance}:ticker:BTC-USDT:state aside", "SET md:{binance}:ticker:BTC-USDT:state x"),
            ("RENAME aside md:{binance}:ticker:BTC-USDT:state",),
        )
    ),
    "cut": Trouble(snagged("cut")),
    "late": Trouble(snagged("late")),
    "lost-reply": Trouble(snagged("lost-reply")),
}


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr("ingest.publisher._BACKOFF", Backoff(first_s=0.02, most_s=0.2))


def put(publisher, ids):
    for i in ids:
        for event in (*(trade(i, key) for key in TRADES), ticker(i), status(i)):
            publisher.put(event)


async def loaded(redis: Redis) -> None:
    """Enough that its start takes a while."""
    async with redis.pipeline(transaction=False) as pipeline:
        for i in range(2_000):
            pipeline.set(f"ballast:{i}", "x" * 100)
        await pipeline.execute()
    await redis.bgrewriteaof()


@pytest.mark.parametrize("name", TROUBLES)
async def test_nothing_is_lost_doubled_or_overtaken(name, tmp_path):
    trouble = TROUBLES[name]
    async with scene(*trouble.options) as here:
        if trouble.lasts is loading:
            await loaded(here.redis)
        with spilling(tmp_path, CAP) as spill:
            async with publishing(here.writer, bound=BOUND, spill=spill) as publisher:
                put(publisher, range(1, 41))
                await eventually(lambda: publisher.counters.appended > 100)
                before = trouble.shows(publisher)
                async with trouble.lasts(here):
                    put(publisher, range(41, 241))
                    spilled = publisher.counters.spilled
                    await eventually(lambda: trouble.shows(publisher) > before)
                    put(publisher, range(241, 301))
                put(publisher, range(301, 341))
                await eventually(lambda: publisher.counters.spilled == 0)
        assert (spilled > 0, publisher.counters.put, await all_identities(here.redis)) == (True, 1_700, all_up_to(340))


async def test_a_plain_resend_doubles(tmp_path):
    """The negative control."""
    async with scene() as here:
        publisher = Resent(here.writer, "binance")
        running = asyncio.create_task(publisher.run())
        put(publisher, range(1, 41))
        await eventually(lambda: here.redis.xlen(str(TRADES[0])))
        here.link.snag("lost-reply")
        put(publisher, range(41, 81))
        await eventually(lambda: here.link._snag is None)
        publisher.finish()
        await running
        found = [fields[b"s"] for _, fields in await here.redis.xrange(str(TRADES[0]))]
        assert (len(set(found)), len(found) > 80) == (80, True)


@pytest.mark.parametrize("before", [5, 400])
async def test_what_is_not_written_when_asked_to_end_is_left_to_the_next_worker(before, tmp_path):
    """Whether the disk was in use before, or only at the end."""
    async with scene() as here:
        with spilling(tmp_path, CAP) as spill:
            publisher = Publisher(here.writer, "binance", bound=BOUND * 5, spill=spill)
            running = asyncio.create_task(publisher.run())
            put(publisher, range(1, 11))
            await eventually(lambda: publisher.counters.appended == 50)
            here.link.snag("lost-reply")
            put(publisher, range(11, 21))
            await eventually(lambda: attempts(publisher) > 0)
            await asyncio.to_thread(here.server.kill)
            put(publisher, range(21, 21 + before))
            publisher.finish()
            unwritten = await running
        await asyncio.to_thread(here.server.start)
        with spilling(tmp_path, CAP) as spill:
            async with publishing(here.writer, spill=spill) as publisher:
                put(publisher, range(21 + before, 26 + before))
                await eventually(lambda: publisher.counters.spilled == 0)
        assert (unwritten, await all_of_both_lives(here.redis)) == (0, all_up_to(25 + before))


async def all_of_both_lives(redis):
    """As `all_identities`, of a worker that came after the server had died: what that had told others it cannot know.

    So it goes on in another generation, and says so.
    """
    found = []
    for key in (*TRADES, TICKER, STATUS):
        entries = [fields for _, fields in await redis.xrange(str(key))]
        (begun,) = [i for i, fields in enumerate(entries) if fields[b"type"] == b"gap"]
        numbers = [int(fields[b"n"]) for fields in entries]
        assert numbers == [*range(1, begun + 1), *range(1, len(entries) - begun + 1)]
        found.append([fields[b"s"].decode() for i, fields in enumerate(entries) if i != begun])
    return found


async def test_asked_to_end_while_somebody_has_to_mend_something_it_says_so_and_leaves_all_to_the_next(tmp_path):
    async with scene() as here:
        with spilling(tmp_path, CAP) as spill:
            publisher = Publisher(here.writer, "binance", bound=BOUND, spill=spill)
            running = asyncio.create_task(publisher.run())
            put(publisher, range(1, 6))
            await eventually(lambda: publisher.counters.appended == 25)
            async with TROUBLES["a missing right"].lasts(here):
                put(publisher, range(6, 31))
                await eventually(lambda: publisher.counters.denied > 0)
                publisher.finish()
                with pytest.raises(CannotAppend, match=r"evalsha.*0 events are not written, 125 lie on disk"):
                    await running
        with spilling(tmp_path, CAP) as spill:
            async with publishing(here.writer, spill=spill) as publisher:
                await eventually(lambda: publisher.counters.appended == 125)
        assert await all_identities(here.redis) == all_up_to(30)


async def test_without_a_spill_the_end_says_how_many_are_not_written():
    async with scene() as here:
        publisher = Publisher(here.writer, "binance")
        running = asyncio.create_task(publisher.run())
        put(publisher, range(1, 6))
        await eventually(lambda: publisher.counters.appended == 25)
        async with TROUBLES["a missing right"].lasts(here):
            put(publisher, range(6, 31))
            await eventually(lambda: publisher.counters.denied > 0)
            publisher.finish()
            with pytest.raises(CannotAppend, match=r"125 events are not written, 0 lie on disk"):
                await running


async def test_what_somebody_has_to_mend_is_tried_again_at_the_longest_wait_only(monkeypatch):
    monkeypatch.setattr("ingest.publisher._BACKOFF", Backoff(first_s=0.001, most_s=3600))
    async with scene() as here:
        publisher = Publisher(here.writer, "binance")
        running = asyncio.create_task(publisher.run())
        put(publisher, range(1, 6))
        await eventually(lambda: publisher.counters.appended == 25)
        async with TROUBLES["a missing right"].lasts(here):
            put(publisher, range(6, 11))
            await eventually(lambda: publisher.counters.denied > 0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await eventually(lambda: publisher.counters.denied > 1)
        publisher.finish()  # and then once more at once
        assert (await running, await all_identities(here.redis)) == (0, all_up_to(10))


async def test_with_redis_away_and_the_disk_full_a_worker_holds_a_constant_number_of_events(tmp_path):
    async with scene() as here:
        with spilling(tmp_path, 20_000) as spill:
            async with publishing(here.writer, bound=BOUND, spill=spill) as publisher:
                async with TROUBLES["oom"].lasts(here):
                    putting = asyncio.create_task(put_with_care(publisher, 2_000))
                    await eventually(lambda: publisher.full and publisher.counters.away > 3)
                    held = publisher.counters.queued + publisher.counters.unconfirmed
                    waited_s = publisher.counters.waited_s
                await putting
                await eventually(lambda: publisher.counters.spilled == 0)
        limit = BOUND + 5 * 500
        assert (held <= limit, waited_s > 0, spill.size_bytes <= 20_000, await all_identities(here.redis)) == (
            True,
            True,
            True,
            all_up_to(2_000),
        )


async def put_with_care(publisher, last):
    """As a connection does."""
    for i in range(1, last + 1):
        put(publisher, [i])
        if publisher.full:
            await publisher.room()


async def test_what_is_not_yet_on_the_servers_disk_is_bounded_as_well(monkeypatch):
    monkeypatch.setattr("ingest.publisher._TAIL_BYTES", 10_000)
    async with scene() as here:
        async with publishing(here.writer, bound=BOUND) as publisher:
            putting = asyncio.create_task(put_with_care(publisher, 200))
            await eventually(lambda: publisher._tail.size_bytes >= 10_000 and not publisher.counters.unconfirmed)
            await eventually(lambda: publisher.full)
            held = publisher._tail.size_bytes
            monkeypatch.setattr("ingest.publisher.SYNCED_AFTER_S", 0)
            await putting
        assert (held < 200_000, await all_identities(here.redis)) == (True, all_up_to(200))


async def test_nothing_is_let_go_while_redis_is_away(monkeypatch):
    """It may come back without what it confirmed last."""
    monkeypatch.setattr("ingest.publisher._SYNC_EVERY_S", 0.01)
    with local_redis() as server:
        client = connect(server.url)
        async with publishing(client) as publisher:
            put(publisher, range(1, 6))
            await eventually(lambda: publisher.counters.appended == 25)
            await asyncio.to_thread(server.kill)
            monkeypatch.setattr("ingest.publisher.SYNCED_AFTER_S", 0)
            await eventually(lambda: publisher.counters.away > 3)
            await asyncio.to_thread(server.start)
            await eventually(lambda: publisher.counters.again == 25)
            await eventually(lambda: publisher.counters.unconfirmed == 0)
        found = [fields[b"s"] for _, fields in await client.xrange(str(TRADES[0])) if fields[b"type"] == b"trade"]
        await client.aclose()
    assert found == [b"1", b"2", b"3", b"4", b"5"]
