"""What befalls those who trade, by seed, and how."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from random import Random

from redis.exceptions import ResponseError

from consumers.services.killing import switch
from ingest.contract.keys import StreamKey
from tests.chaos.child import Child
from tests.chaos.faults import Fault, Kind
from tests.chaos.link import Link
from tests.chaos.trading_hand import surely
from tests.chaos.trading_stage import Part, Stage

FAULTS = {
    "kill": Kind(2, 0.05, 0.4),
    "stop": Kind(6, 1.2, 3),  # longer than a lease
    "end": Kind(8, 0.05, 0.4),
    "reset": Kind(4),
    "cut": Kind(3),
    "lost-reply": Kind(2),
    "late": Kind(4, 0.05, 1.5),
    "half-open": Kind(15),
    "worker-kill": Kind(10, 0.05, 0.4),
    "redis-kill": Kind(7, 0.05, 0.4),
    "destroy": Kind(5),
    "delete": Kind(10),
    "kill-switch": Kind(10, 0.3, 1.5),
}
"""`destroy` is of groups, `delete` of a stream of trades, which is then written again."""

_GROUPS = ("alpha-restless", "beta-leaning", "risk", "order", "position")
_CHANNELS = {"risk": ("intents", "orders", "fills"), "order": ("approved", "trades"), "position": ("fills", "ticker")}

Strike = Callable[[Stage, Fault], Awaitable[bool]]
"""Returns whether it struck: what is dead or paused already is left alone."""


def _on_process(act: Callable[[Stage, Child, Fault], Awaitable[None]]) -> Strike:
    async def strike(stage: Stage, fault: Fault) -> bool:
        process = _part(stage, fault).process
        if process.lock.locked():
            return False
        async with process.lock:
            await act(stage, process, fault)
        return True

    return strike


def _on_link(act: Callable[[Link, Fault], None]) -> Strike:
    async def strike(stage: Stage, fault: Fault) -> bool:
        act(_part(stage, fault).redis, fault)
        return True

    return strike


def _part(stage: Stage, fault: Fault) -> Part:
    parts = stage.workers if fault.kind.startswith("worker-") else stage.services
    return parts[fault.worker % len(parts)]


@_on_process
async def _kill(_stage: Stage, process: Child, fault: Fault) -> None:
    process.kill()
    await asyncio.sleep(fault.for_s)
    process.start()


@_on_process
async def _stop(_stage: Stage, process: Child, fault: Fault) -> None:
    process.signal(signal.SIGSTOP)
    await asyncio.sleep(fault.for_s)
    process.signal(signal.SIGCONT)


@_on_process
async def _end(stage: Stage, process: Child, fault: Fault) -> None:
    # One that is asked before it can hear ends by the signal itself.
    if (code := await process.end()) not in (0, -signal.SIGTERM):
        stage.troubles.append(f"{process.name} ended with {code}: {process.last_words()}")
    await asyncio.sleep(fault.for_s)
    process.start()


async def _redis_kill(stage: Stage, fault: Fault) -> bool:
    if stage.server_lock.locked():
        return False
    async with stage.server_lock:
        await asyncio.to_thread(stage.server.kill)
        await asyncio.sleep(fault.for_s)
        await asyncio.to_thread(stage.server.start)
    return True


async def _destroy(stage: Stage, fault: Fault) -> bool:
    dice = Random(fault.at_s)
    (exchange, symbol), group = dice.choice(stage.symbols), dice.choice(_GROUPS)
    channel = dice.choice(_CHANNELS.get(group, ("trades",) if group.endswith("restless") else ("orderbook", "ticker")))
    async with stage.server_lock:
        with contextlib.suppress(ResponseError):  # there is no such stream
            return bool(await stage.redis.xgroup_destroy(str(StreamKey(exchange, channel, symbol)), group))
    return False


async def _delete(stage: Stage, fault: Fault) -> bool:
    """Its worker writes again what it still has, and it has other entry ids then."""
    exchange, symbol = Random(fault.at_s).choice(stage.symbols)
    key = StreamKey(exchange, "trades", symbol)
    async with stage.server_lock, stage.redis.pipeline(transaction=True) as at_once:
        entries, _ = await at_once.xrange(str(key)).delete(str(key)).execute()
    stage.names |= {(str(key), entry_id.decode()): fields[b"s"].decode() for entry_id, fields in entries}
    return True


async def _kill_switch(stage: Stage, fault: Fault) -> bool:
    exchange = Random(fault.at_s).choice(stage.venues).name
    if stage.switch_lock.locked():
        return False
    async with stage.switch_lock:
        await surely(lambda: switch(stage.redis, [exchange], on=True))
        on_ns = time.time_ns()
        await asyncio.sleep(fault.for_s)
        stage.killed[exchange].append((on_ns, time.time_ns()))
        await surely(lambda: switch(stage.redis, [exchange], on=False))
    return True


STRIKES: dict[str, Strike] = {
    "kill": _kill,
    "stop": _stop,
    "end": _end,
    "reset": _on_link(lambda link, _: link.reset()),
    "cut": _on_link(lambda link, _: link.snag("cut")),
    "lost-reply": _on_link(lambda link, _: link.snag("lost-reply")),
    "late": _on_link(lambda link, fault: link.snag("late", fault.for_s)),
    "half-open": _on_link(lambda link, _: link.fall_silent()),
    "worker-kill": _kill,
    "redis-kill": _redis_kill,
    "destroy": _destroy,
    "delete": _delete,
    "kill-switch": _kill_switch,
}
