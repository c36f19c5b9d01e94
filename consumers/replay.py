"""Streams again from any place: merged by time, at any pace, and on into what is written now. No group notices.

replay = Replay(redis, ["binance:trades:*"], start="-15m", follow=True)
async for step in replay:
    match step:
        case Replayed(): print(step.key, step.entry().event)
        case Live(): print("from here on as it is written")
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from consumers import stored
from consumers.client import by_stream, check_client, command
from consumers.continuity import Fields, place
from consumers.merging import Merge, Track
from consumers.patience import MAX, Pace, Patience, pause
from consumers.patterns import Patterns
from consumers.places import START, parse_place, parts
from ingest.contract.codec import Entry, decode
from ingest.contract.keys import StreamKey, parse_key

IN_HAND = 2_000
"""Entries read ahead, over all streams; of each stream at least one."""
_PAGE = 200
_BLOCK_MS = 250
_LOOK_EVERY_SECONDS = 0.5
_LIVE_WITHIN_MS = 250
"""Whoever is no further behind than that has caught up."""

_log = structlog.get_logger()


class Replayed(NamedTuple):
    """An entry as it lies in its stream."""

    key: StreamKey
    id: str
    fields: Fields
    hole: int
    """So many entries right before this one are missing: they were trimmed meanwhile, or somebody deleted them."""
    early: bool
    """Before the start: a book's, from a snapshot on, so that the book is whole at the start."""

    def entry(self) -> Entry:
        """The same, typed. Raises UnknownVersion, UnreadableEntry."""
        return decode(self.id.encode(), self.fields)


class Live(NamedTuple):
    """All that was there has been given out; what follows comes as it is written."""

    replayed: int
    """Entries before this."""


class Replay:
    """The entries of the streams that the patterns name, from `start` up to and with `until`, once.

    In the order of their ids, which are Redis's time; of the same id, in the order of their keys. So the same stretch
    comes in the same order however often it is replayed, as long as nothing of it is trimmed.

    - `start` and `until`: see places.py. Without `until`, it ends with what was there when the iteration began.
    - `speed`: 1 is the pace at which it was written, 10 ten times that, MAX as fast as it is taken.
    - `follow`: go on into what is written meanwhile, say Live once all of the past is out, and go on with that. Then
      each stream comes in its own order, streams that appear come whole, and only `stop`, or `stopping` once it is set,
      ends it. Nothing is lost or repeated where the one follows the other.
    - A stream of an order book begins at its newest snapshot entry at or before `start`, and where there is none, at
      the first one after it: what stands before a snapshot says nothing without it.
    - Errors of Redis do not end it: it waits, says so, and goes on where it was.

    It holds up no trimming: what the janitor takes away meanwhile is told by `Replayed.hole`.
    Raises BadName, BadPlace and ValueError for what makes no sense; the client is one as `consumers.connect` makes it.
    """

    def __init__(
        self,
        redis: Redis,
        patterns: Iterable[str],
        *,
        start: str = "start",
        until: str | None = None,
        speed: float = MAX,
        follow: bool = False,
        stopping: asyncio.Event | None = None,
    ) -> None:
        check_client(redis, _BLOCK_MS)
        if not speed > 0:
            raise ValueError(f"a speed of {speed}: expected more than 0")
        if follow and until is not None:
            raise ValueError("whoever follows what is written has no end; leave one of the two out")
        if follow and speed <= 1:
            raise ValueError(f"at a speed of {speed:g} what is written is never caught up with; give more than 1")
        for text in (start, until or START):
            parse_place(text, 0)  # raises now rather than later
        self._redis = redis
        self._patterns = Patterns(patterns)
        self._start = start
        self._until = until
        self._follow = follow
        self._pace = Pace(speed)
        self._stopping = stopping or asyncio.Event()
        self._tracks: dict[StreamKey, Track] = {}
        self._merge = Merge()
        self._hungry: list[Track] = []
        """Their next entries up to the horizon have to be read before any other can be given out."""
        self._from = (0, 0)
        self._horizon = ""
        self._live = False
        self._given = 0
        self._look_at = 0.0

    @property
    def streams(self) -> tuple[StreamKey, ...]:
        """Those found so far."""
        return tuple(sorted(self._tracks))

    def stop(self) -> None:
        """Ask the iteration to end with what is in hand."""
        self._stopping.set()

    async def __aiter__(self) -> AsyncIterator[Replayed | Live]:
        patience = Patience(self._stopping)
        while not self._stopping.is_set():
            try:
                step = await self._next()
            except (RedisError, OSError, RuntimeError) as error:
                await patience.wait(error)
                continue
            patience.end()
            if step is None:
                return
            if isinstance(step, Replayed) and not step.early and not self._live:
                wait_s = self._pace.wait_s(parts(step.id)[0], time.monotonic())
                if wait_s:
                    await pause(self._stopping, wait_s)
            if not self._stopping.is_set():
                yield step

    async def _next(self) -> Replayed | Live | None:
        """What comes now; None at the end. Raises RedisError, OSError, and can be called again then."""
        task = asyncio.current_task()
        if task and task.cancelling():
            raise asyncio.CancelledError  # again: redis-py may have taken it for a timeout of its own
        while not self._stopping.is_set():
            if not self._horizon:
                await self._look_ahead()
            elif self._hungry:
                await self._read()
            elif self._merge:
                if step := self._take():
                    return step
            elif not self._follow:
                return None
            elif self._live:
                await self._listen()
            elif await self._caught_up():
                self._live, self._horizon = True, "+"
                return Live(self._given)
        return None

    def _take(self) -> Replayed | None:
        """The oldest entry in hand, unless it was given out before."""
        track, at, entry_id, fields, missing, repeated = self._merge.take()
        if not track.rows and not self._live:
            self._hungry.append(track)
        if repeated:
            return None
        self._given += 1
        return Replayed(track.key, entry_id, fields, hole=missing, early=at < self._from)

    async def _read(self) -> None:
        """Up to the horizon, of those that have nothing in hand."""
        pipe = self._redis.pipeline(transaction=False)
        for track in self._hungry:
            pipe.xrange(str(track.key), track.after, self._horizon, count=self._share())
        pages: list[list[tuple[bytes, Fields]]] = await pipe.execute()
        still = []
        for track, page in zip(self._hungry, pages, strict=True):
            if page and track.fill(page):
                self._merge.put(track)
            elif page:
                still.append(track)
        self._hungry = still

    async def _listen(self) -> None:
        """For what is written now; and now and then, for streams that are new or begin anew."""
        if time.monotonic() >= self._look_at:
            await self._look()
            self._look_at = time.monotonic() + _LOOK_EVERY_SECONDS
        if not self._tracks:
            await pause(self._stopping, _LOOK_EVERY_SECONDS)
            return
        places = {str(key): track.after.lstrip("(") for key, track in self._tracks.items()}
        count: tuple[str | int, ...] = ("COUNT", self._share(), "BLOCK", _BLOCK_MS)
        reply = await command(self._redis, "XREAD", *count, "STREAMS", *places, *places.values())
        for name, rows in by_stream(reply):
            track = self._tracks[parse_key(name.decode())]
            if track.fill([(entry_id, fields) for entry_id, fields in rows if fields]):
                self._merge.put(track)

    async def _look_ahead(self) -> None:
        """Find the streams, where each begins, and how far the past goes."""
        past = await self._past()
        self._from = parts(parse_place(self._start, past))
        until = str(past) if self._until is None else parse_place(self._until, past)
        await self._look()
        self._horizon = until if parts(until)[0] <= past else str(past)

    async def _caught_up(self) -> bool:
        """Whether the horizon is where the streams end by now, or nearly; else what was written since is read, too."""
        past = await self._past()
        if past - int(self._horizon) <= _LIVE_WITHIN_MS:
            return True
        await self._look()
        self._hungry = list(self._tracks.values())
        self._horizon = str(past)
        return False

    async def _past(self) -> int:
        """The ms of Redis's clock that it is now, once that is over: nothing is written into it any more."""
        asked = await self._now_ms()
        while await self._now_ms() == asked:
            await pause(self._stopping, 0.001)
        return asked

    async def _now_ms(self) -> int:
        seconds, microseconds = map(int, await command(self._redis, "TIME"))
        return seconds * 1000 + microseconds // 1000

    async def _look(self) -> None:
        """For streams that are new; and for those that were deleted and begin anew, perhaps under older ids."""
        pipe = self._redis.pipeline(transaction=False)
        for key in self._tracks:
            pipe.xrevrange(str(key), count=1)
        for track, newest in zip(self._tracks.values(), await pipe.execute(), strict=True):
            if track.after.startswith("(") and (not newest or parts(newest[0][0].decode()) < parts(track.after[1:])):
                # What comes again of it is known by its numbers.
                track.after = START
        for key in await stored.streams(self._redis):
            if key not in self._tracks and self._patterns.wants(key):
                self._tracks[key] = await self._begin(key)
                self._hungry.append(self._tracks[key])

    async def _begin(self, key: StreamKey) -> Track:
        start = "{}-{}".format(*self._from)
        if self._from != parts(START):
            await self._tell_trimmed(key)
        if key.channel != "orderbook":
            return Track(key=key, after=start, begun=True)
        before = start
        while page := await command(self._redis, "XREVRANGE", str(key), before, "-", "COUNT", _PAGE):
            for entry_id, fields in page:
                if fields.get(b"type") == b"snapshot":
                    return Track(key=key, after=entry_id.decode())
            before = f"({page[-1][0].decode()}"
        return Track(key=key, after=start)

    async def _tell_trimmed(self, key: StreamKey) -> None:
        for entry_id, fields in await command(self._redis, "XRANGE", str(key), "-", "+", "COUNT", 1):
            where = place(fields)
            if where and where[1] > 1 and parts(entry_id.decode()) > self._from:
                _log.warning("begins later: what was before is trimmed", stream=str(key), oldest=entry_id.decode())

    def _share(self) -> int:
        return max(1, min(_PAGE, IN_HAND // len(self._tracks)))
