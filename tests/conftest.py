"""What tests stand on: a real Redis on a free port, emptied before each test, and patience without sleeping."""

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from deploy.local_redis import LocalRedis, local_redis

# No test asserts how long something takes, and the same commit has the same outcome; `make fuzz` is there to wander.
settings.register_profile("tickbus", deadline=None, derandomize=True)
settings.load_profile("tickbus")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[LocalRedis]:
    """One server for the whole run; a test that kills a server starts its own."""
    with local_redis() as server:
        yield server


@pytest.fixture
async def redis(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    """A client of the real server, whose data base is empty. Bytes in, bytes out."""
    client = Redis.from_url(redis_server.url, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    yield client
    await client.aclose()
