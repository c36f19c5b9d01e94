"""Carries out a plan of faults on a scene, each in a task of its own, so that troubles overlap as they do in life."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random

from ingest.contract import keys
from ingest.contract.keys import StreamKey
from tests.chaos.child import Child
from tests.chaos.faults import Fault
from tests.chaos.link import Link
from tests.chaos.scene import Scene

_SLOW_FOR_S = 2.0
_NO_JANITOR_MS = 10_000
_WRITES_WITHIN_S = 4.0

Act = Callable[[Scene, Fault], Awaitable[None]]
Strike = Callable[[Scene, Fault], Awaitable[bool]]
"""Returns whether it struck: what is dead or paused already is left alone."""


def _alone(lock: Callable[[Scene, Fault], asyncio.Lock]) -> Callable[[Act], Strike]:
    def exclusive(act: Act) -> Strike:
        async def strike(scene: Scene, fault: Fault) -> bool:
            if lock(scene, fault).locked():
                return False
            async with lock(scene, fault):
                await act(scene, fault)
            return True

        return strike

    return exclusive


_on_worker = _alone(lambda scene, fault: _worker(scene, fault).lock)
_on_redis = _alone(lambda scene, _: scene.server_lock)
_on_exchange = _alone(lambda scene, _: scene.exchange_lock)


def _on_link(act: Callable[[Link, Fault], None]) -> Strike:
    async def strike(scene: Scene, fault: Fault) -> bool:
        act(_link(scene, fault), fault)
        return True

    return strike


def _worker(scene: Scene, fault: Fault) -> Child:
    return scene.replicas[fault.worker].process


def _link(scene: Scene, fault: Fault) -> Link:
    replica = scene.replicas[fault.worker]
    return replica.exchange if fault.kind.startswith("exchange-") else replica.redis


async def _slow(scene: Scene, fault: Fault) -> bool:
    link = _link(scene, fault)
    link.delay(fault.for_s)
    await asyncio.sleep(_SLOW_FOR_S)
    link.delay(0)
    return True


@_on_worker
async def _kill(scene: Scene, fault: Fault) -> None:
    _worker(scene, fault).kill()
    await asyncio.sleep(fault.for_s)
    _worker(scene, fault).start()


@_on_worker
async def _end(scene: Scene, fault: Fault) -> None:
    await scene.ends(_worker(scene, fault))
    await asyncio.sleep(fault.for_s)
    _worker(scene, fault).start()


@_on_worker
async def _stop(scene: Scene, fault: Fault) -> None:
    _worker(scene, fault).signal(signal.SIGSTOP)
    await asyncio.sleep(fault.for_s)
    _worker(scene, fault).signal(signal.SIGCONT)


async def _disk_full(scene: Scene, fault: Fault) -> bool:
    """The worker's; a life that begins meanwhile has another."""
    worker = _worker(scene, fault)
    worker.fill_disk()
    await asyncio.sleep(fault.for_s)
    worker.clear_disk()
    return True


@_on_redis
async def _redis_kill(scene: Scene, fault: Fault) -> None:
    async with scene.redis() as redis:
        await scene.chronicle.witness(redis)
    await asyncio.to_thread(scene.server.kill)
    await asyncio.sleep(fault.for_s)
    await asyncio.to_thread(scene.server.start)


@_on_redis
async def _redis_stop(scene: Scene, fault: Fault) -> None:
    async with scene.redis() as redis:
        pid = int((await redis.info("server"))["process_id"])
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(fault.for_s)
        os.kill(pid, signal.SIGCONT)


@_on_redis
async def _oom(scene: Scene, fault: Fault) -> None:
    async with scene.redis() as redis:
        # Where memory is short a janitor trims what nobody has read, and says so; but that is another story.
        await redis.set(keys.lease(scene.keys[0].exchange, "janitor"), "chaos", px=_NO_JANITOR_MS)
        used = int((await redis.info("memory"))["used_memory"])
        await redis.config_set("maxmemory", used - 1)
        await asyncio.sleep(fault.for_s)
        await redis.config_set("maxmemory", 0)


async def _disk_slow(scene: Scene, fault: Fault) -> bool:
    """Redis's."""
    assert scene.disk is not None, "the scene has no disk that can be slow"
    scene.disk.stall()
    await asyncio.sleep(fault.for_s)
    scene.disk.recover()
    return True


@_on_redis
async def _power(scene: Scene, fault: Fault) -> None:
    assert scene.disk is not None, "the scene has no disk that remembers what was synced"
    async with _witnessed(scene, scene.keys):
        async with scene.redis() as redis:
            await scene.chronicle.witness(redis)
        await asyncio.to_thread(scene.server.kill)
        scene.disk.forget(scene.server.folder)
        await asyncio.sleep(fault.for_s)
        await asyncio.to_thread(scene.server.start)


@_on_redis
async def _flush(scene: Scene, _fault: Fault) -> None:
    async with _witnessed(scene, scene.keys), scene.redis() as redis:
        await scene.chronicle.take_all(redis)


@_on_redis
async def _delete(scene: Scene, fault: Fault) -> None:
    key = Random(fault.at_s).choice(scene.keys)
    async with _witnessed(scene, [key]), scene.redis() as redis:
        await scene.chronicle.take(redis, key)


@contextlib.asynccontextmanager
async def _witnessed(scene: Scene, streams: Sequence[StreamKey]) -> AsyncIterator[None]:
    """Every worker has written to the streams, and lives until they go on.

    What a server forgets together with somebody who knew it, somebody else may not know to be missing.
    """
    async with contextlib.AsyncExitStack() as locks:
        for replica in scene.replicas:
            await locks.enter_async_context(replica.process.lock)
            await asyncio.sleep(max(0.0, _WRITES_WITHIN_S - replica.process.age_s))
        await scene.moves(await scene.standings(streams))
        before = await scene.standings(streams)
        yield
        await scene.moves(before)


@_on_exchange
async def _restart_exchange(scene: Scene, fault: Fault) -> None:
    await scene.exchange.end()
    await asyncio.sleep(fault.for_s)
    await scene.exchange.start()
    await scene.is_heard()
    await scene.settles()  # so that no series ends before it was written that it began


_reset = _on_link(lambda link, _: link.reset())
_half_open = _on_link(lambda link, _: link.fall_silent())

STRIKES: dict[str, Strike] = {
    "kill": _kill,
    "stop": _stop,
    "end": _end,
    "redis-kill": _redis_kill,
    "redis-stop": _redis_stop,
    "redis-away": _redis_kill,
    "oom": _oom,
    "disk-full": _disk_full,
    "reset": _reset,
    "half-open": _half_open,
    "lost-reply": _on_link(lambda link, _: link.snag("lost-reply")),
    "cut": _on_link(lambda link, _: link.snag("cut")),
    "late": _on_link(lambda link, fault: link.snag("late", fault.for_s)),
    "slow": _slow,
    "exchange-reset": _reset,
    "exchange-half-open": _half_open,
    "exchange-slow": _slow,
    "power": _power,
    "disk-slow": _disk_slow,
    "flush": _flush,
    "delete": _delete,
    "restart-exchange": _restart_exchange,
}
