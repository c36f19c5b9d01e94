"""`consume audit`: of what was ever in a stream, what a group has effected, buried, has in hand, has yet to read."""

from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct
from redis.asyncio import Redis

from consumers import letters, stored
from ingest.contract import keys
from ingest.contract.keys import StreamKey

_PAGE = 1_000
_NO_STREAM: dict[str, Any] = {"entries-added": 0, "last-generated-id": b"0-0"}


class Account(Struct, frozen=True, kw_only=True):
    """One group on one stream: each entry is in exactly one of the sets, or is not accounted for."""

    group: str
    key: StreamKey
    written: int
    """Entries that the stream has ever had."""
    effected: int
    """Acknowledged by the group's readers, each counted once."""
    dead: int
    """Put among the dead letters."""
    letters: int
    """Still there, neither redriven nor dropped; also of a stream of that name that was deleted since."""
    pending: int
    """Given to a reader, and neither of these yet."""
    unread: int
    gone: int
    """Trimmed while they were pending; the readers are told."""
    trimmed: int
    """Trimmed in all, by the janitor."""
    twice: int
    """Among the dead letters and pending all the same."""

    @property
    def rest(self) -> int:
        """Entries that are in none of the sets; below 0 if more were effected than there were."""
        return self.written - self.effected - self.dead - self.pending - self.unread - self.gone

    @property
    def unaccounted(self) -> int:
        """Entries that nothing explains. Those trimmed before the group came, or unread, may be as many as trimmed."""
        return max(-self.rest, self.rest - self.trimmed, 0) + self.twice

    @property
    def verdict(self) -> str:
        """In words."""
        if self.unaccounted:
            return "NOT BALANCED"
        return f"not provable: {self.rest} trimmed" if self.rest else "balanced"


async def accounts(redis: Redis) -> tuple[Account, ...]:
    """Every registered group on every stream that it stands on or needs, sorted. Raises RedisError, OSError."""
    found: list[Account] = []
    streams = await stored.streams(redis)
    for exchange in await stored.members(redis, keys.EXCHANGES):
        for name, needs in sorted((await stored.fields(redis, keys.groups(exchange))).items()):
            group = name.decode()
            stands_on = await stored.fields(redis, keys.handled(exchange, group))
            dead = await _letters(redis, exchange, group)
            found += [
                await _account(redis, group, key, dead.get(str(key), []))
                for key in streams
                if key.exchange == exchange
                and (str(key).encode() in stands_on or keys.is_needed(key, needs.decode().split()))
            ]
    return tuple(found)


async def _account(redis: Redis, group: str, key: StreamKey, dead: Sequence[str]) -> Account:
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xinfo_stream(str(key))
        pipe.xinfo_groups(str(key))
        pipe.hget(keys.handled(key.exchange, group), str(key))
        pipe.hget(keys.buried(key.exchange, group), str(key))
        pipe.hget(key.retention, "trimmed_n")
        stream, groups, handled, buried, trimmed = await pipe.execute(raise_on_error=False)
    if isinstance(stream, Exception):
        stream, groups = _NO_STREAM, ()
    mine = next((each for each in groups if each["name"] == group.encode()), None)
    delivered = mine["last-delivered-id"].decode() if mine else "0-0"
    gone = await _gone(redis, key, group) if mine and mine["pending"] else 0
    return Account(
        group=group,
        key=key,
        written=stream["entries-added"],
        effected=int(handled.split()[2]) if handled else 0,
        dead=int(buried or 0),
        letters=len(dead),
        pending=(mine["pending"] if mine else 0) - gone,
        unread=await _between(redis, key, delivered, stream["last-generated-id"].decode()),
        gone=gone,
        trimmed=int(trimmed or 0),
        twice=await _pending_of(redis, key, group, dead) if mine else 0,
    )


async def _letters(redis: Redis, exchange: str, group: str) -> dict[str, list[str]]:
    """By stream: the ids of the entries that are among the dead letters."""
    dead: dict[str, list[str]] = {}
    async for letter in letters.found(redis, exchange, group):
        dead.setdefault(letter.stream, []).append(letter.entry_id)
    return dead


async def _between(redis: Redis, key: StreamKey, after: str, until: str) -> int:
    """How many entries there are behind the one, up to and with the other."""
    count = 0
    while page := cast("list[tuple[bytes, Any]]", await redis.xrange(str(key), f"({after}", until, count=_PAGE)):
        count += len(page)
        after = page[-1][0].decode()
    return count


async def _gone(redis: Redis, key: StreamKey, group: str) -> int:
    """How many pending entries are in the stream no more."""
    gone, first = 0, "-"
    while page := cast("list[dict[str, Any]]", await redis.xpending_range(str(key), group, first, "+", _PAGE)):
        pipe = redis.pipeline(transaction=False)
        for each in page:
            pipe.xrange(str(key), each["message_id"], each["message_id"])
        gone += sum(not rows for rows in await pipe.execute())
        first = f"({page[-1]['message_id'].decode()}"
    return gone


async def _pending_of(redis: Redis, key: StreamKey, group: str, ids: Sequence[str]) -> int:
    """How many of these entries are pending."""
    pipe = redis.pipeline(transaction=False)
    for each in ids:
        pipe.xpending_range(str(key), group, each, each, 1)
    return sum(map(bool, await pipe.execute()))
