"""The audit: emitted = in the stream ∪ registered gaps; in the stream = effected ∪ dead ∪ pending ∪ unread."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs
from redis.asyncio import Redis

from ingest.audit.groups import group_reports
from ingest.audit.reading import NO_STREAM, Page, at_once, command, members, pages
from ingest.audit.report import GroupReport, Report, StreamReport, WriterReport
from ingest.audit.stream import Companions, Stream
from ingest.audit.table import table
from ingest.contract import keys
from ingest.contract.keys import StreamKey, parse_key
from ingest.simulator import ledger as ledgers
from ingest.simulator.ledger import Record
from ingest.writers import Figures, heard

__all__ = ["GroupReport", "Report", "StreamReport", "WriterReport", "audit", "table"]

_LIVING_NS = 10 * 1_000_000_000
"""A writer speaks about once a second, and a disk may hold it up."""
_FIRST_PAGE = 1000
_LOOKS = 5


async def audit(redis: Redis, ledger_files: Sequence[Path], now_ns: int) -> Report:
    """Read everything there is.

    Without a ledger, at any time: each stream, and each group on it, is looked at as of one moment. With ledgers, one
    for each exchange that was simulated, once producers rest: what is under way counts as missing there. A ledger is
    held in memory, a stream is not.

    Raises RedisError, OSError, BadName, and ValueError for a ledger that is none.
    """
    emitted: dict[str, list[Record]] = defaultdict(list)
    for file in ledger_files:
        for record in ledgers.read(file):
            emitted[record.key].append(record)
    streams: list[StreamReport] = []
    groups: list[GroupReport] = []
    writers: list[WriterReport] = []
    for exchange in await members(redis, keys.EXCHANGES):
        said = await heard(redis, exchange)
        writers += [_writer(exchange, name, figures, now_ns) for name, figures in said.items()]
        living = [figures for figures in said.values() if _lives(figures, now_ns)]
        names = await members(redis, keys.streams(exchange))
        for name in names:
            report = await _stream(redis, parse_key(name), emitted.pop(name, []))
            streams.append(_with_shares(report, living, said))
        groups += await _groups(redis, exchange, names)
    for name, records in emitted.items():
        streams.append(Stream(parse_key(name), records).close(_NOTHING))
    return Report(tuple(streams), tuple(groups), tuple(writers))


_NOTHING = Companions(added=0, length=0, trimmed=0, g="", n=0, has_last=False, gaps=())


async def _stream(redis: Redis, key: StreamKey, emitted: list[Record]) -> StreamReport:
    """Where the janitor has overtaken us, entries seem to be missing: then we read again what is there still."""
    for _ in range(_LOOKS):
        report, trimmed = await _read(redis, key, emitted)
        if report.balanced or trimmed == int(await command(redis, "HGET", key.retention, "trimmed_n") or 0):
            break
    return report


async def _read(redis: Redis, key: StreamKey, emitted: list[Record]) -> tuple[StreamReport, int]:
    """What is written behind the moment of the first look is not looked at. With how many were trimmed until then."""
    page, newest, companions = await _look(redis, key)
    stream = Stream(key, emitted, opaque=companions.opaque)
    for entry_id, fields in page:
        stream.read(entry_id, fields)
    if page:
        async for more in pages(redis, str(key), f"({page[-1][0].decode()}", newest):
            for entry_id, fields in more:
                stream.read(entry_id, fields)
    return stream.close(companions), companions.trimmed


async def _look(redis: Redis, key: StreamKey) -> tuple[Page, str, Companions]:
    """The oldest entries, the newest id, and the companions, all as of one moment."""
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.xrange(str(key), count=_FIRST_PAGE)
        pipeline.xinfo_stream(str(key))
        pipeline.hmget(key.state, "g", "n", "last", "newest")
        pipeline.zrange(key.gaps, 0, -1)
        pipeline.hget(key.retention, "trimmed_n")
        page, facts, (g, n, last, newest), gaps, trimmed = await at_once(pipeline)
    facts = facts or NO_STREAM
    companions = Companions(
        added=facts["entries-added"],
        length=facts["length"],
        trimmed=int(trimmed or 0),
        g=(g or b"").decode(),
        n=int(n or 0),
        has_last=bool(last),
        opaque=bool(newest),
        gaps=tuple(sorted(map(_range, gaps))),
    )
    return page, facts["last-generated-id"].decode(), companions


def _range(member: bytes) -> tuple[int, int]:
    first, _, last = member.partition(b"-")
    return int(first), int(last)


async def _groups(redis: Redis, exchange: str, streams: Sequence[str]) -> list[GroupReport]:
    needs: Mapping[bytes, bytes] = await command(redis, "HGETALL", keys.groups(exchange))
    on_streams: list[tuple[str, str]] = []
    for name in streams:
        key = parse_key(name)
        on_streams += sorted(
            (each.decode(), name) for each, words in needs.items() if keys.is_needed(key, words.decode().split())
        )
    return await group_reports(redis, exchange, on_streams)


def _writer(exchange: str, name: str, figures: Figures, now_ns: int) -> WriterReport:
    counts: dict[str, Any] = structs.asdict(figures)
    del counts["at_ns"], counts["streams"]
    silent_s = max(0.0, (now_ns - figures.at_ns) / 1e9)
    return WriterReport(exchange=exchange, writer=name, silent_s=silent_s, living=_lives(figures, now_ns), **counts)


def _lives(figures: Figures, now_ns: int) -> bool:
    return not figures.ended and now_ns - figures.at_ns <= _LIVING_NS


def _with_shares(report: StreamReport, living: Sequence[Figures], all_said: Mapping[str, Figures]) -> StreamReport:
    """What is on disk stays there when its writer dies; a tail goes with it."""
    durable = [share.n for said in all_said.values() if (share := said.streams.get(report.key)) and share.g == report.g]
    tail = sum(share.tail for said in living if (share := said.streams.get(report.key)))
    return structs.replace(report, tail=tail, durable_n=max(durable, default=0))
