"""What a server has lost of what it had confirmed: found by where its streams stand, ended by a new generation."""

import secrets
from collections.abc import Mapping

import structlog
from redis.asyncio.connection import AbstractConnection

from ingest import wire
from ingest.contract.append import appended, batch
from ingest.contract.events import Event, Gap
from ingest.contract.keys import StreamKey
from ingest.tail import Place

log = structlog.get_logger()


_NOWHERE = Place("-", 0)


async def mend(
    connection: AbstractConnection, digest: str, places: Mapping[StreamKey, Place]
) -> dict[StreamKey, Place]:
    """Begin a new generation in every stream that stands behind its place; where these stand now, empty if none does.

    Numbers that were given once may then be given again, to other entries: the generation tells them apart. Of two
    producers that find the same loss one is heard, and the other finds its generation.
    """
    mended: dict[StreamKey, Place] = {}
    doubtful = dict(places)
    while doubtful:
        found = await _look(connection, doubtful)
        elsewhere = {key: place for key, (place, _) in found.items() if place.g not in ("-", doubtful[key].g)}
        behind = {
            key: place
            for key, (place, exists) in found.items()
            if key not in elsewhere and (place.n < doubtful[key].n or not exists)
        }
        mended |= elsewhere
        if not behind:
            break
        renewals = [_renewal(key, doubtful[key], place) for key, place in behind.items()]
        renewed = batch(secrets.token_hex(4), renewals)
        await wire.write(connection, wire.call(digest, renewed.arguments()))
        # If somebody wrote in between, it was not heard, and we look again.
        now = appended(renewed, await connection.read_response())
        mended |= {stream.key: Place(stream.g, stream.n) for stream in now if stream.appended and stream.g}
        doubtful = {stream.key: doubtful[stream.key] for stream in now if not stream.appended}
    return mended


async def _look(
    connection: AbstractConnection, streams: Mapping[StreamKey, Place]
) -> dict[StreamKey, tuple[Place, bool]]:
    """Where the streams stand, and whether there is anything in them."""
    for key in streams:
        await wire.say(connection, "HMGET", key.state, "g", "n")
        await wire.say(connection, "EXISTS", str(key))
    found = {}
    for key in streams:
        g, n = await connection.read_response()
        exists = await connection.read_response()
        found[key] = (Place(g.decode(), int(n)) if g else _NOWHERE, bool(exists))
    return found


def _renewal(key: StreamKey, known: Place, found: Place) -> Event:
    log.error("the server lost entries", stream=str(key), g=known.g, confirmed_n=known.n, n=found.n)
    gap = Gap(reason="rollback", after_g=known.g, after_n=found.n)
    return Event(key, f"{secrets.token_hex(4)}.{known.n}", gap, "renewal", f"{found.g} {found.n}")
