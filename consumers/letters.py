"""Dead letters: entries that a group could not handle, with where they came from and why they are here."""

import time
from itertools import islice

from consumers.group import Group
from consumers.streams import Arrival, Doom

_LONGEST = 1000  # of a reason
_MOST_FIELDS = 100  # no entry of the contract has ten; Lua cannot unpack more than some thousands
_PREFIX = b"dead_"


def letter(arrival: Arrival, doom: Doom, group: Group) -> list[str | bytes | int]:
    """The fields of a dead letter: eight of its provenance, then its own as they are."""
    fields = arrival.fields
    source = fields.get(b"dead_stream", str(arrival.stream.key)) if arrival.stream.redriven else str(arrival.stream.key)
    entry_id = fields.get(b"dead_id", arrival.id) if arrival.stream.redriven else arrival.id
    told: list[str | bytes | int] = ["dead_stream", source, "dead_id", entry_id, "dead_group", group.name]
    told += ["dead_consumer", group.consumer, "dead_failures", doom.failures, "dead_deliveries", doom.deliveries]
    told += ["dead_reason", doom.reason[:_LONGEST], "dead_ms", time.time_ns() // 1_000_000]
    own = ((name, value) for name, value in fields.items() if not name.startswith(_PREFIX))
    for field in islice(own, _MOST_FIELDS):
        told += field
    return told
