"""The stages of the line, each by itself and then together: the project's own code, as worker and reader run it."""

import asyncio
import socket
import time
from collections.abc import Iterator

import hiredis

from consumers import Delivery, Reader
from consumers.partition import Partition
from consumers.services import lines
from ingest.backlog import FLUSH_EVENTS
from ingest.contract.append import SCRIPT, Batch, appended, batch
from ingest.contract.codec import encode
from ingest.contract.events import Event, Snapshot
from ingest.exchanges.book import Book
from ingest.publisher import FLUSHES_IN_FLIGHT, Publisher
from tests.benchmarks.measuring import Cost, measured
from tests.benchmarks.recording import CHANNELS, SYMBOLS
from tests.benchmarks.scene import Scene, conversation
from tests.end_to_end.running import working
from tests.eventually import eventually

_OPENING = 2 + 3 * len(SYMBOLS)
"""What is said before the first frame: of the connection, and of each book syncing, its snapshot, live."""
_WITHIN_SECONDS = 60


async def decode(scene: Scene) -> Cost:
    """Frames → events: read, checked, books kept."""
    talk, _ = conversation(scene.recording)
    said = 0
    async with measured(len(scene.recording.frames)) as stretch:
        for frame in scene.recording.frames:
            said += len(talk.receive(frame, time.time_ns()))
    _check(said, len(scene.recording.frames))
    return stretch.cost


async def snapshot(scene: Scene) -> Cost:
    """A book → the bytes of a snapshot entry. Each book in sync costs this every ten seconds at most."""
    first = next(event.body for event in scene.events if isinstance(event.body, Snapshot))
    book = Book(first.bids, first.asks, None)
    times = 50
    async with measured(times) as stretch:
        for _ in range(times):
            bids, asks, depth = book.levels()
            encode(Snapshot(bids=bids, asks=asks, depth=depth, received_ns=time.time_ns()))
    return stretch.cost


async def pack(scene: Scene) -> Cost:
    """Events → the bytes of calls, 500 in each."""
    async with measured(len(scene.events)) as stretch:
        for sent in _batches(scene.events):
            _packed("", sent.arguments())
    return stretch.cost


async def append(scene: Scene) -> Cost:
    """Events → Redis, by a publisher that is never short of them."""
    await scene.redis.flushall()
    publisher = Publisher(scene.redis, "binance")
    async with measured(len(scene.events), scene.redis) as stretch:
        running = asyncio.create_task(publisher.run())
        for event in scene.events:
            publisher.put(event)
            if publisher.full:
                await publisher.room()
        publisher.finish()
        await running
    _check(publisher.counters.appended, len(scene.events))
    return stretch.cost


async def limit(scene: Scene) -> Cost:
    """What the server can take: the calls for the same events, packed beforehand and sent as fast as it answers."""
    await scene.redis.flushall()
    digest = await scene.redis.script_load(SCRIPT)
    batches = list(_batches(scene.events))
    calls = [_packed(digest, sent.arguments(line="limit", number=i)) for i, sent in enumerate(batches, start=1)]
    got: list[list[bytes]] = []
    at = scene.redis.connection_pool.connection_kwargs
    with socket.create_connection((at["host"], at["port"]), timeout=_WITHIN_SECONDS) as peer:
        replies = _replies(peer)
        async with measured(len(scene.events), scene.redis) as stretch:
            for i, call in enumerate(calls):
                peer.sendall(call)
                if i >= FLUSHES_IN_FLIGHT:
                    got.append(next(replies))
            while len(got) < len(calls):
                got.append(next(replies))
    streams = (stream for sent, reply in zip(batches, got, strict=True) for stream in appended(sent, reply))
    _check(sum(stream.appended for stream in streams), len(scene.events))
    return stretch.cost


async def line(scene: Scene) -> Cost:
    """Frames on a WebSocket → Redis, by a whole worker."""
    await scene.redis.flushall()
    frames = len(scene.recording.frames)
    async with working(scene.redis, scene.sender, SYMBOLS, channels=CHANNELS) as worker:
        publisher = worker._publisher
        await eventually(lambda: publisher.counters.appended == _OPENING)
        async with measured(frames, scene.redis) as stretch:
            scene.sender.send(frames)
            await eventually(lambda: publisher.counters.appended >= _OPENING + frames, _WITHIN_SECONDS)
    return stretch.cost


async def read(scene: Scene) -> Cost:
    """Redis → a handler that does nothing: read, decoded, numbers checked, acknowledged; by competing readers."""
    return await _read(scene, "none")


async def read_owned(scene: Scene) -> Cost:
    """The same by an owner: in order, under a lease, each acknowledgement fenced."""
    return await _read(scene, "symbol")


async def serve(scene: Scene) -> Cost:
    """The same by a service, whose lines run side by side."""
    return await _serve(scene, commits=False)


async def commit(scene: Scene) -> Cost:
    """The same, where each entry has an effect in Redis in one step with its acknowledgement."""
    return await _serve(scene, commits=True)


class _Counting:
    """A service that counts."""

    name = "benchmark"
    channels = CHANNELS
    partition: Partition = "symbol"

    def __init__(self, entries: int, done: asyncio.Event, *, commits: bool) -> None:
        self._left = entries
        self._done = done
        self._commits = commits

    async def handle(self, delivery: Delivery) -> None:
        if self._commits:
            await delivery.commit(("INCR", "benchmark:{binance}"))
        self._left -= 1
        if not self._left:
            self._done.set()


async def _serve(scene: Scene, *, commits: bool) -> Cost:
    entries = await _filled(scene)
    done = asyncio.Event()
    service = _Counting(entries, done, commits=commits)
    async with measured(entries, scene.redis) as stretch:
        async with Reader(scene.redis, group="benchmark", partition="symbol", channels=CHANNELS) as reader:
            await lines.run(service, reader, done)
    return stretch.cost


async def _filled(scene: Scene) -> int:
    """Put the events into Redis; how many entries these are."""
    await append(scene)
    entries = 0
    for symbol in SYMBOLS:
        for channel in CHANNELS:
            entries += await scene.redis.xlen(f"md:{{binance}}:{channel}:{symbol.replace('/', '-')}")
    return entries


async def _read(scene: Scene, partition: Partition) -> Cost:
    entries = await _filled(scene)
    got = 0
    async with measured(entries, scene.redis) as stretch:
        async with Reader(scene.redis, group="benchmark", partition=partition, channels=CHANNELS) as reader:
            async for delivery in reader:
                await delivery.ack()
                got += 1
                if got == entries:
                    reader.stop()
    return stretch.cost


def _batches(events: list[Event]) -> Iterator[Batch]:
    for i in range(0, len(events), FLUSH_EVENTS):
        yield batch("benchmark", events[i : i + FLUSH_EVENTS])


def _packed(digest: str, arguments: tuple[str | bytes | int, ...]) -> bytes:
    call: bytes = hiredis.pack_command(("EVALSHA", digest, *arguments))  # type: ignore[arg-type]
    return call


def _replies(peer: socket.socket) -> Iterator[list[bytes]]:
    parser = hiredis.Reader()
    while True:
        while (reply := parser.gets()) is not False:
            if not isinstance(reply, list):
                raise TypeError(f"no reply to a call: {reply!r}")
            yield reply
        parser.feed(peer.recv(1 << 16))


def _check(done: int, wanted: int) -> None:
    """A benchmark that does not do the work is worth nothing."""
    if done != wanted:
        raise AssertionError(f"{done} events where there should be {wanted}")
