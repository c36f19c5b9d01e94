"""Ways into Redis that are commonly taken and that lose or double: `python -m tests.chaos.controls WAY` is a worker.

It is `ingest run` with another publisher. An oracle that lets one of them pass is worth nothing.
"""

import asyncio
import contextlib
import secrets
import sys
from collections import Counter, deque
from collections.abc import Collection, Sequence

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

import ingest.__main__
import ingest.commands.run
from ingest.contract.append import Appended
from ingest.contract.codec import encode
from ingest.contract.events import Event, Gap, Snapshot, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Standing
from ingest.publisher import Counters, Publisher
from ingest.wire import closed_is_away

_BATCH = 100
_BOUND = 10_000
_RETRY_S = 0.1
_BARRIER_EVERY_S = 0.02


class Resent:
    """Plain `XADD *` in pipelines; what was not answered is sent again. Right as long as nothing goes wrong."""

    maxlen: int | None = None
    counters = Counters()

    def __init__(self, redis: Redis, exchange: str, **_others: object) -> None:
        self._redis = redis
        self._exchange = exchange
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._below = asyncio.Event()
        self._finishing = False
        self._g = secrets.token_hex(4)
        self._n: Counter[StreamKey] = Counter()
        self._epochs: Counter[StreamKey] = Counter()

    def put(self, event: Event) -> None:
        self._queue.append(event)
        self._wake.set()

    @property
    def full(self) -> bool:
        return len(self._queue) >= _BOUND

    async def room(self) -> None:
        while self.full:
            self._below.clear()
            await self._below.wait()

    def take_refusals(self, _streams: Collection[StreamKey]) -> list[Appended]:
        return []

    async def standings(self, _streams: Sequence[StreamKey]) -> dict[StreamKey, Standing]:
        return {}

    def finish(self) -> None:
        self._finishing = True
        self._wake.set()

    async def run(self) -> int:
        while self._queue or not self._finishing:
            self._wake.clear()
            if not self._queue:
                await self._wake.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
            self._below.set()
            while batch:
                batch = await self._write(batch)
        return 0

    async def _write(self, batch: list[Event]) -> list[Event]:
        """Returns what has to be sent again."""
        pipeline = self._redis.pipeline(transaction=False)
        for event in batch:
            self._add(pipeline, event)
        try:
            await pipeline.execute()
        except (RedisError, OSError):
            await asyncio.sleep(_RETRY_S)
            return batch
        return []

    def _add(self, pipeline: Pipeline, event: Event) -> None:
        key = event.key
        self._n[key] += 1
        self._epochs[key] += isinstance(event.body, Snapshot)
        kind = type(event.body).__name__.lower()
        fields = {"v": "1", "type": kind, "n": self._n[key], "g": self._g, "s": event.s, "data": encode(event.body)}
        if epoch := self._epochs[key]:
            fields["epoch"] = epoch
        pipeline.xadd(str(key), fields, maxlen=self.maxlen)
        if isinstance(event.body, Gap):
            pipeline.zadd(key.gaps, {event.first: int(event.first.partition("-")[0])})


class Trimmed(Resent):
    """With MAXLEN, so that memory stays bounded: what nobody has read yet goes as well."""

    maxlen = 100


class Retried(Resent):
    """With a client as it comes, which tries again up to ten times without a word."""

    def __init__(self, redis: Redis, exchange: str, **others: object) -> None:
        told = redis.connection_pool.connection_kwargs
        super().__init__(Redis(host=told["host"], port=told["port"], db=told["db"]), exchange, **others)


class Remembered(Resent):
    """With a watermark of the newest trade sent, so that none is sent twice: nor is one that never arrived."""

    def __init__(self, redis: Redis, exchange: str, **others: object) -> None:
        super().__init__(redis, exchange, **others)
        self._sent: dict[StreamKey, int] = {}

    async def _write(self, batch: list[Event]) -> list[Event]:
        fresh = [event for event in batch if not isinstance(event.body, Trade) or self._newer(event)]
        self._sent.update((event.key, int(event.s)) for event in fresh if isinstance(event.body, Trade))
        return await super()._write(fresh) if fresh else []

    def _newer(self, event: Event) -> bool:
        return int(event.s) > self._sent.get(event.key, -1)


class Barrier(Publisher):
    """Our own, but what its client has heard confirmed counts as on disk as soon as a server says that all is.

    That may be another server than the one that confirmed it: one that has started again, and knows of nothing.
    """

    async def _follow_the_disk(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(RedisError, OSError), closed_is_away():
                await self._redis.execute_command("WAITAOF", 1, 0, 2500)
                self._tail.take()
            await asyncio.sleep(_BARRIER_EVERY_S)


WAYS = {"resent": Resent, "trimmed": Trimmed, "retried": Retried, "remembered": Remembered, "barrier": Barrier}


def main() -> None:
    """The worker."""
    ingest.commands.run.Publisher = WAYS[sys.argv.pop()]  # the one thing that is different
    sys.argv = ["ingest", "run"]
    ingest.__main__.main()


if __name__ == "__main__":
    main()
