"""The contract as an AsyncAPI 3 document: every stream, and every type of entry in it. Pure.

An entry's fields but `data` are the message's headers; its payload is `data`, once that is read as MessagePack.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ingest.contract.codec import MAX_BYTES, VERSION
from ingest.contract.events import Body
from ingest.contract.numbers import Number

Json = dict[str, Any]

CHANNELS: Mapping[str, tuple[str, ...]] = {
    "trades": ("trade", "gap"),
    "ticker": ("ticker", "gap", "status"),
    "orderbook": ("snapshot", "delta", "gap", "status"),
    "candles": ("candle", "gap"),
    "status": ("status", "gap"),
    "intents": ("intent",),
    "approved": ("intent",),
    "orders": ("order",),
    "fills": ("fill",),
    "positions": ("position",),
    "dead_letters": ("dead_letter",),
}
"""The types in the streams of each channel; `candles` stands for all intervals, and dead letters are of all types."""

_SYMBOL = {"description": "BASE-QUOTE", "examples": ["BTC-USDT", "ETH-EUR"]}
_PARAMETERS: Mapping[str, Json] = {
    # An address has no way to say that braces are meant, so they are part of the value.
    "exchange": {"description": "In braces, which are part of the key", "examples": ["{binance}", "{kraken}"]},
    "symbol": _SYMBOL,
    "interval": {"description": "How long a candle is", "examples": ["1m", "1h", "1d"]},
    "group": {"description": "The consumer group that could not handle them", "examples": ["position"]},
}
_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "string", "pattern": "^[1-9][0-9]{0,15}$"}
_NATURAL = {"type": "string", "pattern": "^[0-9]{1,16}$"}
_ADDRESSES = {
    "candles": "md:{exchange}:candles-{interval}:{symbol}",
    "status": "md:{exchange}:status",
    "dead_letters": "dlq:{exchange}:{group}",
}


def document(version: str) -> Json:
    """The whole document, as JSON has it; `version` is that of this program."""
    _, schemas = msgspec.json.schema_components(Body.__args__, ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tickbus",
            "version": version,
            "description": (
                "Market data from crypto exchanges on Redis Streams. An entry's fields `v type n g s` (and `epoch`, "
                "`late`) are a message's headers; its payload is the MessagePack map in the field `data`. "
                f"`data` has at most {MAX_BYTES >> 20} MiB. In each stream `n` goes on by one within a generation `g`: "
                "so a reader proves that it missed nothing. Ignore fields that you do not know, skip types that you "
                "do not know, and stop at a `v` that you do not know."
            ),
        },
        "defaultContentType": "application/msgpack",
        "servers": {"bus": {"host": "127.0.0.1:6379", "protocol": "redis"}},
        "channels": {name: _channel(name, types) for name, types in CHANNELS.items()},
        "operations": {
            f"read_{name}": {"action": "receive", "channel": {"$ref": f"#/channels/{name}"}} for name in CHANNELS
        },
        "components": {
            "messages": {kind: _message(kind) for kind in _kinds()} | {"dead_letter": _dead_letter()},
            "schemas": {name: _draft_7(schema) for name, schema in schemas.items()},
        },
    }


def channel_of(stream_channel: str) -> str:
    """Under which name the document has a stream's channel."""
    return "candles" if stream_channel.startswith("candles-") else stream_channel


def _kinds() -> dict[str, type[Body]]:
    return {body.__name__.lower(): body for body in Body.__args__}


def _channel(name: str, types: tuple[str, ...]) -> Json:
    address = _ADDRESSES.get(name, f"md:{{exchange}}:{name}:{{symbol}}")
    return {
        "address": address,
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in types},
        "parameters": {each: _PARAMETERS[each] for each in re.findall(r"\{(\w+)\}", address)},
    }


def _message(kind: str) -> Json:
    body = _kinds()[kind]
    required = ["v", "type", "n", "g", "s", *(["epoch"] if kind in ("snapshot", "delta") else [])]
    headers = {
        "v": {"const": VERSION.decode()},
        "type": {"const": kind},
        "n": _COUNT,
        "g": _TEXT,
        "s": _TEXT,
        "epoch": _COUNT,
        "late": {"const": "1"},
    }
    return {
        "name": kind,
        "contentType": "application/msgpack",
        "headers": {"type": "object", "required": required, "properties": headers},
        "payload": {"$ref": f"#/components/schemas/{body.__name__}"},
    }


def _dead_letter() -> Json:
    """An entry that a group could not handle: where it was and why it is here, and then whatever it was."""
    texts = dict.fromkeys(("dead_stream", "dead_id", "dead_group", "dead_consumer"), _TEXT)
    numbers = dict.fromkeys(("dead_failures", "dead_deliveries", "dead_ms"), _NATURAL)
    headers = {**texts, **numbers, "dead_reason": {"type": "string"}}
    return {
        "name": "dead_letter",
        "contentType": "application/msgpack",
        "headers": {"type": "object", "required": sorted(headers), "properties": headers},
        "payload": {"description": "As it was, which may be what makes no sense"},
    }


def _draft_7(schema: Any) -> Any:
    """The same in the older words that AsyncAPI speaks: as other languages spell patterns, and with no null."""
    if isinstance(schema, list):
        return [_draft_7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        # What is unknown is left out, so that there is no null.
        (known,) = (each for each in schema["anyOf"] if each != {"type": "null"})
        return _draft_7(known)
    said = {name: _draft_7(each) for name, each in schema.items() if name != "prefixItems"}
    if "prefixItems" in schema:
        said |= {"items": _draft_7(schema["prefixItems"]), "additionalItems": False}
    if "pattern" in schema:
        said["pattern"] = schema["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    for side in {"bids", "asks"} & schema.keys():
        # Checked all at once by the codec, and so not in their type.
        number = _draft_7(msgspec.json.schema(Number))
        said[side]["items"]["items"] = [number, number]
    return said
