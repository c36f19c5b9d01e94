"""The audit: emitted by the exchange = in the stream ∪ registered gaps; in the stream = effected + pending + unread."""

from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from ingest.audit.account import Account
from ingest.audit.report import GroupReport, Report, StreamReport
from ingest.contract import keys
from ingest.contract.keys import parse_key
from ingest.simulator import ledger as ledgers
from ingest.simulator.ledger import Record

__all__ = ["GroupReport", "Report", "StreamReport", "audit"]

_PAGE = 1000


async def audit(redis: Redis, ledger: Path | None) -> Report:
    """Read everything there is. Sound once producers rest: what is under way counts as missing.

    Raises RedisError, OSError, BadName, and ValueError for a ledger that is none.
    """
    emitted: dict[str, list[Record]] = defaultdict(list)
    for record in ledgers.read(ledger) if ledger else ():
        emitted[record.key].append(record)
    streams, groups = [], []
    for exchange in await _members(redis, keys.EXCHANGES):
        needs = await _command(redis, "HGETALL", keys.groups(exchange))
        for key in await _members(redis, keys.streams(exchange)):
            streams.append(await _stream(redis, key, emitted.pop(key, [])))
            channel = parse_key(key).channel
            # "candles" in the registry stands for every interval.
            names = {channel, channel.partition("-")[0]}
            needed_by = sorted(group.decode() for group, channels in needs.items() if names & _words(channels))
            groups += [await _group(redis, exchange, group, key) for group in needed_by]
    streams += [Account(key, records).close(()) for key, records in emitted.items()]
    return Report(tuple(streams), tuple(groups))


async def _stream(redis: Redis, key: str, emitted: list[Record]) -> StreamReport:
    account = Account(key, emitted)
    async for page in _pages(redis, key, "-", "+"):
        for entry_id, fields in page:
            account.read(entry_id, fields)
    members = await _command(redis, "ZRANGE", parse_key(key).gaps, 0, -1)
    gaps = sorted((int(first), int(last)) for first, _, last in (member.partition(b"-") for member in members))
    return account.close(gaps)


async def _group(redis: Redis, exchange: str, group: str, key: str) -> GroupReport:
    async with redis.pipeline(transaction=True) as at_once:
        at_once.xinfo_stream(key)
        at_once.xinfo_groups(key)
        at_once.hget(keys.handled(exchange, group), key)
        stream, standing, handled = await at_once.execute()
    mine = next((each for each in standing if each["name"] == group.encode()), None)
    delivered = mine["last-delivered-id"].decode() if mine else "0-0"
    unread = 0
    async for page in _pages(redis, key, f"({delivered}", stream["last-generated-id"].decode()):
        unread += len(page)
    return GroupReport(
        group=group,
        key=key,
        written=stream["entries-added"],
        trimmed=stream["entries-added"] - stream["length"],
        effected=int(handled.split()[2]) if handled else 0,
        pending=mine["pending"] if mine else 0,
        unread=unread,
    )


async def _pages(
    redis: Redis, key: str, first: str, last: str
) -> AsyncIterator[list[tuple[bytes, dict[bytes, bytes]]]]:
    while page := await _command(redis, "XRANGE", key, first, last, "COUNT", _PAGE):
        yield page
        first = f"({page[-1][0].decode()}"


async def _members(redis: Redis, name: str) -> list[str]:
    return sorted(member.decode() for member in await _command(redis, "SMEMBERS", name))


async def _command(redis: Redis, *words: str | int) -> Any:
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


def _words(text: bytes) -> set[str]:
    return set(text.decode().split())
