"""What a reader hands over, and what it reckons meanwhile: holes in `n`, latency. Functions of values only."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct, field

from ingest.contract.codec import Entry
from ingest.contract.events import Body
from ingest.contract.keys import StreamKey

Fields = Mapping[bytes, bytes]

_GENERATIONS = 8
_MOST_N = 1 << 53
_BUCKETS = 304  # up to 2^40 µs, twelve days


class Taken(Exception):
    """What was in hand is another process's by now: it has the effect, this one must not."""


class Fence(NamedTuple):
    """By what Redis knows whether a process still owns a part of the streams."""

    table: str
    """Of leases."""
    shard: int
    owner: str
    """Its name and the number that rises with each change of the owner."""


Command = Sequence[str | bytes | int | float]
"""A command of Redis in words, as `("HINCRBY", key, field, 1)`; the second word is its one key."""


class Holder(Protocol):
    """Who has entries in hand, each until it is dealt with."""

    def has(self, entry: object) -> bool:
        """Whether it is still in hand."""

    def ack(self, entry: object) -> None:
        """It is dealt with."""

    def hold(self, entry: object) -> None:
        """It is not over when the next one is asked for."""

    def release(self, entry: object) -> None:
        """It is to come again."""

    def bury(self, entry: object, reason: str, failures: int, deliveries: int) -> None:
        """It goes among the dead letters."""

    async def deliveries(self, entry: object) -> int:
        """How many deliveries are noted."""

    async def delivered(self, entry: object) -> int:
        """Note one more delivery; how many there were."""

    async def failed(self, entry: object) -> int:
        """Note one more failure; how many there were."""

    async def commit(self, entry: object, commands: Sequence[Command]) -> bool:
        """Have the effect and acknowledge it in one step."""


class Delivery(Struct, frozen=True, eq=False):
    """One entry in a handler's hands."""

    key: StreamKey
    entry: Entry
    event: Body
    hole: int
    """So many entries right before this one are lost: neither this reader nor another of its group can get them."""
    redelivered: bool
    """Redis has handed it out before: it may have been handled already, by this process or by one before it."""
    _arrival: object
    _holder: Holder
    fence: Fence | None = None
    """Where there are owners: what `append` needs to know so that nothing of an ex-owner's is written."""
    redriven: bool = False
    """It was a dead letter, and comes after others that stand behind it in its stream."""

    async def ack(self) -> None:
        """Say that it is handled. Told to Redis in batches: after a crash in between it is delivered again."""
        self._holder.ack(self._arrival)

    async def commit(self, *commands: Command) -> bool:
        """Carry these commands out and acknowledge the entry, in one step and once.

        False if that was done before: then nothing is done now. All keys must be in the stream's hash tag. With an
        owner for each partition that holds whatever happens to processes, groups and Redis; where readers compete, it
        holds unless the group itself is destroyed. Raises Taken, and RedisError or OSError: whether it was done is
        then not known, and trying again is right. A command that Redis refuses ends it there: put the one that may be
        refused first.
        """
        return await self._holder.commit(self._arrival, commands)

    def hold(self) -> None:
        """Keep it in hand while others are asked for, until `ack`, `commit`, `release` or `bury`."""
        self._holder.hold(self._arrival)

    def release(self) -> None:
        """Have it delivered again, later: to whoever of the group is free, or, where order is kept, here and next."""
        self._holder.release(self._arrival)

    def bury(self, reason: str, failures: int = 0, deliveries: int = 1) -> None:
        """Put it among the dead letters (`consume dlq`)."""
        self._holder.bury(self._arrival, reason, failures, deliveries)

    async def deliveries(self) -> int:
        """How many deliveries are noted in Redis."""
        return await self._holder.deliveries(self._arrival)

    async def delivered(self) -> int:
        """Note in Redis that it is about to be handled; how often it was. For those that are `redelivered`."""
        return await self._holder.delivered(self._arrival)

    async def failed(self) -> int:
        """Note in Redis that handling it failed; how often it did."""
        return await self._holder.failed(self._arrival)

    @property
    def ours(self) -> bool:
        """Whether it is still in hand. If not, another process handles it, or it comes here again."""
        return self._holder.has(self._arrival)

    def __repr__(self) -> str:
        return f"Delivery({self.key} {self.entry!r} hole={self.hole} redelivered={self.redelivered})"


class Step(NamedTuple):
    """What an entry's place says about it."""

    missing: int = 0
    """So many entries between the last one and this one have not come by."""
    repeated: bool = False


_NEXT = Step()


class Continuity:
    """The place in one stream: its entries are numbered 1, 2, 3, … within a generation."""

    def __init__(self) -> None:
        self._g = b""
        self._n = 0
        self._highest: dict[bytes, int] = {}

    def resume(self, g: bytes, n: int) -> None:
        """Stand behind entry `n`, or at 0 wherever the next one is: what was before a group is not missing to it."""
        if not n:
            self._g = b""
            return
        if g != self._g:
            self._g, self._n = g, 0
        self._n = max(n, self._n)
        self._highest[g] = max(n, self._highest.get(g, 0))

    @property
    def stands(self) -> bool:
        """Whether it is known where the next entry has to be."""
        return bool(self._g)

    def missing(self, g: bytes, n: int) -> int:
        """How many entries would be missing before this one."""
        if not self._g or self.has(g, n):
            return 0
        return max(0, n - 1 - (self._n if g == self._g else 0))

    def has(self, g: bytes, n: int) -> bool:
        """Whether this entry, or one behind it, came by in the order of the stream."""
        return n <= self._highest.get(g, 0)

    def pass_by(self) -> None:
        """An entry that does not say which it is: it has a place like any other."""
        self._n += bool(self._g)

    def follow(self, g: bytes, n: int) -> None:
        """An entry that was pending; these have holes where others were acknowledged, so only the very next counts."""
        if g == self._g and n == self._n + 1:
            self.feed(g, n)

    def feed(self, g: bytes, n: int) -> Step:
        """An entry in the order of the stream."""
        if g == self._g and n == self._n + 1 and n > self._highest[g]:  # nearly all of them
            self._n = self._highest[g] = n
            return _NEXT
        return self._unusual(g, n)

    def _unusual(self, g: bytes, n: int) -> Step:
        repeated = self.has(g, n)
        missing = self.missing(g, n)
        self._g, self._n = g, n
        if not repeated:
            self._highest[g] = n
            if len(self._highest) > _GENERATIONS:
                del self._highest[next(iter(self._highest))]
        return Step(missing, repeated)


def place(fields: Fields) -> tuple[bytes, int] | None:
    """The `g` and `n` of an entry, even of one that is unreadable otherwise; None if these are, too."""
    try:
        g, n = fields[b"g"], int(fields[b"n"])
    except (KeyError, ValueError):
        return None
    # Redis keeps both as text between blanks, and calculates with n.
    return (g, n) if len(g.split()) == 1 and 0 < n <= _MOST_N else None


class Latencies:
    """How long recent events took. Buckets are an eighth of an octave wide, so a figure is right within 7 %."""

    def __init__(self) -> None:
        self._now = [0] * _BUCKETS
        self._before = [0] * _BUCKETS

    def add(self, latency_ns: int) -> None:
        """Count one. Below 0 (the clocks of two machines) counts as 0."""
        us = max(latency_ns, 0) // 1000
        octave = max(us.bit_length() - 4, 0)
        self._now[min((octave << 3) + (us >> octave), _BUCKETS - 1)] += 1

    def turn(self) -> None:
        """Forget what was added before the last turn."""
        self._before, self._now = self._now, [0] * _BUCKETS

    def quantile_us(self, share: float) -> int:
        """That share took no longer, in µs; 0 if there was nothing."""
        counts = [now + before for now, before in zip(self._now, self._before, strict=True)]
        wanted = share * sum(counts)
        so_far = 0
        for bucket, count in enumerate(counts):
            so_far += count
            if count and so_far >= wanted:
                return _middle_us(bucket)
        return 0


def _middle_us(bucket: int) -> int:
    octave = max((bucket >> 3) - 1, 0)
    return (bucket - (octave << 3) << octave) + (1 << octave) // 2


class Figures(Struct):
    """A reader's own account of one exchange."""

    handled: int = 0
    """Acknowledged and known to be."""
    holes: int = 0
    lost: int = 0
    """Entries: those missing in the holes, and those trimmed while pending."""
    unreadable: int = 0
    dead: int = 0
    """Put among the dead letters; unreadable ones, too."""
    skipped: int = 0
    """Entries of a type that is of a later day; they are acknowledged."""
    stopped: int = 0
    """Streams that have an entry of a later schema, at which this reader has stopped."""
    latencies: Latencies = field(default_factory=Latencies)

    def published(self, now_ns: int) -> dict[str, int]:
        """As others read it in the hash `keys.readers`."""
        return {
            "seen_ns": now_ns,
            "handled": self.handled,
            "holes": self.holes,
            "lost": self.lost,
            "unreadable": self.unreadable,
            "dead": self.dead,
            "skipped": self.skipped,
            "stopped": self.stopped,
            "latency_p50_us": self.latencies.quantile_us(0.5),
            "latency_p99_us": self.latencies.quantile_us(0.99),
        }
