"""The consumers' side: of what was in a stream, what a group has done, has in hand, has lost, has yet to read."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from msgspec import structs
from redis.asyncio import Redis

from ingest.audit.reading import NO_STREAM, at_once, command, pages
from ingest.audit.report import GroupReport
from ingest.contract import keys
from ingest.contract.keys import StreamKey, parse_key

_PAGE = 1000

_Id = tuple[int, int]


async def group_reports(redis: Redis, exchange: str, wanted: Iterable[tuple[str, str]]) -> list[GroupReport]:
    """Of these groups on these streams, by name and key. Raises RedisError, OSError, BadName."""
    looks = [await _look(redis, exchange, group, key) for group, key in wanted]
    # Afterwards: what a trim costs is written down in the same step.
    told = await _tellings(redis, exchange, {report.key for report, _ in looks})
    return [
        structs.replace(
            report,
            untold=told.untold(report.key, report.group, gone),
            told=told.lost(report.key, report.group, gone),
        )
        for report, gone in looks
    ]


async def _look(redis: Redis, exchange: str, group: str, key: str) -> tuple[GroupReport, list[str]]:
    """One group on one stream, before it is known what it was told; and what went while it was pending."""
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.xinfo_stream(key)
        pipeline.xinfo_groups(key)
        pipeline.hget(keys.handled(exchange, group), key)
        pipeline.hget(keys.buried(exchange, group), key)
        stream, standing, handled, buried = await at_once(pipeline)
    stream = stream or NO_STREAM
    mine = next((each for each in standing or () if each["name"] == group.encode()), None)
    delivered = mine["last-delivered-id"].decode() if mine else "0-0"
    unread = 0
    async for page in pages(redis, key, f"({delivered}", stream["last-generated-id"].decode()):
        unread += len(page)
    gone = await _gone(redis, key, group) if mine and mine["pending"] else []
    report = GroupReport(
        group=group,
        key=key,
        written=stream["entries-added"],
        trimmed=stream["entries-added"] - stream["length"],
        effected=int(handled.split()[2]) if handled else 0,
        dead=int(buried or 0),
        pending=(mine["pending"] if mine else 0) - len(gone),
        unread=unread,
        gone=len(gone),
    )
    return report, gone


async def _gone(redis: Redis, key: str, group: str) -> list[str]:
    """The pending entries that are in the stream no more."""
    gone: list[str] = []
    first = "-"
    while page := await _pending(redis, key, group, first):
        pipeline = redis.pipeline(transaction=False)
        for entry_id in page:
            pipeline.xrange(key, entry_id, entry_id)
        gone += [entry_id for entry_id, found in zip(page, await pipeline.execute(), strict=True) if not found]
        first = f"({page[-1]}"
    return gone


async def _pending(redis: Redis, key: str, group: str, first: str) -> Sequence[str]:
    found: list[dict[str, Any]] = await redis.xpending_range(key, group, first, "+", _PAGE)
    return [each["message_id"].decode() for each in found]


class _Loss(NamedTuple):
    first: _Id
    last: _Id
    lost: int
    """Entries that the group has lost; 0 where it is only said that it had not acknowledged all of the range."""


class _Tellings:
    """What the janitor has told of the losses of groups, or has written down and has yet to tell."""

    def __init__(self) -> None:
        self._heard: set[str] = set()
        self._losses: dict[tuple[str, str], list[_Loss]] = defaultdict(list)
        self.since: _Id = (0, 0)
        """Whatever was told of entries as old as this, or younger, is here."""

    def hear(self, record: str) -> None:
        """One record of the janitor's (see retention/telling.py), once or twice; others are none of this."""
        kind, *words = record.split(" ")
        if kind in ("lost", "trimmed") and len(words) >= 5 and record not in self._heard:
            self._heard.add(record)
            stream, first, last, entries, *name = words
            groups = [" ".join(name)] if kind == "lost" else " ".join(name).split(",")
            for group in groups:
                loss = _Loss(_parts(first), _parts(last), int(entries) if kind == "lost" else 0)
                self._losses[stream, group].append(loss)

    def untold(self, stream: str, group: str, gone: Iterable[str]) -> int:
        """Of how many of these entries, which the group had in hand, nothing was told, although it would be here."""
        losses = self._losses[stream, group]
        return sum(place >= self.since and not _covered(place, losses) for place in map(_parts, gone))

    def lost(self, stream: str, group: str, gone: Iterable[str]) -> int:
        """How many entries the group was told to have lost, without those of these."""
        losses = [loss for loss in self._losses[stream, group] if loss.lost]
        return max(0, sum(loss.lost for loss in losses) - sum(_covered(place, losses) for place in map(_parts, gone)))


def _covered(place: _Id, losses: Iterable[_Loss]) -> bool:
    return any(loss.first <= place <= loss.last for loss in losses)


async def _tellings(redis: Redis, exchange: str, streams: Iterable[str]) -> _Tellings:
    """All that is known of groups on these streams. A record moves on while we read: we go where it goes."""
    told = _Tellings()
    for stream in streams:
        # A parked group is told when it returns.
        for field, note in (await command(redis, "HGETALL", parse_key(stream).retention)).items():
            state, *facts = note.decode().split(" ")
            if state == "parked" and len(facts) == 4 and field.startswith(b"group:"):
                _, first, last, entries = facts
                told.hear(f"lost {stream} {first} {last} {entries} {field.decode().removeprefix('group:')}")
    for record in cast("list[bytes]", await redis.zrange(keys.untold(exchange), 0, -1)):
        told.hear(record.decode(errors="replace"))
    oldest: bytes | None = None
    async for page in pages(redis, str(StreamKey(exchange, "status")), "-", "+"):
        if oldest is None:
            oldest, fields = page[0]
            # Where it was not trimmed, it has all that was ever told.
            told.since = (0, 0) if fields.get(b"n") == b"1" else _parts(oldest.decode())
        for _, fields in page:
            told.hear(fields.get(b"s", b"").decode(errors="replace"))
    return told


def _parts(entry_id: str) -> _Id:
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)
