"""What Prometheus is told."""

import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from deploy.local_redis import free_port
from ingest.metrics import _Collector, serve_metrics
from ingest.publisher import Publisher
from ingest.reporting import State
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


def answer(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as said:
            return said.status
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


@pytest.mark.parametrize(
    ("listens", "states", "status"),
    [
        (False, (), 503),
        (True, (), 200),
        (True, (State.CONNECTED,), 200),
        (True, (State.CONNECTED, State.RECONNECTING), 503),
    ],
)
def test_a_worker_is_ready_once_it_listens_and_while_all_its_connections_stand(listens, states, status):
    worker = SimpleNamespace(listens=listens, connections=[SimpleNamespace(state=state) for state in states])
    port = free_port()
    serve_metrics(port, worker, Publisher(connect("redis://127.0.0.1:1/0"), "binance"))
    assert answer(port) == status
