"""Several workers of one exchange: a round a second at the table of leases, and what comes of it for this worker."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Exchange
from ingest.listening import Listening
from ingest.publisher import Publisher
from ingest.shards import Ask, Member, ShardMode, renew, shard_of
from ingest.tasks import pause
from ingest.wire import closed_is_away

_EVERY_S = 1.0
_ROUNDS = 5  # that may be missed before others take over
_LEAVE_WITHIN_S = 10.0
_SAY_EVERY_S = 10.0

log = structlog.get_logger()


class Sharing:
    """This worker's seat at the table."""

    def __init__(
        self,
        redis: Redis,
        exchange: Exchange,
        publisher: Publisher,
        *,
        mode: ShardMode,
        name: str,
        every_s: float = _EVERY_S,
    ) -> None:
        """`redis` has time limits and does not retry on its own; `name` has no blanks, and no other worker has it."""
        self.member = Member(name, patience=_ROUNDS)
        self.written: frozenset[StreamKey] = frozenset()
        """Of the streams that have one writer at a time, those whose writer we are."""
        self._redis = redis
        self._exchange = exchange
        self._publisher = publisher
        self._mode = mode
        self._every_s = every_s
        self._say_at_s = 0.0

    async def run(
        self, streams: Callable[[], Sequence[StreamKey]], listening: Listening, stopping: asyncio.Event
    ) -> None:
        """Have `listening` hear what is ours of `streams`, until asked to stop and, within 10 s, others have it."""
        while not stopping.is_set():
            await self._try(streams(), listening)
            await pause(stopping, self._every_s)
        self.member.leaving = True
        leave_by_s = time.monotonic() + _LEAVE_WITHIN_S
        while time.monotonic() < leave_by_s and await self._try(streams(), listening):
            if self.member.alone or not self.member.owned:
                break
            await asyncio.sleep(self._every_s)
        with contextlib.suppress(RedisError, OSError), closed_is_away():
            await self._renew(self.member.last_asks())

    async def _try(self, streams: Sequence[StreamKey], listening: Listening) -> bool:
        """Whether there was a round, which there is not while Redis is away: then everybody goes on as before."""
        try:
            with closed_is_away():
                await self.round(streams, listening)
        except (RedisError, OSError) as error:
            if time.monotonic() >= self._say_at_s:
                self._say_at_s = time.monotonic() + _SAY_EVERY_S
                log.warning(
                    "no leases for now", exchange=self._exchange.name, reason=str(error) or type(error).__name__
                )
            return False
        return True

    async def round(self, streams: Sequence[StreamKey], listening: Listening) -> None:
        """Ask, and do what the answer says. Raises RedisError, OSError: the next round mends it."""
        member, before = self.member, (self.member.serving, self.member.owned.keys())
        flowing = listening.flowing()
        silent = {shard_of(key.symbol) for key in streams if key not in flowing and not self._single(key)}
        await self._renew(member.asks(member.serving - silent))
        if member.eager:
            await self._renew(member.asks(member.serving - silent))
        if (member.serving, member.owned.keys()) != before:
            log.info("shards", exchange=self._exchange.name, owned=len(member.owned), serving=len(member.serving))
        self._take_up(streams)
        await listening.hear([key for key in streams if self._hears(key)])
        listening.own({key: member.owned[shard_of(key.symbol)] for key in self.written})

    def _take_up(self, streams: Sequence[StreamKey]) -> None:
        """Whoever makes itself ready writes under the owner's fence: only an older one is refused.

        Where there is one writer, it only listens, so that it has everything at hand when it is given leave to write.
        """
        member = self.member
        self.written = frozenset(key for key in streams if self._single(key) and shard_of(key.symbol) in member.owned)
        for key in streams:
            if key in self.written or (self._mode == "lease" and self._hears(key) and not self._single(key)):
                self._publisher.fence((key,), member.fence(shard_of(key.symbol)))

    def _hears(self, key: StreamKey) -> bool:
        return self._mode == "mirror" or shard_of(key.symbol) in self.member.serving

    def _single(self, key: StreamKey) -> bool:
        return key.channel in self._exchange.single_writer

    async def _renew(self, asks: Sequence[Ask]) -> None:
        member, ttl_ms = self.member, round(self._every_s * _ROUNDS * 1000)
        name = self._exchange.name
        member.answered(await renew(self._redis, name, member.name, asks, ttl_ms=ttl_ms, leaving=member.leaving))
