"""What a worker will need, looked at before it runs: Redis and how it is set up, exchange, clock and symbols."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidURI

from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Exchange, FetchFailed, SkipFrame
from ingest.exchanges.symbols import complaint
from ingest.rest import Rest
from ingest.wire import closed_is_away

_WITHIN_S = 10.0
_LEAST_REDIS = (7, 0)
_LEAST_VALKEY = (7, 2)
_CLOCK_OFF_S = 2.0
"""Exchanges tell the time in whole seconds there."""
_CLOCK_WRONG_S = 60.0


class Verdict(IntEnum):
    """How bad it is; also the exit code."""

    OK = 0
    WARNING = 1
    WRONG = 2


class Row(NamedTuple):
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    found: str


async def look_at_redis(redis: Redis) -> list[Row]:
    """Whether streams can live there."""
    try:
        with closed_is_away():
            info: Any = await redis.info("everything")
    except (RedisError, OSError) as error:
        return [Row("redis", Verdict.WRONG, str(error) or type(error).__name__)]
    return [_version(info), _persistence(info), _memory(info)]


def _version(info: Mapping[str, Any]) -> Row:
    name, least = ("valkey", _LEAST_VALKEY) if "valkey_version" in info else ("redis", _LEAST_REDIS)
    version = str(info[f"{name}_version"])
    enough = tuple(int(part) for part in version.split(".")[:2]) >= least
    return Row("redis", Verdict.OK if enough else Verdict.WRONG, f"{name} {version}" + ("" if enough else ", too old"))


def _persistence(info: Mapping[str, Any]) -> Row:
    if not info.get("aof_enabled"):
        return Row("persistence", Verdict.WARNING, "no append-only file: what it holds is gone when it dies")
    if info.get("aof_last_write_status") != "ok":
        return Row("persistence", Verdict.WRONG, "the last write of the append-only file failed")
    return Row("persistence", Verdict.OK, "append-only file")


def _memory(info: Mapping[str, Any]) -> Row:
    policy, most = info.get("maxmemory_policy"), int(info.get("maxmemory", 0))
    if policy != "noeviction":
        return Row("memory", Verdict.WRONG, f"maxmemory-policy {policy} deletes whole streams; set noeviction")
    if not most:
        return Row("memory", Verdict.WARNING, "no maxmemory: nothing is trimmed for want of memory")
    return Row("memory", Verdict.OK, f"maxmemory {most >> 20} MiB, noeviction")


async def look_at_exchange(
    exchange: Exchange, rest: Rest, stream_url: str, symbols: Sequence[str], channels: Sequence[str]
) -> list[Row]:
    """Whether it can be reached, by every connection that a worker would open, and trades these."""
    name = exchange.name
    async with rest:
        begun_s = time.time()
        answer, date = await rest.get_dated(exchange.list_instruments())
        took_s = time.time() - begun_s
    plans = exchange.plan([StreamKey(name, channel, symbol) for symbol in symbols for channel in channels])
    paths = dict.fromkeys(plan.path for plan in plans)
    rows = [await _socket(name, stream_url + path) for path in paths]
    if isinstance(answer, FetchFailed):
        return [Row(f"{name} REST", Verdict.WRONG, f"{answer.status}: {answer.reason}"), *rows]
    rows.insert(0, Row(f"{name} REST", Verdict.OK, f"{rest.base_url}, {took_s:.1f} s"))
    rows.append(_clock(name, date, begun_s, begun_s + took_s))
    try:
        instruments = exchange.instruments(answer)
    except SkipFrame as bad:
        return [*rows, Row(f"{name} symbols", Verdict.WRONG, bad.reason)]
    wrong = [reason for symbol in symbols if (reason := complaint(symbol, instruments))]
    found = "; ".join(wrong) or f"{len(symbols)} of {len(instruments)}"
    return [*rows, Row(f"{name} symbols", Verdict.WRONG if wrong else Verdict.OK, found)]


async def _socket(name: str, url: str) -> Row:
    try:
        async with asyncio.timeout(_WITHIN_S), connect(url, compression=None):
            return Row(f"{name} WebSocket", Verdict.OK, url)
    except (InvalidURI, InvalidHandshake, OSError, TimeoutError) as error:
        return Row(f"{name} WebSocket", Verdict.WRONG, f"{url}: {error or type(error).__name__}")


def _clock(name: str, date: str, from_s: float, to_s: float) -> Row:
    """By what the exchange says of the second in which it answered."""
    try:
        theirs_s = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Row(f"{name} clock", Verdict.WARNING, "the exchange does not tell the time")
    # It was at some moment of that second, and of ours between asking and the answer.
    off_s = max(theirs_s - to_s, from_s - (theirs_s + 1), 0.0)
    verdict = Verdict.OK if off_s <= _CLOCK_OFF_S else Verdict.WARNING if off_s <= _CLOCK_WRONG_S else Verdict.WRONG
    return Row(f"{name} clock", verdict, f"off by {off_s:.1f} s or more" if off_s else "as ours")
