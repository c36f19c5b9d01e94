"""What Prometheus reads."""

from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from ingest.exchanges.binance import Binance
from ingest.metrics import _Collector
from ingest.publisher import Publisher
from ingest.shards import SHARDS
from ingest.sharing import Sharing
from tests.end_to_end.running import make_worker


async def test_it_says_how_many_shards_a_worker_has_and_how_it_came_by_them(redis):
    publisher = Publisher(redis, "binance")
    sharing = Sharing(redis, Binance(), publisher, mode="lease", name="one")
    worker = make_worker(redis, SimpleNamespace(stream_url="", rest_url=""), ())
    await sharing.round((), SimpleNamespace(flowing=set, hear=nothing))
    registry = CollectorRegistry()
    registry.register(_Collector(worker, publisher, sharing))
    names = ("owned", "taken_total", "received_total", "given_total", "lost_total")
    assert [registry.get_sample_value(f"tickbus_shards_{name}") for name in names] == [SHARDS, SHARDS, 0, 0, 0]


async def nothing(_streams):
    """No connection is wanted."""
