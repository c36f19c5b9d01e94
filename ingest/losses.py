"""What a server has lost of what it had confirmed: found by where its streams stand, ended by a new generation."""

import re
import secrets
from collections.abc import Collection, Mapping
from typing import NamedTuple

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from ingest import wire
from ingest.contract import keys
from ingest.contract.append import Appended, appended, batch
from ingest.contract.codec import pairs
from ingest.contract.events import Event, Gap
from ingest.contract.keys import StreamKey, parse_key
from ingest.tail import Place, Tail

log = structlog.get_logger()


_NOWHERE = Place("-", 0)
_RUN_ID = re.compile(r"(?<=run_id:)\w+")


class Mended(NamedTuple):
    """Where streams stand now that a server had lost something of."""

    places: dict[StreamKey, Place]
    renewed: frozenset[StreamKey]
    """Those of them in which it was we who began a generation."""


async def mend(connection: AbstractConnection, digest: str, places: Mapping[StreamKey, Place], tail: Tail) -> Mended:
    """Begin a new generation in every stream that stands behind its place.

    Numbers that were given once may then be given again, to other entries: the generation tells them apart. Of two
    producers that find the same loss one is heard, and the other finds its generation. What is in the tail is to be
    sent again.
    """
    mended: dict[StreamKey, Place] = {}
    ours: set[StreamKey] = set()
    doubtful = dict(places)
    while doubtful:
        found = await _look(connection, doubtful)
        elsewhere = {key: place for key, (place, _) in found.items() if place.g not in ("-", doubtful[key].g)}
        behind = {
            key: (place, exists)
            for key, (place, exists) in found.items()
            if key not in elsewhere and (place.n < doubtful[key].n or not exists)
        }
        mended |= elsewhere
        if not behind:
            break
        renewals = [
            _renewal(key, doubtful[key], place) if exists else _rebirth(key, doubtful[key], place, tail.resumes(key))
            for key, (place, exists) in behind.items()
        ]
        renewed = batch(secrets.token_hex(4), renewals)
        await wire.write(connection, wire.call(digest, renewed.arguments()))
        # If somebody wrote in between, it was not heard, and we look again.
        now = appended(renewed, await connection.read_response())
        mended |= {stream.key: Place(stream.g, stream.n, stream.last) for stream in now if stream.appended and stream.g}
        ours |= {stream.key for stream in now if stream.appended}
        doubtful = {stream.key: doubtful[stream.key] for stream in now if not stream.appended}
    return Mended(mended, frozenset(ours))


async def doubt(
    connection: AbstractConnection, digest: str, exchange: str, renewed: Collection[StreamKey]
) -> dict[StreamKey, Place]:
    """Once after each start of the server: begin a new generation in every stream, but for those just `renewed`.

    It may have lost something that only others knew of, who may be dead: numbers that they were told must not be given
    again. That a stream stands where we know it says nothing: others may have written behind that while we could not.
    Where these streams stand now.
    """
    run_id = _RUN_ID.search((await wire.ask(connection, "INFO", "server")).decode())
    if run_id is None or await wire.ask(connection, "GET", keys.run(exchange)) == run_id[0].encode():
        return {}
    await wire.say(connection, "SMEMBERS", keys.streams(exchange))
    streams = [parse_key(member.decode()) for member in await connection.read_response()]
    found = await _look(connection, [key for key in streams if key.channel not in keys.SERVICES])
    doubtful = {
        key: place for key, (place, exists) in found.items() if exists and place != _NOWHERE and key not in renewed
    }
    now: tuple[Appended, ...] = ()
    if doubtful:
        log.warning("the server started again and may have lost entries", exchange=exchange, streams=len(doubtful))
        renewals = [_rollback(key, place, place.n, f"{place.g} {place.n}") for key, place in doubtful.items()]
        begun = batch(secrets.token_hex(4), renewals)
        await wire.write(connection, wire.call(digest, begun.arguments()))
        # Where it was not heard, somebody has written meanwhile, who has doubted before.
        now = appended(begun, await connection.read_response())
    await wire.ask(connection, "SET", keys.run(exchange), run_id[0])
    return {stream.key: Place(stream.g, stream.n, stream.last) for stream in now if stream.appended and stream.g}


async def _look(connection: AbstractConnection, streams: Collection[StreamKey]) -> dict[StreamKey, tuple[Place, bool]]:
    """Where the streams stand, and whether it is they: whoever reads one that is gone may make it again, empty."""
    for key in streams:
        await wire.say(connection, "HMGET", key.state, "g", "n", "last")
        await wire.say(connection, "XLEN", str(key))
    places, empty = {}, set()
    for key in streams:
        g, n, last = await connection.read_response()
        places[key] = Place(g.decode(), int(n), last.decode() if last else None) if g else _NOWHERE
        if await connection.read_response() == 0:
            empty.add(key)
    gone = {key for key in empty if await _is_gone(connection, key)}
    return {key: (place, key not in gone) for key, place in places.items()}


async def _is_gone(connection: AbstractConnection, key: StreamKey) -> bool:
    """Of an empty stream: whether it is none, or one to which nothing was ever added; else it was trimmed."""
    await wire.say(connection, "XINFO", "STREAM", str(key))
    try:
        about = await connection.read_response()
    except ResponseError:
        return True
    return pairs(about)[b"last-generated-id"] == b"0-0"


def _renewal(key: StreamKey, known: Place, found: Place) -> Event:
    """The end of the stream is lost."""
    log.error("the server lost entries", stream=str(key), g=known.g, confirmed_n=known.n, n=found.n)
    return _rollback(key, known, found.n, f"{found.g} {found.n}")


def _rebirth(key: StreamKey, known: Place, found: Place, resumes: int | None) -> Event:
    """All of it is lost, but where it goes on is known: so whatever does not come again will be told as missing."""
    log.error("the server lost a stream", stream=str(key), g=known.g, confirmed_n=known.n)
    last = known.last if resumes is None else resumes
    return _rollback(key, known, 0, f"{found.g} {found.n} {'' if last is None else last}".rstrip())


def _rollback(key: StreamKey, known: Place, left_n: int, first: str) -> Event:
    gap = Gap(reason="rollback", after_g=known.g, after_n=left_n)
    return Event(key, f"{secrets.token_hex(4)}.{known.n}", gap, "renewal", first)
