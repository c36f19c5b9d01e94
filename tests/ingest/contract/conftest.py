"""A real server for the append script."""

import pytest
from redis import Redis

from tests.ingest.contract.script import Script


@pytest.fixture
def real(redis_server):
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield Script(client)
