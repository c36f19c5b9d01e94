"""What a worker counts, as Prometheus reads it, and whether it is ready: nothing is done for it until somebody asks."""

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast
from wsgiref.simple_server import WSGIRequestHandler, make_server

from msgspec import structs
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from ingest.publisher import Publisher
from ingest.reporting import State
from ingest.sharing import Sharing
from ingest.worker import Worker

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_NOW = ("queued", "unconfirmed", "spilled")
"""What rises and falls; the rest only rises."""
_NAMES = {"waited_s": "waited_seconds"}


def serve_metrics(port: int, worker: Worker, publisher: Publisher, sharing: Sharing | None = None) -> None:
    """Answer on 127.0.0.1 from a thread of its own: `/metrics`, and `/readyz` with 200 or 503.

    A worker is ready once it listens, and while all its connections stand. Raises OSError if the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(worker, publisher, sharing))
    metrics = make_wsgi_app(registry)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/readyz":
            return cast("Iterable[bytes]", metrics(environ, start_response))
        ready = worker.listens and all(each.state == State.CONNECTED for each in worker.connections)
        start_response("200 OK" if ready else "503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"ready\n" if ready else b"not connected\n"]

    server = make_server("127.0.0.1", port, answer, ThreadingWSGIServer, _Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as of the library
        """The log is for what happens; that somebody looks is not news."""


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
