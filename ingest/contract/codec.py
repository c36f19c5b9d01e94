"""Entries to typed events and back: MessagePack, strict and bounded."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgpack
import msgspec
from msgspec import Struct

from ingest.contract.events import Body, Delta, Event, Rule, Snapshot
from ingest.contract.keys import StreamKey, parse_key
from ingest.contract.numbers import check

VERSION = b"1"
MAX_BYTES = 16 << 20
"""A snapshot of 50,000 levels a side fits four times."""


class UnreadableEntry(ValueError):
    """An entry that is not what the contract promises; `fields` keeps its bytes."""

    def __init__(self, reason: str, fields: Mapping[bytes, bytes]) -> None:
        super().__init__(reason)
        self.fields = fields


class UnknownVersion(UnreadableEntry):
    """An entry of a later schema: a reader stops this stream and says so; it must not bury what others can read."""


class Entry(Struct, frozen=True):
    """One entry as read. `event` is None if `type` is of a later day than this reader: skip it and count it."""

    id: str
    type: str
    n: int
    g: str
    s: str
    event: Body | None
    epoch: int | None = None
    late: bool = False


_encoder = msgspec.msgpack.Encoder()
_frozen = msgspec.msgpack.Decoder(tuple[str, Rule, str, str, str, bytes])
_decoders: dict[bytes, msgspec.msgpack.Decoder[Body]] = {
    body.__name__.lower().encode(): msgspec.msgpack.Decoder(body) for body in Body.__args__
}


def encode(body: Body) -> bytes:
    """The MessagePack map of an event; unknown fields are left out."""
    return _encoder.encode(body)


def decode(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """One entry of a stream. Raises UnknownVersion, UnreadableEntry."""
    try:
        if fields[b"v"] != VERSION:
            raise UnknownVersion(f"schema version {fields[b'v'][:20]!r}; this reader knows {VERSION!r}", fields)
        epoch = fields.get(b"epoch")
        return Entry(
            id=entry_id.decode(),
            type=fields[b"type"].decode(),
            n=int(fields[b"n"]),
            g=fields[b"g"].decode(),
            s=fields[b"s"].decode(),
            event=_event(fields[b"type"], fields[b"data"]),
            epoch=None if epoch is None else int(epoch),
            late=b"late" in fields,
        )
    except KeyError as missing:
        raise UnreadableEntry(f"without the header field {missing}", fields) from missing
    except UnreadableEntry:
        raise
    except (ValueError, msgspec.MsgspecError, RecursionError) as bad:
        raise UnreadableEntry(str(bad), fields) from bad


def freeze(event: Event) -> bytes:
    """An event with its address, to lie on disk until Redis takes it."""
    kind = type(event.body).__name__.lower()
    return freeze_entry(event.key, (event.rule, kind, event.s, event.first, encode(event.body)))


def freeze_entry(key: StreamKey, entry: Sequence[str | bytes]) -> bytes:
    """The same of an event that is encoded: rule, type, s, first, data."""
    return _encoder.encode((str(key), *entry))


def thaw(data: bytes) -> Event:
    """The event that was frozen. Raises ValueError, msgspec.MsgspecError."""
    key, rule, kind, s, first, body = _frozen.decode(data)
    return Event(parse_key(key), s, _decoders[kind.encode()].decode(body), rule, first)


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Redis's flat list of names and values as a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def unpack(data: bytes) -> dict[str, Any]:
    """Any MessagePack map of text keys: for tools that show entries they do not know. Raises ValueError."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data)} bytes, above the {MAX_BYTES} allowed")
    try:
        value = msgpack.unpackb(
            data,
            strict_map_key=True,
            max_str_len=1 << 16,
            max_array_len=50_000,
            max_map_len=64,
            max_bin_len=0,
            max_ext_len=0,
        )
    except msgpack.UnpackException as bad:
        raise ValueError(str(bad)) from bad
    if not isinstance(value, dict):
        raise ValueError(f"a map was expected, not {type(value).__name__}")
    return value


def _event(kind: bytes, data: bytes) -> Body | None:
    decoder = _decoders.get(kind)
    if decoder is None:
        return None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data)} bytes, above the {MAX_BYTES} allowed")
    event = decoder.decode(data)
    if isinstance(event, Snapshot | Delta):
        check(chain.from_iterable(chain(event.bids, event.asks)))
    return event
