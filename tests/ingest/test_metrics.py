"""What Prometheus is told."""

from types import SimpleNamespace

from prometheus_client import CollectorRegistry, generate_latest

from ingest.metrics import _Collector
from ingest.publisher import Publisher
from tests.ingest.test_publisher import connect, trade


def test_what_waits_and_whether_the_sockets_do():
    publisher = Publisher(connect("redis://127.0.0.1:1/0"), "binance", bound=2)
    for i in (1, 2):
        publisher.put(trade(i))
    registry = CollectorRegistry()
    registry.register(_Collector(SimpleNamespace(connections=()), publisher, None))
    said = dict(line.split() for line in generate_latest(registry).decode().splitlines() if not line.startswith("#"))
    names = ("queued", "full", "spilled", "denied_total", "waited_seconds_total")
    assert [said[f"tickbus_publisher_{name}"] for name in names] == ["2.0", "1.0", "0.0", "0.0", "0.0"]
