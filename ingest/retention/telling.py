"""What the janitor has done, and what has become of symbols, as events on `md:{EX}:status`.

Whoever trims, or writes down what an exchange trades, leaves a record of it in the same step, and the events are made
of these records. So nothing goes untold if somebody dies in between, and nothing is told twice: the record is the
event's identity.

A group's loss does not stand in the stream that it is of: nothing is missing there to anybody else, and a gap would
make every reader of a book start anew. The group itself meets a hole in `n` at that place.
"""

import secrets
from hashlib import sha1
from typing import cast

from redis.asyncio import Redis

from ingest.contract.append import SCRIPT, batch
from ingest.contract.events import Body, Event, Gap, Status
from ingest.contract.instruments import Listed
from ingest.contract.keys import StreamKey, untold

_DIGEST = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
_AT_ONCE = 100
_LONGEST = 256  # of a text in an event


async def tell(redis: Redis, exchange: str) -> list[Event]:
    """Append the events of the oldest hundred records that are yet to be told, written by whatever janitor.

    Raises RedisError, OSError: it is then not known whether they were told, and telling them again is right.
    """
    records = cast("list[bytes]", await redis.zrange(untold(exchange), 0, _AT_ONCE - 1))
    if not records:
        return []
    events = [event(exchange, record.decode()) for record in records]
    pipe = redis.pipeline(transaction=False)
    pipe.script_load(SCRIPT)
    pipe.execute_command("EVALSHA", _DIGEST, *batch(secrets.token_hex(4), events).arguments())
    await pipe.execute()
    await redis.zrem(untold(exchange), *records)
    return events


def event(exchange: str, record: str) -> Event:
    """The event that tells of the record.

    - `status parked`: the group counts no more on that stream, once for each time that this happens.
    - `status unparked`: it counts again.
    - `gap`: a group has lost the entries `first_id`-`last_id` of a stream: those that it was not given, and if it was
      parked, those that it was given and did not acknowledge. A parked group's comes when it is unparked.
    - `status trimmed`: the hard cap was reached; what was trimmed, and the groups that had not acknowledged all of it.
    - `status halted`, `trading` or `delisted`: what a symbol is from now on.
    """
    return Event(key=StreamKey(exchange, "status"), s=record, body=_body(record), rule="window")


def symbol_record(now: Listed) -> str:
    """Of a symbol whose status has changed."""
    return f"{now.status} {now.symbol} {now.seen_ns} {now.native_status}"


def _body(record: str) -> Body:
    kind, stream, *facts = record.split(" ")
    match kind:
        case "halted" | "trading" | "delisted":
            symbol, (_, *word) = stream, facts
            return Status(state=kind, reason=f"{symbol} is {kind} (status {' '.join(word)})"[:_LONGEST], symbol=symbol)
        case "parked":
            _, quiet_ms, *name = facts
            reason = (
                f"{stream}: {_group(name)} has not read for {int(quiet_ms) // 1000} s; what it needs may be trimmed"
            )
            return _status(kind, reason)
        case "unparked":
            since_ms, *name = facts
            return _status(kind, f"{stream}: {_group(name)} reads again; it was parked at {since_ms} ms")
        case "lost":
            first, last, entries, *name = facts
            reason = f"{stream}: trimmed before {_group(name)} had read it: {entries} entries"
            return Gap(reason=reason[:_LONGEST], first_id=first, last_id=last)
        case "trimmed":
            first, last, entries, *name = facts
            reason = (
                f"{stream}: memory is short: {first} to {last}, {entries} entries, not acknowledged by {_group(name)}"
            )
            return _status(kind, reason)
    raise ValueError(f"not a record of the janitor: {record!r}")


def _status(state: str, reason: str) -> Status:
    return Status(state=state, reason=reason[:_LONGEST])


def _group(words: list[str]) -> str:
    return "group " + " ".join(words)
