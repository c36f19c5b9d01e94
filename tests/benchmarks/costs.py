"""`python -m tests.benchmarks costs`: what it costs that nothing is lost or doubled: server time, memory, disk."""

import asyncio
import os
import platform
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import hiredis
from redis.asyncio import Redis

from consumers import connect
from deploy.local_redis import NoRedis, local_redis
from ingest.contract.append import SCRIPT, batch
from ingest.contract.codec import encode
from ingest.contract.events import Event, Snapshot, Status, Trade
from ingest.contract.keys import StreamKey
from ingest.publisher import FLUSHES_IN_FLIGHT
from tests.benchmarks import spill
from tests.benchmarks.measuring import Cost, measured, middle

_STREAMS = (1, 50, 200)
_PER_CALL = (1, 10, 100)
_EVENTS = 6_000
_REPETITIONS = 5
_WINDOW = 2_000
_LEVELS = 1_000
_SPILL_RECORDS = 100_000
_WITHIN_SECONDS = 60


def main() -> None:
    """Measure and print."""
    try:
        with local_redis("--appendonly", "yes", "--appendfsync", "everysec") as server:
            asyncio.run(_run(server.url))
    except NoRedis as none:
        sys.exit(str(none))
    with tempfile.TemporaryDirectory() as root:
        for size in _PER_CALL:
            _say(spill.line(Path(root) / str(size), _SPILL_RECORDS, size))


async def _run(url: str) -> None:
    redis = connect(url)
    about = await redis.info("server")
    server = f"{about.get('server_name', 'redis')} {about.get('valkey_version', about['redis_version'])}"
    _say(f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {server}, append-only file synced every second")
    _say(f"server µs an event, medians of {_REPETITIONS} with {_EVENTS:,} trades each; plain: XADD in pipelines")
    _say(f"{'streams':>8}{'per call':>10}{'script':>10}{'plain':>10}{'ratio':>10}")
    for streams in _STREAMS:
        for per_call in _PER_CALL:
            script, plain = await _compared(redis, streams, per_call)
            ratio = script.server_us / plain.server_us
            _say(f"{streams:8}{per_call:10}{script.server_us:10.1f}{plain.server_us:10.1f}      × {ratio:.2f}")
    for name, size in [item async for item in _memory(redis)]:
        _say(f"memory for the state of {name}: {size:,} bytes")
    await redis.aclose()


async def _compared(redis: Redis, streams: int, per_call: int) -> tuple[Cost, Cost]:
    """The same trades by the script and without it, turn by turn, so that both meet the same machine."""
    digest = await redis.script_load(SCRIPT)
    trades = list(_trades(streams))
    groups = [trades[i : i + per_call] for i in range(0, len(trades), per_call)]
    scripted = [_packed("EVALSHA", digest, *batch("costs", group).arguments()) for group in groups]
    plain = [b"".join(map(_added, group)) for group in groups]
    costs: tuple[list[Cost], list[Cost]] = [], []
    for _ in range(_REPETITIONS):
        costs[0].append(await _driven(redis, scripted, 1))
        costs[1].append(await _driven(redis, plain, per_call))
    return middle(costs[0]), middle(costs[1])


async def _driven(redis: Redis, calls: Sequence[bytes], replies_each: int) -> Cost:
    """Send them with as many in flight as a publisher has."""
    await redis.flushall()
    at = redis.connection_pool.connection_kwargs
    with socket.create_connection((at["host"], at["port"]), timeout=_WITHIN_SECONDS) as peer:
        replies = _replies(peer)
        async with measured(_EVENTS, redis) as stretch:
            for i, call in enumerate(calls):
                peer.sendall(call)
                for _ in range(replies_each if i >= FLUSHES_IN_FLIGHT else 0):
                    next(replies)
            for _ in range(replies_each * min(FLUSHES_IN_FLIGHT, len(calls))):
                next(replies)
    return stretch.cost


async def _memory(redis: Redis) -> AsyncIterator[tuple[str, int]]:
    """What a stream needs besides its entries."""
    kinds = {
        "trades with consecutive ids": list(_trades(1))[:1],
        f"what has {_WINDOW:,} identities": list(_statuses()),
        f"a book of {_LEVELS:,} levels a side": [_book()],
    }
    for name, events in kinds.items():
        await redis.flushall()
        await redis.eval(SCRIPT, *batch("costs", events).arguments())  # type: ignore[arg-type]
        key = events[0].key
        yield name, sum([await redis.memory_usage(part) or 0 for part in (key.state, key.gaps, key.ids, key.snap)])


def _trades(streams: int) -> Iterator[Event]:
    """Of one symbol after the other, as on a busy exchange."""
    for i in range(_EVENTS):
        key = StreamKey("binance", "trades", f"S{i % streams}/USDT")
        s = str(1_000_000_000 + i // streams)
        trade = Trade(price="61250.10000000", amount="0.00420000", side="sell", received_ns=i, exchange_ns=10**18 + i)
        yield Event(key, s, trade, "dense", s)


def _statuses() -> Iterator[Event]:
    for i in range(_WINDOW):
        key = StreamKey("binance", "status")
        yield Event(key, f"binance-1-18eb5658bd912c7e.{i}", Status(state="CONNECTED", reason="benchmark"), "window")


def _book() -> Event:
    side = tuple((f"{price}.10000000", "0.00420000") for price in range(60_000, 60_000 + _LEVELS))
    return Event(
        StreamKey("binance", "orderbook", "BTC/USDT"), "1", Snapshot(bids=side, asks=side, received_ns=1), "snapshot"
    )


def _added(event: Event) -> bytes:
    """The entry that the script would write."""
    fields = ("v", "1", "type", "trade", "n", "1", "g", "costs", "s", event.s, "data", encode(event.body))
    return _packed("XADD", str(event.key), "*", *fields)


def _packed(*command: str | bytes | int) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
    return packed


def _replies(peer: socket.socket) -> Iterator[object]:
    parser = hiredis.Reader()
    while True:
        while (reply := parser.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            yield reply
        parser.feed(peer.recv(1 << 16))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is what the command is for
