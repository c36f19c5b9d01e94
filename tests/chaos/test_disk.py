"""A disk forgets what was not synced, and syncs as slowly as it is told."""

import asyncio

import pytest
from redis.asyncio import Redis

from deploy.local_redis import LocalRedis
from tests.chaos.disk import Disk, NoShim

pytestmark = pytest.mark.slow

NO_ANSWER_S = 0.3


@pytest.fixture
def disk(tmp_path):
    try:
        return Disk(tmp_path)
    except NoShim as missing:
        pytest.skip(str(missing))


@pytest.fixture
async def server(disk, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    server = LocalRedis(data, "--appendonly", "yes", "--appendfsync", "always", env=disk.preload)
    await asyncio.to_thread(server.start)
    yield server
    server.stop()


async def test_what_was_not_synced_is_forgotten(disk, server):
    async with Redis(port=server.port) as redis:
        await redis.set("synced", 1)
        await redis.config_set("appendfsync", "no")
        await redis.set("unsynced", 1)
    server.kill()
    forgotten = disk.forget(server.folder)
    await asyncio.to_thread(server.start)
    async with Redis(port=server.port) as redis:
        assert (await redis.keys(), forgotten > 0) == ([b"synced"], True)


async def test_a_slow_disk_keeps_waiting_whoever_waits_for_it(disk, server):
    async with Redis(port=server.port) as redis:
        disk.stall()
        asked = asyncio.create_task(redis.set("a", 1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(NO_ANSWER_S):
                await asyncio.shield(asked)
        disk.recover()
        assert await asked is True
