"""What an exchange allows an address: token buckets in Redis, from which all processes behind the address spend."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ingest.contract import keys
from ingest.exchanges.exchange import Limit, Limits
from ingest.wire import closed_is_away

SCRIPT = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")
SHARES = 4
"""While Redis is away nobody knows of the others: each spends as if there were so many."""
BAN_WITHOUT_TERM_S = 60.0
PAUSE_WITHOUT_TERM_S = 5.0
_ANSWER_WITHIN_S = 0.2
_ASK_AGAIN_AFTER_S = 1.0
_WORTH_A_WORD_S = 5.0

log = structlog.get_logger()


class TokenBucket:
    """Up to `capacity` at once, refilled by `per_second`. Time comes in; nothing waits here."""

    def __init__(self, capacity: float, per_second: float) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._tokens = capacity
        self._at_ns = 0

    def take(self, amount: float, now_ns: int) -> float:
        """Take `amount` and return how many seconds to wait before using it: 0 if it was there."""
        elapsed_s = max(0, now_ns - self._at_ns) / 1e9 if self._at_ns else 0.0
        self._tokens = min(self._capacity, self._tokens + elapsed_s * self._per_second) - amount
        self._at_ns = now_ns
        return max(0.0, -self._tokens / self._per_second)

    def drain(self, now_ns: int) -> None:
        """From now on it fills up from nothing."""
        self._tokens, self._at_ns = 0.0, now_ns


class Leave(NamedTuple):
    """What asking a bucket comes to."""

    wait_s: float = 0.0
    """Before what was taken may be used."""
    closed_s: float = 0.0
    """The exchange wants to hear nothing for so long; then nothing was taken."""


class Budget:
    """One limit of an exchange. While Redis does not answer in time, a quarter of it is spent from here."""

    def __init__(
        self, redis: Redis, exchange: str, name: str, limit: Limit, bans: Mapping[int, float] | None = None
    ) -> None:
        """`redis` has time limits. `name` is that of the limit and, where there are several, of the address."""
        self._bans = bans or {}
        self._redis = redis
        self._key = keys.limit(exchange, name)
        self._limit = limit
        self._alone = TokenBucket(limit.at_once / SHARES, limit.per_s / SHARES)
        self._closed_until_s = 0.0
        self._ask_from_s = 0.0
        self._calls: set[asyncio.Task[Leave | None]] = set()

    async def spend(self, amount: float = 1) -> None:
        """Return once so much may be used, in the order of asking, however long that takes."""
        while True:
            leave = await self._take(amount)
            if max(leave) > _WORTH_A_WORD_S:
                log.info("waiting for a limit", limit=self._key, wait_s=round(max(leave), 1))
            await asyncio.sleep(max(leave))
            # What was promised before the exchange closed is asked for again once it is open.
            if not leave.closed_s and (not leave.wait_s or not (await self._take(0)).closed_s):
                return

    async def close(self, seconds: float) -> None:
        """The exchange wants to hear nothing from this address for so long; that holds for everybody."""
        self._closed_until_s = max(self._closed_until_s, time.monotonic() + seconds)
        await self._ask(0, seconds)

    async def obey(self, status: int, retry_after: str) -> None:
        """What an HTTP answer says about going on: 429 asks for a pause and 418 is a ban, and so may others be."""
        if status in self._bans:
            await self.close(self._bans[status])
        elif status in (418, 429):
            term_s = BAN_WITHOUT_TERM_S if status == 418 else PAUSE_WITHOUT_TERM_S
            await self.close(float(retry_after) if retry_after.isdecimal() else term_s)

    async def settle(self) -> None:
        """Return once no call to Redis is under way, which the client's time limits see to."""
        if self._calls:
            await asyncio.wait(self._calls)

    async def _take(self, amount: float) -> Leave:
        now_ns = time.monotonic_ns()
        leave = await self._ask(amount)
        if leave:
            self._alone.drain(now_ns)
            self._closed_until_s = max(self._closed_until_s, time.monotonic() + leave.closed_s)
        closed_s = max(0.0, self._closed_until_s - time.monotonic())
        if leave or closed_s:
            return Leave(leave.wait_s if leave else 0.0, closed_s)
        return Leave(self._alone.take(amount, now_ns))

    async def _ask(self, amount: float, close_s: float = 0.0) -> Leave | None:
        """Redis's answer, None if there is none soon. Nothing is cancelled within redis-py: who is late ends alone."""
        if time.monotonic() < self._ask_from_s:
            return None
        call = asyncio.create_task(self._call(amount, close_s))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        await asyncio.wait((call,), timeout=_ANSWER_WITHIN_S)
        leave = call.result() if call.done() else None
        if leave is None:
            self._ask_from_s = time.monotonic() + _ASK_AGAIN_AFTER_S
        return leave

    async def _call(self, amount: float, close_s: float) -> Leave | None:
        arguments = (amount, self._limit.at_once, self._limit.per_s, round(close_s * 1000))
        try:
            with closed_is_away():
                answer: Any = await self._redis.eval(SCRIPT, 1, self._key, *arguments)
        except (RedisError, OSError):
            return None
        wait_ms, closed_ms = answer
        return Leave(wait_ms / 1000, closed_ms / 1000)


class Budgets(NamedTuple):
    """All limits of an exchange for one address."""

    weight: Budget
    connects: Budget
    messages: Budget | None

    async def settle(self) -> None:
        """Return once none of them has a call to Redis under way."""
        for budget in (self.weight, self.connects, self.messages):
            if budget:
                await budget.settle()


def budgets(redis: Redis, exchange: str, limits: Limits, address: str = "") -> Budgets:
    """Of this exchange; `address` tells several addresses that share a Redis from each other."""
    at = f":{address}" if address else ""
    return Budgets(
        Budget(redis, exchange, f"weight{at}", limits.weight, limits.bans),
        Budget(redis, exchange, f"connects{at}", limits.connects, limits.bans),
        Budget(redis, exchange, f"messages{at}", limits.messages) if limits.messages else None,
    )
