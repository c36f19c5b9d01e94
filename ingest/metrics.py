"""What a worker counts, as Prometheus reads it: nothing is done for it until somebody asks."""

from collections.abc import Iterator

from msgspec import structs
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.connection import State
from ingest.publisher import Publisher
from ingest.sharing import Sharing
from ingest.worker import Worker

_NOW = ("queued", "unconfirmed", "spilled")
"""What rises and falls; the rest only rises."""
_NAMES = {"waited_s": "waited_seconds"}


def serve_metrics(port: int, worker: Worker, publisher: Publisher, sharing: Sharing | None = None) -> None:
    """Answer on 127.0.0.1 from a thread of its own. Raises OSError if the port is taken."""
    registry = CollectorRegistry()
    registry.register(_Collector(worker, publisher, sharing))
    start_http_server(port, addr="127.0.0.1", registry=registry)


class _Collector(Collector):
    def __init__(self, worker: Worker, publisher: Publisher, sharing: Sharing | None) -> None:
        self._worker = worker
        self._publisher = publisher
        self._sharing = sharing

    def collect(self) -> Iterator[Metric]:
        for name, value in structs.asdict(self._publisher.counters).items():
            family = GaugeMetricFamily if name in _NOW else CounterMetricFamily
            yield family(f"tickbus_publisher_{_NAMES.get(name, name)}", f"Publisher: {name}", value=value)
        full = float(self._publisher.full)
        yield GaugeMetricFamily("tickbus_publisher_full", "1 while nothing is read from the exchange", value=full)
        for field in ("frames", "skipped", "connects"):
            counter = CounterMetricFamily(f"tickbus_connection_{field}", f"Connection: {field}", labels=["connection"])
            for connection in self._worker.connections:
                counter.add_metric([connection.name], getattr(connection.counters, field))
            yield counter
        up = GaugeMetricFamily("tickbus_connection_up", "1 while connected", labels=["connection"])
        for connection in self._worker.connections:
            up.add_metric([connection.name], float(connection.state == State.CONNECTED))
        yield up
        if self._sharing:
            member = self._sharing.member
            yield GaugeMetricFamily(
                "tickbus_shards_owned", "Shards whose lease this worker has", value=len(member.owned)
            )
            for name, value in structs.asdict(member.counters).items():
                yield CounterMetricFamily(f"tickbus_shards_{name}", f"Shards that were {name}", value=value)
