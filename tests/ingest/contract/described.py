"""Whether an entry is one that the AsyncAPI document describes."""

from jsonschema import Draft7Validator

from ingest.contract.asyncapi import channel_of
from ingest.contract.codec import unpack
from ingest.contract.keys import parse_key


def problems(document, key, fields):
    """What the document does not allow of an entry of that stream, as Redis gives it."""
    headers = {name.decode(): value.decode() for name, value in fields.items() if name != b"data"}
    channel = document["channels"][channel_of(parse_key(key).channel)]
    if headers["type"] not in channel["messages"]:
        return [f"{headers['type']} in {key}"]
    message = document["components"]["messages"][headers["type"]]
    whole = {"components": document["components"]}
    return [
        error.message
        for schema, value in ((message["headers"], headers), (message["payload"], unpack(fields[b"data"])))
        for error in Draft7Validator(schema | whole).iter_errors(value)
    ]
