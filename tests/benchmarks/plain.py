"""The same work done the straightforward way, for comparison: no books, no checks, and what breaks is lost."""

import json
import time
from typing import Any

import msgpack
from websockets.asyncio.client import connect

from consumers.client import by_stream
from tests.benchmarks.measuring import Cost, measured
from tests.benchmarks.recording import stream_name
from tests.benchmarks.scene import Scene

_ENTRIES_PER_PIPELINE = 100
_GROUP = "plain"
_CHANNELS = {"trade": "trades", "depth": "orderbook", "bookTicker": "ticker", "ticker": "ticker", "kline_1m": "candles"}

Entry = tuple[str, dict[str, Any]]


async def decode(scene: Scene) -> Cost:
    """Frames → dicts."""
    async with measured(len(scene.recording.frames)) as stretch:
        for frame in scene.recording.frames:
            _entry(frame)
    return stretch.cost


async def append(scene: Scene) -> Cost:
    """Dicts → Redis, a pipeline for each hundred."""
    await scene.redis.flushall()
    entries = [_entry(frame) for frame in scene.recording.frames]
    async with measured(len(entries), scene.redis) as stretch:
        pipeline = scene.redis.pipeline(transaction=False)
        for entry in entries:
            _add(pipeline, entry)
            if len(pipeline) == _ENTRIES_PER_PIPELINE:
                await pipeline.execute()
        await pipeline.execute()
    return stretch.cost


async def line(scene: Scene) -> Cost:
    """Frames on a WebSocket → Redis."""
    await scene.redis.flushall()
    frames = len(scene.recording.frames)
    names = sorted({stream_name(frame).decode() for frame in scene.recording.frames})
    pipeline = scene.redis.pipeline(transaction=False)
    async with connect(f"{scene.sender.stream_url}/stream", compression=None) as socket:
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
        await socket.recv()
        async with measured(frames, scene.redis) as stretch:
            scene.sender.send(frames)
            for _ in range(frames):
                _add(pipeline, _entry(await socket.recv()))
                if len(pipeline) == _ENTRIES_PER_PIPELINE:
                    await pipeline.execute()
            await pipeline.execute()
    return stretch.cost


async def read(scene: Scene) -> Cost:
    """Redis → a loop that does nothing: 200 entries of a stream at once, unpacked, acknowledged."""
    await append(scene)
    streams = [name.decode() async for name in scene.redis.scan_iter(match="plain:*")]
    entries = 0
    for name in streams:
        await scene.redis.xgroup_create(name, _GROUP, id="0")
        entries += await scene.redis.xlen(name)
    got = 0
    async with measured(entries, scene.redis) as stretch:
        while got < entries:
            reply = await scene.redis.xreadgroup(_GROUP, "me", dict.fromkeys(streams, ">"), count=200, block=1000)
            for name, rows in by_stream(reply):
                for _, fields in rows:
                    msgpack.unpackb((fields or {})[b"data"])
                await scene.redis.xack(name, _GROUP, *(entry_id for entry_id, _ in rows))
                got += len(rows)
    return stretch.cost


def _add(pipeline: Any, entry: Entry) -> None:
    key, data = entry
    pipeline.xadd(key, {"data": msgpack.packb(data)})


def _entry(frame: bytes | str) -> Entry:
    message = json.loads(frame)
    name, _, kind = message["stream"].partition("@")
    data, received_ns = message["data"], time.time_ns()
    kind = kind.partition("@")[0]
    key = f"plain:{_CHANNELS[kind]}:{name}"
    match kind:
        case "trade":
            side = "sell" if data["m"] else "buy"
            said = {"price": data["p"], "amount": data["q"], "side": side, "exchange_ns": data["T"] * 1_000_000}
        case "depth":
            said = {"bids": data["b"], "asks": data["a"], "exchange_ns": data["E"] * 1_000_000}
        case "kline_1m":
            said = {name: data["k"][short] for name, short in _CANDLE.items()}
        case _:
            said = {name: data[short] for name, short in _TICKER.items()}
    said["received_ns"] = received_ns
    return key, said


_CANDLE = {"open_ms": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "closed": "x"}
_TICKER = {"bid": "b", "bid_amount": "B", "ask": "a", "ask_amount": "A"}
